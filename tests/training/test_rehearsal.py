"""Session run6-rehearsal: the real trainer on slices of the embedded model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, cast

import pytest

from mlx_preflight.core.errors import BlockedError, ChildError, WorkerError
from mlx_preflight.core.result import Status
from mlx_preflight.memory.predict import predict
from mlx_preflight.memory.settings import Settings
from mlx_preflight.memory.slices import Slice
from mlx_preflight.plan import register
from mlx_preflight.plan.options import TrainingRequest
from mlx_preflight.training import rehearsal, slice_children, slice_runs, step_times, timing
from mlx_preflight.training.memory import PeakFacts
from mlx_preflight.training.slice_runs import Rehearsal
from tests.memory.models import qwen
from tests.training.conftest import Judge, Write, failed

RUN6, RUN7 = "run6-rehearsal", "run7-duration"

SETTINGS = Settings(batch_size=1, max_seq_length=65, num_layers=2, bits=None, dtype="float32")


def quiet(_: str) -> None:
    """Show nothing."""


@pytest.mark.slow
def test_a_rehearsal_answers_and_is_kept(
    write_run: Write, judge_run: Judge, tmp_path: Path
) -> None:
    """A step works, takes seconds and memory, and the hours rest on it afterwards."""
    context = write_run()
    found = judge_run(context, RUN6)
    assert failed(found) == set()
    values = {m.name: m.value for check in found.values() for m in check.measurements}
    assert float(values["step_65_s"]) > 0
    assert values["measured_by_predicted"] == pytest.approx(1, abs=0.05)
    assert "slices of" in found[register.RUN6_1].reason
    hours = judge_run(context, RUN7)
    assert failed(hours) == set()
    assert "from a rehearsal" in hours[register.RUN7_1].reason


def test_without_training_there_is_nothing_to_rehearse(write_run: Write, judge_run: Judge) -> None:
    """A test alone has no step."""
    context = write_run("--test", train=False)
    found = judge_run(context, RUN6)
    assert {check.status for check in found.values()} == {Status.BLOCKED}


def test_a_step_that_cannot_work_is_named() -> None:
    """A model whose forward raises: the exception is the child's own."""
    config = qwen(rope_scaling={"rope_type": "no such type", "factor": 2.0})
    with pytest.raises(WorkerError, match="no such type"):
        slice_runs.rehearse(config, SETTINGS, [65], [], budget_bytes=10**10, note=quiet)


def test_a_failing_step_fails_its_check_and_blocks_the_others() -> None:
    """With the pair of versions, and what helps where that is known."""
    error = WorkerError("ValueError: Cannot calculate VJP with respect to indices")
    facts = rehearsal.RehearsalFacts(error, cast("PeakFacts", None))
    one = rehearsal.run6_1(facts)
    assert one.status is Status.FAIL
    assert "mlx 0." in one.reason
    assert "cannot train experts" in one.remedy
    with pytest.raises(BlockedError, match=r"RUN6\.1 fails"):
        rehearsal.run6_2(facts)


def test_a_budget_below_one_block_blocks() -> None:
    """Nothing is started where the prediction says so; else the child ends itself."""
    with pytest.raises(BlockedError, match=r"for 1 block at 65 tokens, and the budget is 0\.0010"):
        slice_runs.rehearse(qwen(), SETTINGS, [65], [], budget_bytes=10**6, note=quiet)
    with pytest.raises(BlockedError, match=r"rehearsed: .*used .*limit of 0\.0500 GB$"):
        slice_runs.rehearse(qwen(), SETTINGS, [65], [], budget_bytes=5 * 10**7, note=quiet)


def test_a_rank_that_dies_is_no_failing_step() -> None:
    """It ended itself, over its limit: that says nothing of the versions."""
    both = dataclasses.replace(SETTINGS, ranks=2)
    with pytest.raises(ChildError, match=r"rank \d was killed") as found:
        slice_runs.rehearse(qwen(), both, [65], [], budget_bytes=5 * 10**7, note=quiet)
    assert not isinstance(found.value, WorkerError)


def test_what_no_slice_fits_is_predicted_only(write_run: Write, judge_run: Judge) -> None:
    """With the peak that was predicted, which decides: nothing was measured against it."""
    context = write_run()
    request = dataclasses.replace(context.training or TrainingRequest(()), budget_bytes=10**6)
    found = judge_run(dataclasses.replace(context, training=request), RUN6)
    assert found[register.RUN6_1].status is Status.BLOCKED
    assert found[register.RUN6_3].status is Status.FAIL
    assert "predicted only: 0.0" in found[register.RUN6_3].reason


def example(**changes: Any) -> Rehearsal:
    """Return a rehearsal of two slices."""
    answers = tuple(
        {
            "widths": {"65": {"seconds": [1.0, 0.5, 0.5], "peak_bytes": peak}},
            "firsts": 1,
            "validation": {},
            "save_s": 0.01,
        }
        for peak in (1020, 2020)
    )
    slices = (Slice(1, 1, -2.0), Slice(4, 4, 3.0))
    made = Rehearsal(slices, answers, (1000, 2000), SETTINGS, 3.0)
    return dataclasses.replace(made, **changes)


