"""A fused model against the base and the adapter that it was made of.

What fusing may change is measured and not assumed: mlx_lm fuses the same adapter here, in
memory. A given model must be as near to that as that is to base and adapter, which is the
rounding to the weights' type, or the quantization of the sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.core.errors import BlockedError, CheckpointError, PreflightError, or_error
from mlx_preflight.core.result import Evidence, Measurement, Outcome, Status
from mlx_preflight.core.text import join_findings, printable
from mlx_preflight.core.units import format_bytes, format_number
from mlx_preflight.models import checkpoint, quantization, validation
from mlx_preflight.models.checkpoint import Checkpoint
from mlx_preflight.plan import register
from mlx_preflight.training import finished_run, trials
from mlx_preflight.training.trials import Bench, Change, Trial

ROUNDINGS = 16
"""Roundings of the logits' type by which the same weights may differ on another machine: its
kernels add in another order."""

FLOATS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Types of unquantized weights, as safetensors and as MLX name them."""


@dataclass(frozen=True, slots=True)
class Fused:
    """A fused model, or why each fact of it is not known.

    Attributes:
        base: Files of the base.
        checkpoint: Files of the fused model.
        trial: What it does.
        own: Its logits against those of mlx_lm's own fusing.
        reference: Logits of mlx_lm's own fusing against those of base and adapter.
        change: Its logits against those of base and adapter.
    """

    base: Checkpoint
    checkpoint: Checkpoint | PreflightError
    trial: Trial | PreflightError
    own: Change | PreflightError
    reference: Change | PreflightError
    change: Change | PreflightError


def judge(
    bench: Bench,
    base: Checkpoint,
    plain: Trial | PreflightError,
    adapted: Trial | PreflightError,
) -> Fused | None:
    """Validate and try the fused model that somebody named; None where nobody did.

    Args:
        bench: Maker of trials.
        base: Files of the base.
        plain: What the base did.
        adapted: What base and adapter did.
    """
    name = finished_run.request(bench.context).fused
    if name is None:
        return None
    folder = bench.context.project / Path(name).expanduser()
    found = or_error(lambda: _validated(folder))
    trial = or_error(lambda: bench.fused(plain, _valid(found).folder))
    return Fused(
        base=base,
        checkpoint=found,
        trial=trial,
        own=or_error(lambda: trials.distance(bench.reference, trials.done(trial).logits)),
        reference=or_error(lambda: trials.distance(trials.done(adapted).logits, bench.reference)),
        change=or_error(lambda: trials.change(adapted, trial)),
    )


def _validated(folder: Path) -> Checkpoint:
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: {'no folder' if folder.exists() else 'not found'}")
    found = checkpoint.inspect(folder)
    validation.validate(found, chat=False, scan=False).raise_if_invalid(found)
    return found


def _valid(found: Checkpoint | PreflightError) -> Checkpoint:
    if isinstance(found, PreflightError):
        raise found
    return found


def _known(change: Change | PreflightError) -> Change:
    if isinstance(change, PreflightError):
        raise change
    return change


def judge_answers(fused: Fused, plain: Trial, adapted: Trial, effect: Change) -> Outcome:
    """Judge tokens, logits and held-out loss of a fused model.

    Args:
        fused: The model.
        plain: What the base did.
        adapted: What base and adapter did.
        effect: How far base and adapter are from the base.
    """
    trial = trials.done(fused.trial)
    own, reference, change = map(_known, (fused.own, fused.reference, fused.change))
    if not (own.finite and reference.finite):
        return Outcome(Status.FAIL, "the logits are NaN")
    rounding = ROUNDINGS * trial.rounding
    allowed = reference.share + rounding
    places = trials.first_differences(adapted, trial)
    changed = [place for place in places if place is not None]
    measured = (
        Measurement("prompts", len(places), "count"),
        Measurement("changed_answers", len(changed), "count"),
        Measurement("fused_change", change.share, "ratio"),
        Measurement("largest_fused_change", change.largest, "nats"),
        Measurement("from_own_fusing", own.share, "ratio", f"<= {allowed:.3g}"),
        Measurement("own_fusing", reference.share, "ratio"),
        *_losses(plain, adapted, trial),
    )
    tokens = (
        f"{len(changed)} of {len(places)} greedy answers differ from those of base and adapter, "
        f"the earliest at token {min(changed) + 1}"
        if changed
        else f"{len(places)} greedy answers are those of base and adapter, token by token"
    )
    words = (
        f"{tokens}; logits differ by {_percent(change.share)}, at most by "
        f"{format_number(change.largest, 3)}; mlx_lm's own fusing here, {_kind(fused.base)}, "
        f"makes {_percent(reference.share)}"
    )
    problems = list(_problems(own, allowed, plain, adapted, trial, effect, change))
    if problems:
        return Outcome(Status.FAIL, f"{join_findings(problems)}; {words}", measurements=measured)
    return Outcome(Status.PASS, words, measurements=measured)


