"""Session finish2-model: what base, base with adapter, and fused model answer."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import BlockedError, PreflightError, WorkerError, or_error
from mlx_preflight.core.result import Measurement, Outcome, Status
from mlx_preflight.core.units import format_number
from mlx_preflight.criteria.model_under_test import error_outcome
from mlx_preflight.plan import register, remedies
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context
from mlx_preflight.training import finished_run, fused_model, trials
from mlx_preflight.training.finished_run import Base, FinishedRun
from mlx_preflight.training.fused_model import Fused
from mlx_preflight.training.trials import Change, Trial

ROUNDINGS = 4
"""Roundings of the logits' type up to which a change is none: `lora_b` of zeros adds exactly
nothing to a layer, and DoRA's division by a norm one rounding per layer (mlx_lm 0.32)."""

LEAST_BATCHES = 2
"""Batches of held-out rows by which a base can be worse than chance."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts of the models, or why each of them is not known.

    Attributes:
        run: The adapter folder.
        base: Its base.
        plain: What the base does.
        adapted: What the base does with the adapter.
        change: How far its logits are from the base's.
        rows: Why there are no held-out rows; None where there are.
        fused: What the fused model is and does; None where none was named.
    """

    run: FinishedRun
    base: Base
    plain: Trial | PreflightError
    adapted: Trial | PreflightError
    change: Change | PreflightError
    rows: PreflightError | None
    fused: Fused | PreflightError | None

    @property
    def model(self) -> dict[str, Any]:
        """Return what the result file stores about adapter and base."""
        return finished_run.describe(self.run, self.base)

    def both(self) -> tuple[Trial, Trial]:
        """Return what base and adapter do, or block what cannot be judged without it."""
        if isinstance(self.plain, PreflightError):
            raise self.plain
        if isinstance(self.adapted, PreflightError):
            text = f"{register.FINISH2_1}: {self.adapted}"
            raise BlockedError(text, hint=self.adapted.hint)
        return self.plain, self.adapted

    def known_change(self) -> Change:
        """Return how far the logits are apart, or raise why that is not known."""
        self.both()
        if isinstance(self.change, PreflightError):
            raise self.change
        return self.change


def gather(_: Session, context: Context) -> ModelFacts:
    """Try the base, the base with the adapter, and the fused model, each in a child."""
    run = finished_run.require(context)
    base = or_error(lambda: finished_run.find_base(context, run))
    if isinstance(base, PreflightError):
        raise BlockedError(f"{register.FINISH1_2}: {base}", hint=base.hint) from base
    held_out = or_error(lambda: trials.held_out(context, run))
    with tempfile.TemporaryDirectory(prefix="preflight-") as scratch:
        bench = trials.Bench(context, base.resolved, Path(scratch), held_out)
        plain = or_error(bench.plain)
        adapted = or_error(lambda: bench.adapted(plain, run.folder))
        return ModelFacts(
            run=run,
            base=base,
            plain=plain,
            adapted=adapted,
            change=or_error(lambda: trials.change(plain, adapted)),
            rows=held_out if isinstance(held_out, PreflightError) else None,
            fused=or_error(lambda: fused_model.judge(bench, base.checkpoint, plain, adapted)),
        )


def finish2_1(facts: ModelFacts) -> Outcome:
    """Judge that mlx_lm loads base and adapter."""
    if isinstance(facts.plain, PreflightError):
        raise facts.plain
    if isinstance(facts.adapted, PreflightError):
        return error_outcome(facts.adapted)
    load_s = facts.adapted.duration_s
    measured = (Measurement("trial_s", load_s, "s"),)
    text = f"mlx_lm.load takes {facts.run.folder.name} on {facts.base.resolved.requested}"
    return Outcome(Status.PASS, text, measurements=measured)


def finish2_2(facts: ModelFacts) -> Outcome:
    """Judge that greedy answers or their logits are not those of the base."""
    plain, adapted = facts.both()
    change = facts.known_change()
    if not change.finite:
        return Outcome(Status.FAIL, "the logits are NaN", remedy=f"see {register.FINISH1_4}")
    others = trials.first_differences(plain, adapted)
    changed = [place for place in others if place is not None]
    rounding = ROUNDINGS * adapted.rounding
    measured = (
        Measurement("prompts", len(others), "count"),
        Measurement("changed_answers", len(changed), "count"),
        Measurement("logits_change", change.share, "ratio", f"> {rounding:.3g}"),
        Measurement("largest_logit_change", change.largest, "nats"),
    )
    where = f", the earliest at token {min(changed) + 1}" if changed else ""
    text = (
        f"{len(changed)} of {len(others)} greedy answers change{where}; logits change by "
        f"{_share(change.share)} (root mean square), "
        f"at most by {format_number(change.largest, 3)}"
    )
    status = Status.PASS if change.share > rounding else Status.FAIL
    return Outcome(status, text, measurements=measured)


