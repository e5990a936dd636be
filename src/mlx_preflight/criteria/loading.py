"""Judge AC4: the checkpoint is intact, loads, is what it claims, and its tokenizer works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlx_preflight.criteria import script, subject
from mlx_preflight.criteria.subject import Subject, count_text, failed, gb, text
from mlx_preflight.errors import CheckpointError, PreflightError
from mlx_preflight.model import runtime, soundness
from mlx_preflight.model.exchange import LoadReport
from mlx_preflight.plan import Session
from mlx_preflight.result import Evidence, Measurement, Outcome, Status
from mlx_preflight.runner import Context

SCRIPT = "load_model_test.py"


@dataclass(frozen=True, slots=True)
class Loads:
    """Hold two loads of the same files.

    Attributes:
        cold: First load.
        forced: Whether its files were really dropped from the page cache before.
        warm: Load right after it.
    """

    cold: LoadReport
    forced: bool
    warm: LoadReport


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold what AC4 is judged by; exactly one of `loads` and `failure` is set."""

    context: Context
    subject: Subject
    loads: Loads | None
    failure: PreflightError | None

    @property
    def model(self) -> dict[str, Any]:
        """Return the resolved model for the result file."""
        return self.subject.describe()

    def report(self) -> Loads:
        """Return the loads, or raise why there are none."""
        if self.failure is not None:
            raise self.failure
        if self.loads is None:
            raise CheckpointError("the model was not loaded")
        return self.loads


def gather(session: Session, context: Context) -> Facts:
    """Inspect the model, then load it twice in fresh processes."""
    found = subject.find(context)
    if found.failure is not None:
        return Facts(context, found, None, found.failure)
    resolved, _ = found.ready
    try:
        context.note(f"{session.id}: loading {resolved.requested} twice")
        timeout_s = context.settings.timeout_s
        cold, forced = runtime.load_cold(resolved.path, timeout_s=timeout_s)
        warm = runtime.load(resolved.path, timeout_s=timeout_s)
    except PreflightError as error:
        return Facts(context, found, None, error)
    return Facts(context, found, Loads(cold, forced, warm), None)


def ac4_1(facts: Facts) -> Outcome:
    """The loading script exists."""
    return script.exists(facts.context.project, SCRIPT)


def ac4_2(facts: Facts) -> Outcome:
    """The checkpoint loads without errors, and how long that takes is measured."""
    if facts.failure is not None:
        return failed(facts.failure)
    loads, (resolved, inspected) = facts.report(), facts.subject.ready
    if loads.forced:
        first = Measurement("cold_load_s", loads.cold.load_s, "s")
        how = f"{loads.cold.load_s:.2f} s cold, {loads.warm.load_s:.2f} s warm"
    else:
        first = Measurement("first_load_s", loads.cold.load_s, "s")
        how = f"{loads.warm.load_s:.2f} s warm (a cold load could not be forced here)"
    return Outcome(
        Status.PASS,
        f"loaded in {how}; {gb(inspected.total_bytes)} on disk, {resolved.source}",
        measurements=(
            first,
            Measurement("warm_load_s", loads.warm.load_s, "s"),
            Measurement("import_s", loads.warm.import_s, "s"),
            Measurement("disk_bytes", inspected.total_bytes, "bytes"),
            Measurement("weight_bytes", inspected.weight_bytes, "bytes"),
            Measurement("active_bytes", loads.warm.memory.active_bytes, "bytes"),
            text("location", resolved.path),
            text("device", loads.warm.device),
        ),
    )


def ac4_3(facts: Facts) -> Outcome:
    """The loaded model has the counted parameters, and those that the profile expects."""
    loaded, (_, inspected) = facts.report().warm, facts.subject.ready
    expected = facts.context.profile.parameters
    wrong = []
    if not inspected.foreign_quantization and loaded.parameters != inspected.parameters:
        wrong.append(f"the files hold {inspected.parameters:,}")
    if expected is not None and loaded.parameters != expected:
        wrong.append(f"the profile expects {expected:,}")
    said = f"{loaded.architecture}, {loaded.layers} layers, {count_text(loaded.parameters)}"
    reason = f"{said} parameters ({loaded.parameters:,} loaded)"
    return Outcome(
        Status.FAIL if wrong else Status.PASS,
        "; ".join([reason, *wrong]),
        measurements=(
            Measurement("parameters", loaded.parameters, "count", limit=_equal(expected)),
            Measurement("parameters_in_files", inspected.parameters, "count"),
            text("architecture", loaded.architecture),
            text("dtypes", " ".join(loaded.dtypes)),
            text("quantization", dict(loaded.quantization) or "none"),
        ),
    )


def _equal(expected: int | None) -> str | None:
    return None if expected is None else f"== {expected}"


def ac4_4(facts: Facts) -> Outcome:
    """The tokenizer gives back what it was given, and the chat template renders."""
    loaded = facts.report().warm
    faults = loaded.faults
    good = len(loaded.trips) - len(faults)
    measurements = (
        Measurement("round_trips", good, "count", limit=f">= {len(loaded.trips)}"),
        text("tokenizer", loaded.tokenizer),
    )
    if faults or not loaded.trips:
        return Outcome(Status.FAIL, "; ".join(faults) or "nothing was tried", None, measurements)
    names = ", ".join(trip.name for trip in loaded.trips)
    return Outcome(Status.PASS, f"{loaded.tokenizer} passes: {names}", None, measurements)


def ac4_5(facts: Facts) -> Outcome:
    """The files are complete, in bounds, finite, and agree with each other."""
    failure = facts.subject.failure
    if failure is not None:
        return failed(failure)
    _, inspected = facts.subject.ready
    found = soundness.examine(inspected)
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


def ac4_6(facts: Facts) -> Outcome:
    """A document names the script."""
    return script.documented(facts.context.project, SCRIPT)