def _problems(
    own: Change,
    allowed: float,
    plain: Trial,
    adapted: Trial,
    trial: Trial,
    effect: Change,
    change: Change,
) -> Iterator[str]:
    if adapted.unfused:
        yield f"mlx_lm cannot fuse {len(adapted.unfused)} modules, first {adapted.unfused[0]}"
    if own.share > allowed:
        yield (
            f"it is not what fusing this adapter into this base gives: {_percent(own.share)} "
            f"apart, where {_percent(allowed)} are explained"
        )
    elif plain.loss is not None and trial.loss is not None and trial.loss >= plain.loss:
        yield f"fusing lost what was learned: held-out loss {trial.loss:.4f}, base {plain.loss:.4f}"
    elif plain.loss is None and change.share >= effect.share:
        yield "fusing changes more than the adapter does"


def _losses(*done: Trial) -> Iterator[Measurement]:
    for name, trial in zip(("base", "adapter", "fused"), done, strict=True):
        if trial.loss is not None:
            yield Measurement(f"{name}_loss", trial.loss, "nats")


def _percent(share: float) -> str:
    return f"{format_number(100 * share, 3)} %"


def _kind(found: Checkpoint) -> str:
    """Return how a model's weights are stored, in words."""
    stored = quantization.read_quantization(found.config)
    if stored is not None:
        return f"{stored.bits} bits in groups of {stored.group_size}"
    counts = [item.dtype for item in found.tensors.values() if item.dtype in FLOATS]
    return FLOATS[max(set(counts), key=counts.count)] if counts else "no floats"


def judge_form(fused: Fused) -> Outcome:
    """Judge format, tokenizer and chat template of a fused model."""
    if isinstance(fused.checkpoint, PreflightError):
        return Outcome(
            Status.FAIL, str(fused.checkpoint), Evidence.STATIC, remedy=fused.checkpoint.hint
        )
    problems = list(_form(fused.base, fused.checkpoint))
    if isinstance(fused.trial, PreflightError):
        if not problems:
            raise BlockedError(f"{register.FINISH2_4}: {fused.trial}")
    elif fused.trial.tokenizer:
        problems.append(f"tokenizer: {fused.trial.tokenizer}")
    sizes = [format_bytes(item.weight_bytes) for item in (fused.checkpoint, fused.base)]
    measured = (
        Measurement("fused_bytes", fused.checkpoint.weight_bytes, "bytes"),
        Measurement("base_bytes", fused.base.weight_bytes, "bytes"),
    )
    if problems:
        text = f"{join_findings(problems)}; {sizes[0]}, base {sizes[1]}"
        return Outcome(Status.FAIL, text, Evidence.STATIC, measured)
    text = f"{_kind(fused.checkpoint)}, {sizes[0]}; tokenizer and chat template are the base's"
    return Outcome(Status.PASS, text, measurements=measured)


def _form(base: Checkpoint, made: Checkpoint) -> Iterator[str]:
    """Yield where the weights are stored in another form than the base's."""
    if base.config.get("model_type") != made.config.get("model_type"):
        kinds = [printable(item.config.get("model_type")) for item in (made, base)]
        yield f"model_type is {kinds[0]}, the base's {kinds[1]}"
    one, two = (quantization.read_quantization(item.config) for item in (base, made))
    if one != two:
        yield f"the weights are of {_kind(made)}, the base's of {_kind(base)}"
        return
    other = [
        name
        for name, item in sorted(made.tensors.items())
        if name in base.tensors
        and {item.dtype, base.tensors[name].dtype} <= {*FLOATS}
        and item.dtype != base.tensors[name].dtype
    ]
    if other:
        kinds = [item.tensors[other[0]].dtype for item in (made, base)]
        yield f"{len(other)} tensors are of another type, first {other[0]}: {kinds[0]}, {kinds[1]}"
