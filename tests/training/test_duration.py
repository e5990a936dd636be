"""How long a run takes: curves of step times, their sum over real batches, and the limit."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import numpy as np
import pytest

from mlx_preflight.core.errors import UsageError
from mlx_preflight.core.result import Status
from mlx_preflight.memory.predict import Prediction, predict
from mlx_preflight.memory.settings import Settings
from mlx_preflight.models import source
from mlx_preflight.plan import register
from mlx_preflight.training import chips, duration, step_times, timing
from mlx_preflight.training.step_times import Curve, StepTimes
from tests.training.conftest import Judge, Write, failed

RUN7 = "run7-duration"

PUBLISHED: list[tuple[str, str, dict[str, Any], float]] = [
    ("M1 Max", "qwen3-8b", {"max_seq_length": 2048, "num_layers": 36}, 2047 / 97.8),
    ("M1 Pro", "qwen2.5-coder-7b", {"max_seq_length": 1024, "rank": 16, "dropout": 0.1}, 12.5),
]
"""Chip, model, settings, and seconds of a step that runs of mlx_lm.lora with batches of one and
checkpointing reported."""


def figures(check: Any) -> dict[str, Any]:
    """Return the measurements of a result by name."""
    return {item.name: item.value for item in check.measurements}


def test_a_curve_is_a_parabola_through_its_points() -> None:
    """Between three widths, and straight where two are known or the points do not rise."""
    widths = np.array([33, 257, 513])
    seconds = 0.2 + 1e-3 * widths + 2e-6 * widths**2
    curve = Curve(tuple(widths), tuple(seconds))
    assert curve.at(129) == pytest.approx(0.2 + 0.129 + 2e-6 * 129**2)
    assert Curve((100, 200), (1.0, 3.0)).at([100, 150, 400]).tolist() == [1.0, 2.0, 6.0]
    assert Curve((1, 2, 3), (1.0, 0.5, 0.6)).at(2) == 0.5


def test_a_single_delay_counts_little() -> None:
    """Another program that wakes up once does not double the mean."""
    calm, _ = step_times.mean([1.0] * 9)
    delayed, error = step_times.mean([1.0] * 8 + [30.0])
    assert calm == 1.0
    assert delayed == pytest.approx(11 / 9)
    assert error > 0
    assert step_times.mean([2.0]) == (2.0, 2.0), "one step says nothing about the spread"


def test_weighted_slices_make_steps_and_spread() -> None:
    """The whole is a sum, the first steps' surplus is the compilation, and noise adds up."""

    def answer(first: float, *steps: float) -> dict[str, Any]:
        return {"widths": {"33": {"seconds": [first, *steps], "peak_bytes": 1}}, "firsts": 1}

    parts = [(3.0, answer(5.0, 2.0, 2.0)), (-1.0, answer(2.0, 1.0, 1.0))]
    train, first, spread = step_times.combine(parts, "widths")
    assert (train.seconds, first.seconds, spread) == ((5.0,), (8.0,), 0.0)
    noisy = [(3.0, answer(5.0, 1.0, 3.0)), (-1.0, answer(2.0, 1.0, 1.0))]
    assert step_times.combine(noisy, "widths")[2] == pytest.approx(3 * 1.0 / 5.0)


@pytest.mark.parametrize(("chip", "model", "settings", "seconds"), PUBLISHED)
def test_the_table_is_near_published_steps(
    chip: str, model: str, settings: dict[str, Any], seconds: float
) -> None:
    """Within a factor of 1.5 (`benchmarks/published_times.py` has every row)."""
    run = Settings(batch_size=1, grad_checkpoint=True, backend="metal", **settings)
    found = predict(source.find(model).config, run)
    times = timing.of_prediction(found, run.max_seq_length, chip=chip)
    assert 1 / 1.5 < float(times.train.at(run.max_seq_length)) / seconds < 1.5


def trained(**settings: Any) -> Prediction:
    """Return the prediction of a small run of the 7B model on a Mac."""
    run = Settings(batch_size=1, max_seq_length=256, backend="metal", **settings)
    return predict(source.find("qwen2.5-coder-7b").config, run)