def _share(share: float) -> str:
    return f"{format_number(100 * share, 3)} %"


def finish2_3(facts: ModelFacts) -> Outcome:
    """Compare the mean loss of the validation batches with the base's."""
    plain, adapted = facts.both()
    if facts.rows is not None:
        raise BlockedError(str(facts.rows), hint=facts.rows.hint)
    for trial in (plain, adapted):
        if trial.loss_problem:
            hint = "`mlx-preflight data FOLDER --model BASE` names the rows"
            raise BlockedError(f"valid.jsonl cannot be used: {trial.loss_problem}", hint=hint)
    if plain.loss is None:
        hint = "`mlx-preflight data FOLDER --model BASE` names batches without a trained token"
        raise BlockedError("the loss of the base is no finite number", hint=hint)
    if text := _worse_than_chance(plain, plain.loss):
        return Outcome(Status.FAIL, text, remedy=remedies.OWN_BASE)
    if adapted.loss is None:
        text = f"the loss is NaN with the adapter, and {_loss(plain.loss)} without"
        return Outcome(Status.FAIL, text, remedy=f"see {register.FINISH1_4}")
    return _judge_loss(plain, plain.loss, adapted, adapted.loss)


def _worse_than_chance(plain: Trial, loss: float) -> str:
    """Return that every batch is beyond an even guess: such a base was not trained on.

    One batch is none: a single row of its own task can be hard for a right base, too.
    """
    chance = math.log(plain.vocabulary)
    known = [value for value in plain.batches if value is not None]
    if len(known) < LEAST_BATCHES or min(known) < chance:
        return ""
    return (
        f"the base predicts every held-out batch worse than chance: {_loss(loss)}, and an even "
        f"guess among {plain.vocabulary:,} tokens is {_loss(chance)}"
    )


def _judge_loss(plain: Trial, before: float, adapted: Trial, after: float) -> Outcome:
    pairs = list(zip(plain.batches, adapted.batches, strict=True))
    better = sum(b is not None and a is not None and b < a for a, b in pairs)
    measured = (
        Measurement("base_loss", before, "nats", samples=_samples(plain)),
        Measurement("adapter_loss", after, "nats", f"< {before:.6g}", _samples(adapted)),
        Measurement("loss_difference", after - before, "nats", "< 0"),
        Measurement("held_out_rows", plain.rows, "count"),
        Measurement("batches", len(pairs), "count"),
        Measurement("better_batches", better, "count"),
    )
    text = (
        f"mean {_loss(after)} with the adapter, {_loss(before)} without ({after - before:+.4f}); "
        f"lower on {better} of {len(pairs)} batches of {plain.rows:,} held-out rows"
    )
    if after < before:
        return Outcome(Status.PASS, text, measurements=measured)
    remedy = (
        "see that scale and base are those of the training; if they are, it has learned its rows "
        "by heart or diverged: use an earlier save, or train with a lower learning_rate"
    )
    return Outcome(Status.FAIL, text, measurements=measured, remedy=remedy)


def _samples(trial: Trial) -> tuple[float, ...]:
    return tuple(value for value in trial.batches if value is not None)


def _loss(value: float) -> str:
    return f"{value:.4f}"


def finish2_4(facts: ModelFacts) -> Outcome:
    """Compare the fused model's tokens and logits with those of base and adapter."""
    fused = _fused(facts)
    if fused is None:
        return Outcome(Status.PASS, "no fused model was named")
    if isinstance(fused.trial, PreflightError):
        return error_outcome(fused.trial)
    plain, adapted = facts.both()
    return fused_model.judge_answers(fused, plain, adapted, facts.known_change())


def finish2_5(facts: ModelFacts) -> Outcome:
    """Compare format, tokenizer and template of the fused model with the base's."""
    fused = _fused(facts)
    if fused is None:
        return Outcome(Status.PASS, "no fused model was named")
    return fused_model.judge_form(fused)


def _fused(facts: ModelFacts) -> Fused | None:
    if isinstance(facts.fused, PreflightError):
        if isinstance(facts.fused, WorkerError):
            raise BlockedError(str(facts.fused), hint=facts.fused.hint)
        raise facts.fused
    return facts.fused


CHECKS: dict[str, Callable[[ModelFacts], Outcome]] = {
    register.FINISH2_1: finish2_1,
    register.FINISH2_2: finish2_2,
    register.FINISH2_3: finish2_3,
    register.FINISH2_4: finish2_4,
    register.FINISH2_5: finish2_5,
}