def test_a_corrected_peak_is_narrower() -> None:
    """By what the slices needed more than predicted, and by how much they differ."""
    peak = dataclasses.make_dataclass("Peak", ["peak_bytes", "peak_low_bytes", "peak_high_bytes"])(
        10_000, 9_000, 12_000
    )
    one = rehearsal.corrected(example(), peak)
    assert one.ratio == pytest.approx(3040 / 3000)
    assert one.peak_bytes == round(10_000 * 3040 / 3000)
    assert 9_000 < one.peak_low_bytes < one.peak_bytes < one.peak_high_bytes < 12_000


def test_a_kept_rehearsal_is_of_the_same_run(tmp_path: Path) -> None:
    """Another config, another width or another version finds none."""
    config = qwen()
    run = dataclasses.replace(SETTINGS, max_seq_length=65)
    file = tmp_path / f"{slice_runs.key(config, run)}.json"
    file.write_text(json.dumps(example().to_json()))
    assert slice_runs.find(tmp_path, config, run) == example()
    assert slice_runs.find(tmp_path, qwen(num_hidden_layers=2), run) is None
    assert slice_runs.find(tmp_path, config, dataclasses.replace(run, rank=4)) is None


def test_widths_are_the_ends_and_a_middle() -> None:
    """Of many widths three are measured."""
    assert slice_runs.chosen_widths([97, 33, 65, 33, 513, 289]) == [33, 289, 513]
    assert slice_runs.chosen_widths([33, 33]) == [33]


def test_a_step_is_told_by_process() -> None:
    """Of slices, each process's time is weighted as the whole's is; one process tells nothing."""
    made = example()
    assert made.rank_seconds == ()
    for number, answer in enumerate(made.answers, 1):
        answer["widths"]["65"]["ranks"] = [0.5 * number, 0.4 * number]
    shared = dataclasses.replace(made, settings=dataclasses.replace(SETTINGS, ranks=2))
    assert shared.rank_seconds == pytest.approx((-2 * 0.5 + 3 * 1.0, -2 * 0.4 + 3 * 0.8))
    facts = rehearsal.RehearsalFacts(shared, cast("PeakFacts", None), timing.of_rehearsal(shared))
    told = rehearsal.run6_2(facts)
    assert "by process 2 s, 1.6 s" in told.reason
    assert {"rank_0_s", "rank_1_s"} <= {one.name for one in told.measurements}


@pytest.mark.slow
def test_processes_that_share_a_training_are_rehearsed_together() -> None:
    """In two processes of MLX's own launcher; the averaging of gradients is predicted."""
    config = qwen(num_hidden_layers=2)
    run = dataclasses.replace(SETTINGS, ranks=2, fine_tune_type="full")
    job = {"widths": [33, 65], "validation": [65], "seconds": 1.0}
    peaks = []
    for ranks in (1, 2):
        shared = dataclasses.replace(run, ranks=ranks)
        answer = slice_children.train(config, shared, Slice(2, 2), job, 10**10, 120)
        peaks.append(answer["widths"]["65"]["peak_bytes"])
        assert peaks[-1] == pytest.approx(predict(config, shared).peak_bytes, rel=0.03)
    assert peaks[0] < peaks[1]
    step = answer["widths"]["65"]
    assert len(step["ranks"]) == 2
    assert 0 < min(step["ranks"]) <= max(step["seconds"])


def test_an_exception_in_one_of_several_processes_is_named() -> None:
    """The other ones end with it, and nobody waits for a sum that will not come."""
    config = qwen(rope_scaling={"rope_type": "no such type", "factor": 2.0})
    shared = dataclasses.replace(SETTINGS, ranks=2)
    with pytest.raises(WorkerError, match=r"rank \d.*no such type"):
        slice_runs.rehearse(config, shared, [65], [], budget_bytes=10**10, note=quiet)


def test_steps_that_compile_count_once() -> None:
    """With accumulation, as many first steps as a cycle has are compiled."""
    answer = {"widths": {"65": {"seconds": [3.0, 2.0, 0.5, 0.5], "peak_bytes": 1}}, "firsts": 2}
    steps, first, spread = step_times.combine([(1.0, answer)], "widths")
    assert (steps.seconds, first.seconds, spread) == ((0.5,), (4.0,), 0.0)


def test_a_machine_that_slows_down_has_a_spread() -> None:
    """Steps of one while agree with each other; the halves do not."""
    steady, slower = step_times.mean([1.0, 1.01] * 20), step_times.mean([1.0] * 20 + [1.4] * 20)
    assert steady[1] < 0.01
    assert slower[1] == pytest.approx(0.2)
