"""AC6 on the embedded model, on broken weights, and on a model that is not here."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mlx_preflight.core.errors import ChildError, ResultError, WorkerError
from mlx_preflight.core.result import Evidence, Status
from mlx_preflight.criteria import memory, model_under_test, profiling
from mlx_preflight.criteria.memory_facts import PeakFacts
from mlx_preflight.memory import calibration
from mlx_preflight.models import checkpoint
from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from mlx_preflight.plan import register
from mlx_preflight.run import session
from mlx_preflight.run.context import Context

SESSION = register.find_session("ac6-memory")[0]
ANSWERED = [check.id for check in SESSION.checks]


def values(outcome: Any) -> Any:
    """Return the measurements of an outcome by name."""
    return {item.name: item.value for item in outcome.measurements}


@pytest.mark.parametrize("name", ANSWERED)
def test_the_embedded_model_passes(ac6: Any, name: str) -> None:
    """The embedded model passes every check of AC6 with values that were measured."""
    outcome = memory.CHECKS[name](ac6)
    assert outcome.status is Status.PASS, outcome.reason
    assert outcome.evidence in {None, Evidence.STATIC}


def test_training_really_trained(ac6: Any) -> None:
    """Adapters were trained on four-bit weights, every step and every counter is there."""
    run = ac6.training
    assert (run.bits, run.group_size, run.quantized_here) == (4, 64, True)
    assert len(run.losses) == len(run.step_s) == len(run.peak_bytes) == 3
    assert all(loss is not None and 0 < loss < 16 for loss in run.losses)
    assert run.trainable > 10_000
    assert run.row_tokens == 64
    assert run.memory.peak_bytes >= max(run.peak_bytes) > ac6.inference.memory.active_bytes / 8
    assert run.memory.rss_bytes > run.memory.peak_bytes


def test_counters_stay_apart(ac6: Any) -> None:
    """Active peak, cache and process peak are separate measurements."""
    seen = values(memory.ac6_5(ac6)) | values(memory.ac6_3(ac6))
    for part in ("training", "inference"):
        assert seen[f"{part}_active_peak_bytes"] > 0
        assert seen[f"{part}_peak_rss_bytes"] > seen[f"{part}_active_peak_bytes"]
        assert f"{part}_cache_bytes" in seen


def test_the_target_estimate_is_labelled(ac6: Any) -> None:
    """The 7B figure beside embedded measurements says that it is simulated."""
    outcome = memory.ac6_4(ac6)
    assert 4e9 < values(outcome)["qwen2_5_coder_7b_training_estimate_bytes"] < 8e9
    assert "simulated)" in outcome.reason
    low, high = (
        values(outcome)[f"qwen2_5_coder_7b_training_estimate_{end}_bytes"]
        for end in ("low", "high")
    )
    assert low < values(outcome)["qwen2_5_coder_7b_training_estimate_bytes"] < high
    assert values(outcome)["training_peak_bytes"] == ac6.training.memory.peak_bytes


def test_a_budget_that_is_too_small_fails(ac6: Any) -> None:
    """What exceeds the budget, by either counter, fails, and the headroom is negative."""
    context = dataclasses.replace(ac6.context, budget_bytes=10_000_000)
    facts = dataclasses.replace(ac6, context=context)
    outcome = memory.ac6_7(dataclasses.replace(facts, alternatives=profiling.search(facts)))
    assert outcome.status is Status.FAIL
    assert "mlx-preflight fit embedded --budget-gb 0.01" in outcome.remedy
    assert values(memory.ac6_6(ac6))["headroom_bytes"] > 0
    active = dataclasses.replace(ac6.training.memory, peak_bytes=17 * 10**9)
    training = dataclasses.replace(ac6.training, memory=active)
    facts = dataclasses.replace(ac6, training=training)
    assert memory.ac6_7(facts).status is Status.FAIL
    assert values(memory.ac6_6(facts))["headroom_bytes"] == -(10**9)


@pytest.mark.slow
def test_broken_weights_do_not_profile(ac6_broken: Any) -> None:
    """A NaN in the weights makes losses and adapters infinite or undefined: failed."""
    outcome = memory.ac6_2(ac6_broken)
    assert outcome.status is Status.FAIL
    assert "not finite" in outcome.reason


def test_no_quantized_layer_is_no_qlora(ac6: Any) -> None:
    """A run on unquantized weights does not count as QLoRA."""
    facts = dataclasses.replace(ac6, training=dataclasses.replace(ac6.training, bits=0))
    assert "not QLoRA" in memory.ac6_2(facts).reason


def test_out_of_memory_fails_and_a_kill_is_an_error(ac6: Any) -> None:
    """The framework's refusal is a failure; a killed child could not be measured."""
    for error, status in (
        (WorkerError("train: out of memory"), Status.FAIL),
        (ChildError("train: killed by SIGKILL"), Status.ERROR),
    ):
        facts = dataclasses.replace(ac6, training=None, failures={"training": error})
        assert memory.ac6_2(facts).status is status
        assert memory.ac6_3(facts).status is Status.PASS
        with pytest.raises(ChildError):
            memory.ac6_7(facts)


