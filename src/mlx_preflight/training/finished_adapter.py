"""Session finish1-adapter: the files of an adapter, judged before any answer is asked."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlx_preflight.core import child
from mlx_preflight.core.errors import BlockedError, PreflightError, or_error
from mlx_preflight.core.result import Measurement, Outcome, Status
from mlx_preflight.core.text import join_findings, printable
from mlx_preflight.core.units import format_bytes, format_parameters, format_percent
from mlx_preflight.criteria.model_under_test import error_outcome, text_measurement
from mlx_preflight.plan import register
from mlx_preflight.plan.adapter_base import CONFIG
from mlx_preflight.plan.options import TrainingRequest
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context
from mlx_preflight.training import asked_settings, finished_run
from mlx_preflight.training.finished_run import ADAPTERS, Base, FinishedRun
from mlx_preflight.training.training_run import TrainingRun, read_run

FLOATS = ("F32", "F16", "BF16")
"""Types in which mlx_lm saves what it trains."""

MOST_CHANGE = 10.0
"""Change of a layer as a share of its weight's norm from which it is no adaptation any more.
60 iterations on the embedded model (2026-11-28): at a rate of 1e-4 at most 0.4, at 1e-3, where the
loss still falls, 2.2, and at 1e-2, where it does not, 170. Layers of larger models change less."""

SHOWN = 4


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """Facts of an adapter, or why each of them is not known.

    Attributes:
        run: The folder.
        base: Its base model.
        look: What the child says of the tensors, see `runtime.adapter_child`.
        asked: Settings of the config that was named; None without one.
    """

    run: FinishedRun | PreflightError
    base: Base | PreflightError
    look: Mapping[str, Any] | PreflightError
    asked: TrainingRun | PreflightError | None

    @property
    def model(self) -> dict[str, Any]:
        """Return what the result file stores about adapter and base."""
        return finished_run.describe(self.run, self.base)

    def folder(self) -> FinishedRun:
        """Return the folder, or block what cannot be judged without it."""
        if isinstance(self.run, PreflightError):
            raise BlockedError(f"{register.FINISH1_1}: {self.run}", hint=self.run.hint)
        return self.run

    def tensors(self) -> Mapping[str, Any]:
        """Return what the child says, or block what cannot be judged without it."""
        self.folder()
        if isinstance(self.base, PreflightError):
            raise BlockedError(f"{register.FINISH1_2}: {self.base}", hint=self.base.hint)
        if isinstance(self.look, PreflightError):
            raise self.look
        return self.look


def gather(_: Session, context: Context) -> AdapterFacts:
    """Read the folder and find the base, and let a child read the tensors."""
    finished_run.request(context)  # none at all is nobody's finding
    run = or_error(lambda: finished_run.read(context))
    base = or_error(lambda: finished_run.find_base(context, finished_run.require(context)))
    return AdapterFacts(
        run=run,
        base=base,
        look=or_error(lambda: _look(run, base, context)),
        asked=or_error(lambda: _asked(context)),
    )


def _look(
    run: FinishedRun | PreflightError, base: Base | PreflightError, context: Context
) -> Mapping[str, Any]:
    if isinstance(run, PreflightError):
        raise run
    if isinstance(base, PreflightError):
        raise base
    context.note(f"{register.FINISH1_ADAPTER}: reading {len(run.tensors):,} tensors")
    job = {
        "folder": str(run.folder),
        "file": str(run.folder / ADAPTERS),
        "base": str(base.resolved.path),
        "config": json.dumps(base.checkpoint.config),  # (as text: it may hold infinities)
        "num_layers": run.stored.get("num_layers", 0),
        "parameters": run.stored.get("lora_parameters") or {},
        "fine_tune_type": run.kind,
        "memory_limit_bytes": finished_run.memory_limit_bytes(),
    }
    answer: Mapping[str, Any] = child.call(
        "mlx_preflight.runtime.adapter_child",
        job,
        timeout_s=context.settings.timeout_s,
        label="the tensors were not read",
    ).value
    return answer


def _asked(context: Context) -> TrainingRun | None:
    config = finished_run.request(context).config
    if config is None:
        return None
    return read_run(dataclasses.replace(context, training=TrainingRequest(("--config", config))))


def finish1_1(facts: AdapterFacts) -> Outcome:
    """Report the files of the folder."""
    if isinstance(facts.run, PreflightError):
        status = error_outcome(facts.run).status
        return Outcome(status, str(facts.run))
    run = facts.run
    size = sum(item.nbytes for item in run.tensors.values())
    reason = f"{len(run.tensors):,} tensors, {format_bytes(size)}; {finished_run.save_line(run)}"
    measured = (
        Measurement("tensors", len(run.tensors), "count"),
        Measurement("adapter_bytes", size, "bytes"),
        Measurement("saves", len(run.saves), "count"),
    )
    return Outcome(Status.PASS, reason, measurements=measured)


def finish1_2(facts: AdapterFacts) -> Outcome:
    """Judge that the base is the model that the folder names."""
    facts.folder()
    if isinstance(facts.base, PreflightError):
        return error_outcome(facts.base)
    base = facts.base
    if base.difference:
        remedy = f"leave --model out, or name the model that {CONFIG} names"
        text = f"{base.resolved.requested}: {base.difference}"
        return Outcome(Status.FAIL, text, remedy=remedy)
    size = format_parameters(base.checkpoint.parameters)
    measured = (text_measurement("base", base.resolved.path),)
    reason = f"{base.resolved.requested}, {size} parameters"
    return Outcome(Status.PASS, reason, measurements=measured)


def finish1_3(facts: AdapterFacts) -> Outcome:
    """Compare names and shapes with what mlx_lm trains on this base with these settings."""
    look, run = facts.tensors(), facts.folder()
    if look["unknown"]:
        raise BlockedError(f"what mlx_lm trains on this base cannot be counted: {look['problem']}")
    if look["problem"]:
        text = f"mlx_lm cannot make these adapters on this base: {look['problem']}"
        return Outcome(Status.FAIL, text)
    problems = list(_misfits(run, look["expected"]["shapes"]))
    if problems:
        return Outcome(Status.FAIL, join_findings(problems, SHOWN))
    pairs = {name.rpartition(".")[0] for name in run.tensors}
    what = "modules" if run.kind != "full" else "modules, trained as a whole"
    reason = f"{len(run.tensors):,} tensors of {len(pairs):,} {what} fit by name and shape"
    return Outcome(Status.PASS, reason)


def _misfits(run: FinishedRun, expected: Mapping[str, list[int]]) -> Iterator[str]:
    """Yield what does not fit, the first tensor of each kind by name."""
    stored = {name: list(run.tensors[name].shape) for name in sorted(run.tensors)}
    wrong = [name for name in stored if name in expected and stored[name] != expected[name]]
    foreign = [name for name in stored if name not in expected]
    missing = sorted(name for name in expected if name not in stored)
    types = [name for name in stored if run.tensors[name].dtype not in FLOATS]
    if wrong:
        one = wrong[0]
        shape = f"{tuple(stored[one])}, and settings and base make {tuple(expected[one])}"
        yield f"{len(wrong)} tensors of another shape, first {printable(one)}: {shape}"
    if foreign:
        yield f"{len(foreign)} tensors that are not trained, first {printable(foreign[0])}"
    if missing:
        yield f"{len(missing)} tensors are missing, first {printable(missing[0])}"
    if types:
        kind = run.tensors[types[0]].dtype
        yield f"{len(types)} tensors of a wrong type, first {printable(types[0])}: {kind}"


def finish1_4(facts: AdapterFacts) -> Outcome:
    """Judge that every value is a finite number."""
    found = facts.tensors()["tensors"]
    bad = {name: item["nonfinite"] for name, item in sorted(found.items()) if item["nonfinite"]}
    values = facts.folder().parameters
    measured = (
        Measurement("values", values, "count", ">= 1"),
        Measurement("nonfinite_values", sum(bad.values()), "count", "<= 0"),
    )
    if bad:
        name, count = next(iter(bad.items()))
        text = f"{len(bad)} of {len(found)} tensors, first {printable(name)}: {count:,} values"
        return Outcome(Status.FAIL, f"NaN or infinite: {text}", measurements=measured)
    return Outcome(Status.PASS, f"{values:,} values are finite", measurements=measured)


def finish1_5(facts: AdapterFacts) -> Outcome:
    """Judge that no tensor is dead, and that no layer was changed beyond sense."""
    look, run = facts.tensors(), facts.folder()
    zero = [
        name
        for name, item in sorted(look["tensors"].items())
        if item["zero"] and (run.kind == "full" or name.endswith(("lora_a", "lora_b")))
    ]
    if zero and run.kind != "full":
        # `lora_b` starts as zero, so one that is still zero never got a gradient.
        text = f"{len(zero)} tensors are all zero, first {printable(zero[0])}: nothing was learned"
        remedy = "train again; see that the learning rate is above 0 and the loss falls"
        return Outcome(Status.FAIL, text, remedy=remedy)
    if any(item["nonfinite"] for item in look["tensors"].values()):
        raise BlockedError(f"values are not finite: {register.FINISH1_4}")
    changes = look["changes"]
    if not changes:
        hint = f"see {register.FINISH1_3}"
        raise BlockedError("the tensors do not fit, so their norms say nothing", hint=hint)
    return _judge_changes(changes)


def _judge_changes(changes: Mapping[str, float | None]) -> Outcome:
    finite = {name: share for name, share in changes.items() if share is not None}
    if len(finite) < len(changes):
        first = next(name for name, share in sorted(changes.items()) if share is None)
        return Outcome(Status.FAIL, f"the change of {printable(first)} is not a finite number")
    top = max(finite, key=finite.__getitem__)
    middle = statistics.median(finite.values())
    measured = (
        Measurement("largest_change", finite[top], "ratio", f"<= {MOST_CHANGE}"),
        Measurement("median_change", middle, "ratio", "> 0"),
    )
    text = (
        f"{len(finite)} weights change by {format_percent(100 * middle)} of their norm (median), "
        f"at most {format_percent(100 * finite[top])} ({printable(top)})"
    )
    if not any(finite.values()):
        remedy = "train again; see that the learning rate is above 0 and the loss falls"
        return Outcome(Status.FAIL, "no weight differs from the base's", remedy=remedy)
    if finite[top] > MOST_CHANGE:
        remedy = "lower the scale or the learning rate: such a change replaces what the base knows"
        return Outcome(Status.FAIL, text, measurements=measured, remedy=remedy)
    return Outcome(Status.PASS, text, measurements=measured)


def finish1_6(facts: AdapterFacts) -> Outcome:
    """Compare size and settings with what was asked."""
    look, run = facts.tensors(), facts.folder()
    if look["expected"] is None:
        raise BlockedError(f"{register.FINISH1_3}: {look['problem']}")
    if isinstance(facts.asked, PreflightError):
        raise facts.asked
    expected = look["expected"]
    measured = (
        Measurement("trained_parameters", run.parameters, "count", f"= {expected['trainable']}"),
    )
    problems = []
    if run.parameters != expected["trainable"]:
        count = f"{run.parameters:,} trained parameters"
        problems.append(f"{count}, and the settings make {expected['trainable']:,}")
    notes = []
    if facts.asked is not None:
        problems += asked_settings.differences(run, facts.asked, expected["layers"])
        notes = asked_settings.others(run, facts.asked)
    if problems:
        remedy = "train again with these settings, or name the config that was trained with"
        return Outcome(Status.FAIL, join_findings(problems, SHOWN), None, measured, remedy=remedy)
    source = "they are as the config asks" if facts.asked else "no config was named to compare"
    words = [f"{run.parameters:,} trained parameters", asked_settings.in_words(run), source, *notes]
    return Outcome(Status.PASS, "; ".join(words), measurements=measured)


CHECKS: dict[str, Callable[[AdapterFacts], Outcome]] = {
    register.FINISH1_1: finish1_1,
    register.FINISH1_2: finish1_2,
    register.FINISH1_3: finish1_3,
    register.FINISH1_4: finish1_4,
    register.FINISH1_5: finish1_5,
    register.FINISH1_6: finish1_6,
}
