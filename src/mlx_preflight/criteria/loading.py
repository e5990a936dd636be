"""AC4: the checkpoint is intact, loads, is what it claims, and its tokenizer works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from mlx_preflight.core.errors import CheckpointError, PreflightError, or_error
from mlx_preflight.core.result import Evidence, Measurement, Outcome, Status
from mlx_preflight.core.text import one_line
from mlx_preflight.core.units import format_bytes, format_parameters, format_seconds
from mlx_preflight.criteria import model_under_test, script
from mlx_preflight.criteria.model_under_test import ModelFacts, error_outcome, text_measurement
from mlx_preflight.criteria.script import Script
from mlx_preflight.models import validation
from mlx_preflight.models.validation import ValidationReport
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context
from mlx_preflight.runtime import workers
from mlx_preflight.runtime.messages import LoadReport

SCRIPT = "load_model_test.py"

_OWN_CONFIG = "take config.json and weights from one repository, or name another profile"


@dataclass(frozen=True, slots=True)
class Loads:
    """Two loads of the same files.

    Attributes:
        cold: First load.
        forced: Whether its files were really dropped from the page cache before.
        warm: Load right after it.
    """

    cold: LoadReport
    forced: bool
    warm: LoadReport


@dataclass(frozen=True, slots=True)
class LoadingFacts(ModelFacts):
    """Facts of AC4.

    Attributes:
        loads: Both loads; None when `failure` says why there are none.
        soundness: What the files say about each other, or why they could not be compared.
    """

    loads: Loads | None
    failure: PreflightError | None
    soundness: ValidationReport | PreflightError
    script: Script

    def report(self) -> Loads:
        """Return the loads, or raise why there are none."""
        if self.failure is not None:
            raise self.failure
        if self.loads is None:
            raise CheckpointError("the model was not loaded")
        return self.loads


def gather(session: Session, context: Context) -> LoadingFacts:
    """Inspect the model, load it twice in fresh processes, and scan its weights."""
    found, named = model_under_test.find(context), script.inspect(context.project, SCRIPT)
    if found.failure is not None:
        return LoadingFacts(context, found, None, found.failure, found.failure, named)
    resolved, inspected = found.ready
    loads: Loads | None = None
    failure: PreflightError | None = None
    try:
        context.note(f"{session.id}: loading {one_line(resolved.requested)} twice")
        timeout_s = context.settings.timeout_s
        cold, forced = workers.load_cold(resolved.path, timeout_s=timeout_s)
        loads = Loads(cold, forced, workers.load(resolved.path, timeout_s=timeout_s))
    except PreflightError as error:
        failure = error
    sound = or_error(lambda: validation.validate(inspected, digests=found.digests))
    return LoadingFacts(context, found, loads, failure, sound, named)


def ac4_2(facts: LoadingFacts) -> Outcome:
    """Report how long the cold and the warm load took."""
    if facts.failure is not None:
        return error_outcome(facts.failure)
    loads, (resolved, inspected) = facts.report(), facts.subject.ready
    if loads.forced:
        first = Measurement("cold_load_s", loads.cold.load_s, "s")
        how = f"{format_seconds(loads.cold.load_s)} cold, {format_seconds(loads.warm.load_s)} warm"
    else:
        first = Measurement("first_load_s", loads.cold.load_s, "s")
        how = f"{format_seconds(loads.warm.load_s)} warm (a cold load could not be forced here)"
    return Outcome(
        Status.PASS,
        f"loaded in {how}; {format_bytes(inspected.total_bytes)} on disk, {resolved.source}",
        measurements=(
            first,
            Measurement("warm_load_s", loads.warm.load_s, "s"),
            Measurement("import_s", loads.warm.import_s, "s"),
            Measurement("disk_bytes", inspected.total_bytes, "bytes"),
            Measurement("weight_bytes", inspected.weight_bytes, "bytes"),
            Measurement("active_bytes", loads.warm.memory.active_bytes, "bytes"),
            text_measurement("location", resolved.path),
            text_measurement("device", loads.warm.device),
        ),
    )


def ac4_3(facts: LoadingFacts) -> Outcome:
    """Compare the loaded parameters with those in the files and those of the profile."""
    loaded, (_, inspected) = facts.report().warm, facts.subject.ready
    expected, in_files = facts.context.profile.parameters, loaded.stored_parameters
    limit = None if expected is None else f"== {expected}"
    wrong, notes = [], []
    if in_files is None:
        notes.append("not compared with the files, whose words mlx-lm repacks")
    elif loaded.parameters != in_files:
        wrong.append(f"the files hold {in_files:,}")
    elif not inspected.foreign_quantization and inspected.parameters > loaded.parameters:
        notes.append(f"mlx-lm leaves out {inspected.parameters - loaded.parameters:,} of the files")
    if expected is not None and loaded.parameters != expected:
        wrong.append(f"the profile expects {expected:,}")
    said = f"{loaded.architecture}, {loaded.layers} layers, {format_parameters(loaded.parameters)}"
    reason = f"{said} parameters ({loaded.parameters:,} loaded)"
    return Outcome(
        Status.FAIL if wrong else Status.PASS,
        "; ".join([reason, *wrong, *notes]),
        remedy=_OWN_CONFIG if wrong else "",
        measurements=(
            Measurement("parameters", loaded.parameters, "count", limit=limit),
            Measurement(
                "parameters_in_files",
                inspected.parameters if in_files is None else in_files,
                "count",
            ),
            text_measurement("architecture", loaded.architecture),
            text_measurement("dtypes", " ".join(loaded.dtypes)),
            text_measurement("quantization", dict(loaded.quantization) or "none"),
        ),
    )


def ac4_4(facts: LoadingFacts) -> Outcome:
    """Count the texts that the tokenizer gives back as they were; it renders a chat, too."""
    loaded = facts.report().warm
    faults = loaded.faults
    good = len(loaded.trips) - len(faults)
    measurements = (
        Measurement("round_trips", good, "count", limit=f">= {len(loaded.trips)}"),
        text_measurement("tokenizer", loaded.tokenizer),
    )
    if faults or not loaded.trips:
        return Outcome(Status.FAIL, "; ".join(faults) or "no text was tried", None, measurements)
    names = ", ".join(check.name for check in loaded.trips)
    return Outcome(Status.PASS, f"{loaded.tokenizer} passes: {names}", None, measurements)


def ac4_5(facts: LoadingFacts) -> Outcome:
    """Report what the files contradict each other in, and every value that is not finite."""
    failure = facts.subject.failure
    if failure is not None:
        return error_outcome(failure)
    _, inspected = facts.subject.ready
    found = facts.soundness
    if isinstance(found, PreflightError):
        raise found
    reason = (
        f"{len(inspected.files)} weights files, {len(inspected.tensors)} tensors, "
        f"{found.values.elements:,} finite values, digests recorded"
    )
    nonfinite = sum(found.values.nonfinite.values())
    return Outcome(
        Status.FAIL if found.problems else Status.PASS,
        found.summary() or "; ".join([reason, *found.notes]),
        Evidence.STATIC,
        (
            Measurement("tensors", len(inspected.tensors), "count"),
            Measurement("nonfinite_values", nonfinite, "count", limit="== 0"),
            Measurement("pickles_ignored", len(inspected.pickles), "count"),
            Measurement("remote_code_ignored", len(inspected.remote_code), "count"),
            Measurement("fingerprint", facts.subject.fingerprint, "sha256"),
        ),
    )


CHECKS: dict[str, Callable[[LoadingFacts], Outcome]] = {
    register.AC4_1: lambda facts: script.exists(facts.script),
    register.AC4_2: ac4_2,
    register.AC4_3: ac4_3,
    register.AC4_4: ac4_4,
    register.AC4_5: ac4_5,
    register.AC4_6: lambda facts: script.documented(facts.script),
}

confirm = partial(
    script.confirm, name=SCRIPT, check=register.AC4_2, says=("Model loaded successfully",)
)