def test_nothing_measured_is_nothing_passed(ac6: Any) -> None:
    """Absent runs raise instead of passing."""
    empty = PeakFacts(ac6.context, model_under_test.ModelUnderTest(), ac6.script, ac6.document)
    for name in ("AC6.3", "AC6.4", "AC6.5", "AC6.6", "AC6.7"):
        with pytest.raises(ResultError):
            memory.CHECKS[name](empty)


def test_an_absent_target_is_estimated_where_the_plan_allows_it(absent: Context) -> None:
    """Without the weights training memory is simulated, and all that must run is BLOCKED."""
    finished = session.run_session(SESSION, absent)
    checks = {check.id: check for check in finished.checks}
    for name in ("AC6.2", "AC6.3", "AC6.5"):
        assert checks[name].status is Status.BLOCKED
    for name in ("AC6.4", "AC6.6", "AC6.7"):
        assert checks[name].status is Status.PASS
        assert checks[name].evidence is Evidence.SIMULATED
    assert "not run" in checks["AC6.4"].reason
    assert "runs on this machine" in checks["AC6.4"].reason


def test_an_unknown_absent_model_gets_no_estimate(absent: Context) -> None:
    """A hub model whose config is not known here is blocked throughout."""
    finished = session.run_session(SESSION, dataclasses.replace(absent, model="some/one"))
    assert {check.status for check in finished.checks[1:]} == {Status.BLOCKED}


def test_an_estimate_over_the_budget_fails(absent: Context) -> None:
    """An estimate is judged like a measurement."""
    finished = session.run_session(SESSION, dataclasses.replace(absent, budget_bytes=5 * 10**9))
    check = next(c for c in finished.checks if c.id == "AC6.7")
    assert check.status is Status.FAIL
    assert "needs at most" in check.remedy or "no settings fit" in check.remedy


def test_the_predictor_is_right_on_this_machine(ac6: Any) -> None:
    """Every point was predicted and measured, this model's own run among them."""
    assert len(ac6.points) == len(calibration.POINTS) + 1
    assert ac6.points[-1].measured_bytes == ac6.training.memory.peak_bytes
    assert max(abs(point.error) for point in ac6.points) <= memory.WORST_SHARE


@pytest.mark.parametrize(("share", "status"), [(1.09, Status.PASS), (1.11, Status.FAIL)])
def test_a_predictor_that_is_off_never_passes(ac6: Any, share: float, status: Status) -> None:
    """One point with more than 10 % error, in either direction, fails the criterion."""
    for predicted, measured in ((share, 1.0), (1.0, share)):
        wrong = calibration.MeasuredPoint("x", int(predicted * 1e9), int(measured * 1e9))
        outcome = memory.ac6_4(dataclasses.replace(ac6, points=(*ac6.points, wrong)))
        assert outcome.status is (status if predicted > 1 else Status.PASS)
    low = calibration.MeasuredPoint("x", int(0.89e9), int(1e9))
    assert memory.ac6_4(dataclasses.replace(ac6, points=(low,))).status is Status.FAIL


def test_the_run_is_predicted_in_the_type_of_its_bytes(ac6: Any, tmp_path: Path) -> None:
    """`mlx_lm.convert --dtype` changes the bytes and leaves config.json as it was."""
    folder = tmp_path / "model"
    shutil.copytree(EMBEDDED_FOLDER, folder)
    halves = {
        name: array.astype(np.float16)
        for name, array in load_file(folder / "model.safetensors").items()
    }
    save_file(halves, folder / "model.safetensors")
    for path, dtype in ((EMBEDDED_FOLDER, "float32"), (folder, "float16")):
        files = checkpoint.inspect(path)
        assert files.config["dtype"] == "float32"
        assert profiling.read_settings(files, ac6.training).dtype == dtype


def test_a_run_that_cannot_be_predicted_was_measured_all_the_same(ac6: Any) -> None:
    """The predictor is judged by its other points, and no one is told to measure again."""
    facts = dataclasses.replace(ac6, points=ac6.points[:-1], unpredicted="it runs FromFP8")
    outcome = memory.ac6_4(facts)
    assert outcome.status is Status.PASS
    assert "measured and not predicted: it runs FromFP8" in outcome.reason


def test_a_failed_calibration_is_an_error(ac6: Any) -> None:
    """Without a measurement beside it no prediction passes; the run itself still counts."""
    facts = dataclasses.replace(ac6, points=(), failures={"calibration": ChildError("killed")})
    with pytest.raises(ChildError):
        memory.ac6_4(facts)
    assert memory.ac6_2(facts).status is Status.PASS
