"""What is judged of trials of base, adapter and fused model, from their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlx_preflight.core.errors import BlockedError, WorkerError
from mlx_preflight.core.result import Outcome, Status
from mlx_preflight.models import checkpoint
from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from mlx_preflight.models.locate import ResolvedModel
from mlx_preflight.training import fused_model
from mlx_preflight.training.finished_model import ModelFacts, finish2_1, finish2_2, finish2_3
from mlx_preflight.training.finished_run import Base, FinishedRun
from mlx_preflight.training.fused_model import Fused
from mlx_preflight.training.trials import Change, Trial, first_differences

BASE = checkpoint.inspect(EMBEDDED_FOLDER)


def trial(batches: Sequence[float | None] = (), *, answer: Sequence[int] = (1, 2, 3)) -> Trial:
    """Return a trial with these losses and this one answer."""
    known = [value for value in batches if value is not None]
    mean = sum(known) / len(known) if known and len(known) == len(batches) else None
    return Trial(
        *(Path(), 1.0, [[1]], [9], [answer], [[1, 2]], "float32", 1024),
        *(mean, tuple(batches), 8, "", None, ()),
    )


def facts(plain: Trial, adapted: Trial | WorkerError, **changes: Any) -> ModelFacts:
    """Return the facts of a model."""
    run = FinishedRun(Path("adapters"), {}, {}, (), None)
    base = Base(ResolvedModel("base", EMBEDDED_FOLDER, "folder"), BASE, "")
    made = ModelFacts(run, base, plain, adapted, Change(0.1, 1.0), None, None)
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("before", "after", "status", "said"),
    [
        ((3.0, 4.0), (2.0, 2.0), Status.PASS, "lower on 2 of 2"),
        ((3.0, 4.0), (3.0, 4.0), Status.FAIL, "+0.0000"),
        ((3.0, 4.0), (2.0, 6.0), Status.FAIL, "lower on 1 of 2"),
        ((3.0, 4.0), (None, 2.0), Status.FAIL, "NaN with the adapter"),
        ((7.5, 7.1), (2.0, 2.0), Status.FAIL, "worse than chance"),
        ((7.5,), (2.0,), Status.PASS, "lower on 1 of 1"),
        ((7.5, 6.0), (2.0, 2.0), Status.PASS, "lower"),
    ],
)
def test_the_loss_must_fall(before: Any, after: Any, status: Status, said: str) -> None:
    """Strictly below the base's; a base that knows nothing of the rows is not the one."""
    found = finish2_3(facts(trial(before), trial(after)))
    assert found.status is status
    assert said in found.reason


def test_a_loss_that_nobody_knows_is_blocked() -> None:
    """A batch without trained tokens makes both NaN."""
    with pytest.raises(BlockedError, match="no finite number"):
        finish2_3(facts(trial((None, 2.0)), trial((None, 1.0))))
    broken = replace(trial(), loss_problem="KeyError")
    with pytest.raises(BlockedError, match="KeyError"):
        finish2_3(facts(broken, broken))


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (Change(0.0, 0.0), Status.FAIL),
        (Change(2.0**-24, 1e-6), Status.FAIL),
        (Change(2.0**-20, 1e-5), Status.PASS),
        (Change(0.0, 0.0, finite=False), Status.FAIL),
    ],
)
def test_rounding_is_no_change(change: Change, status: Status) -> None:
    """An adapter that adds nothing leaves the logits but for roundings."""
    assert finish2_2(facts(trial(), trial(), change=change)).status is status


def test_what_mlx_lm_refuses_fails_once() -> None:
    """The other checks are blocked by that one."""
    refused = facts(trial(), WorkerError("ValueError: Adapter contains incompatible tensors"))
    assert finish2_1(refused).status is Status.FAIL
    with pytest.raises(BlockedError, match=r"FINISH2\.1"):
        finish2_2(refused)


def judged(own: float, reference: float, change: float, *losses: float) -> Outcome:
    """Judge a fused model by its distances, and losses of base, adapter and fused model."""
    plain, adapted, made = (
        [trial((loss,)) for loss in losses] if losses else [trial(), trial(), trial()]
    )
    fused = Fused(BASE, BASE, made, *(Change(x, x) for x in (own, reference, change)))
    return fused_model.judge_answers(fused, plain, adapted, Change(0.2, 1.0))


def test_a_fused_model_is_judged_by_what_fusing_makes_here() -> None:
    """As far from mlx_lm's own as that is from the adapter, and no farther."""
    assert judged(0.0, 0.1, 0.1).status is Status.PASS
    assert judged(0.1, 0.1, 0.15).status is Status.PASS
    assert "not what fusing" in judged(0.15, 0.1, 0.18).reason


def test_fusing_must_keep_what_was_learned() -> None:
    """By the held-out loss, and without one by the logits."""
    assert judged(0.0, 0.3, 0.3, 3.0, 2.0, 2.5).status is Status.PASS
    assert "lost what was learned" in judged(0.0, 0.1, 0.1, 3.0, 2.0, 3.1).reason
    assert "more than the adapter" in judged(0.0, 0.3, 0.3).reason


def test_modules_that_cannot_be_fused_are_named() -> None:
    """mlx_lm.fuse passes over them without a word."""
    adapted = replace(trial(), unfused=("model.layers.0.odd",))
    fused = Fused(BASE, BASE, trial(), *(Change(0.0, 0.0),) * 3)
    found = fused_model.judge_answers(fused, trial(), adapted, Change(0.2, 1.0))
    assert found.status is Status.FAIL
    assert "model.layers.0.odd" in found.reason


def test_the_first_token_that_differs() -> None:
    """An answer that ends earlier differs where it ends."""
    one = trial(answer=(1, 2, 3))
    assert first_differences(one, trial(answer=(1, 2, 3))) == [None]
    assert first_differences(one, trial(answer=(1, 5, 3))) == [1]
    assert first_differences(one, trial(answer=(1, 2))) == [2]