def test_an_unknown_chip_is_refused() -> None:
    """Neither a name outside the table nor a backend that is not here gets hours."""
    with pytest.raises(UsageError, match="no speed is known of M9"):
        timing.of_prediction(trained(), 256, chip="M9")
    with pytest.raises(UsageError, match="no speed is known of metal"):
        timing.of_prediction(dataclasses.replace(trained()), 256)
    assert chips.find("Apple M3 Max") == chips.CHIPS["M3 Max"]
    assert chips.find("Apple M1") == chips.CHIPS["M1"]
    assert chips.find("m1 max") == chips.CHIPS["M1 Max"]
    assert chips.find("Apple M1 (Virtual)") == chips.CHIPS["M1"]
    assert chips.find("NVIDIA A100-SXM4-80GB") == chips.CHIPS["A100"]
    for other in ("Intel(R) Xeon(R)", "M1-Max", "M1 Maxx", "M1 Ultra", "Apple M12", ""):
        assert chips.find(other) is None


def test_more_work_takes_longer() -> None:
    """Recomputed blocks, wider rows and a slower chip each cost time."""

    def step(chip: str, width: int, **settings: Any) -> float:
        return float(timing.of_prediction(trained(**settings), 256, chip=chip).train.at(width))

    assert step("M1", 256) > step("M1 Max", 256)
    assert step("M1", 256) > 1.5 * step("M1", 128)
    assert step("M1", 256, grad_checkpoint=True) > 1.1 * step("M1", 256)


def test_iterations_are_validated_as_by_default() -> None:
    """At iteration 1, every 200, and the last: 25 batches each."""
    times = StepTimes(
        Curve((8,), (2.0,)), Curve((8,), (1.0,)), Curve((8,), (0.5,)), 0.0, 0.5, 0, ""
    )
    found = duration.of_iterations(times, 500, 8)
    assert found.train_s == 1000
    assert found.validation_s == 4 * 25 * 0.5
    assert found.total_s == 1051
    assert found.ends_s == (1051 / 1.5, 1051 * 1.5)
    now = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
    assert found.describe(now).endswith("started now, it ends 2026-01-01 12:17")


def test_hours_are_those_of_the_real_batches(write_run: Write, judge_run: Judge) -> None:
    """Without a rehearsal from this machine's products; parts add up, and no limit is no fault."""
    found = judge_run(write_run(), RUN7)
    assert failed(found) == set()
    values = figures(found[register.RUN7_1])
    parts = sum(values[f"{n}_s"] for n in ("steps", "validations", "compilation", "saves"))
    assert parts == pytest.approx(values["duration_s"], abs=0.01)
    assert values["duration_low_s"] < values["duration_s"] < values["duration_high_s"]
    assert "measured here now" in found[register.RUN7_1].reason
    assert "no limit is set" in found[register.RUN7_2].reason


def test_a_limit_is_judged_by_the_upper_end(write_run: Write, judge_run: Judge) -> None:
    """`max-hours` of nearly nothing fails, of a day passes."""
    context = write_run()

    def judged(hours: float) -> Any:
        settings = dataclasses.replace(context.settings, max_hours=hours)
        limited = dataclasses.replace(context, settings=settings)
        return judge_run(limited, RUN7)[register.RUN7_2]

    assert judged(24).status is Status.PASS
    late = judged(1e-6)
    assert late.status is Status.FAIL
    assert "max-hours" in late.remedy


def test_a_run_that_does_not_fit_gets_no_hours(write_run: Write, judge_run: Judge) -> None:
    """It would page, and that has no speed worth a figure."""
    context = write_run()
    assert context.training is not None
    tight = dataclasses.replace(context.training, budget_bytes=1_000_000)
    found = judge_run(dataclasses.replace(context, training=tight), RUN7)
    assert {check.status for check in found.values()} <= {Status.BLOCKED, Status.PASS}
    assert "pages has no speed" in found[register.RUN7_1].reason


def test_a_compilation_that_adds_nothing_is_no_fault() -> None:
    """Zero at the narrowest width and more beyond: a straight line, and no division by it."""
    with np.errstate(all="raise"):
        found = Curve((33, 65, 97), (0.0, 0.1, 0.3)).at([33, 49, 97, 129])
    assert list(found) == pytest.approx([0.0, 0.05, 0.3, 0.3 * 129 / 97])
