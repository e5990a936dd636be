"""Session run5-memory: peaks of the widest batches of real runs of the embedded model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from mlx_preflight.core.result import Evidence, Status
from mlx_preflight.plan import register
from mlx_preflight.training import peaks
from mlx_preflight.training.training_run import read_run
from tests.training import rows_of
from tests.training.conftest import Judge, Write, failed

RUN5 = register.RUN5_MEMORY

LONG = rows_of.chat("one long row", "word " * 100)


def figures(check: Any) -> dict[str, Any]:
    """Return the measurements of a result by name."""
    return {item.name: item.value for item in check.measurements}


@pytest.mark.slow
def test_a_run_that_fits_passes(write_run: Write, judge_run: Judge) -> None:
    """The peak with interval, width and iteration, and what of the budget is left."""
    found = judge_run(write_run(), RUN5)
    assert failed(found) == set()
    trained = figures(found[register.RUN5_1])
    assert trained["training_width"] == 65
    narrower = "no batch is wider than the training's: at most 65 tokens"
    assert found[register.RUN5_2].reason == narrower
    low, peak, high = (
        trained[f"training_peak_{name}"] for name in ("low_bytes", "bytes", "high_bytes")
    )
    assert 4_000_000 < low < peak < high < 100_000_000
    assert found[register.RUN5_1].evidence is Evidence.SIMULATED
    left = figures(found[register.RUN5_3])
    assert left["needed_bytes"] == high
    assert left["headroom_bytes"] == left["budget_bytes"] - high > 0


@pytest.mark.slow
def test_a_run_beyond_the_budget_fails(write_run: Write, judge_run: Judge) -> None:
    """What was asked is the least of the limits, and is named with what is missing."""
    context = write_run()
    assert context.training is not None
    asked = dataclasses.replace(context.training, budget_bytes=5_000_000)
    found = judge_run(dataclasses.replace(context, training=asked), RUN5)
    assert failed(found) == {register.RUN5_3}
    assert "over" in found[register.RUN5_3].reason
    assert "what was asked" in found[register.RUN5_3].reason
    assert found[register.RUN5_3].remedy


@pytest.mark.slow
def test_the_widest_batch_is_named_however_late_it_comes(
    write_run: Write, judge_run: Judge, tmp_path: Path
) -> None:
    """Twelve rows, one of them long: its iteration is the one of the trainer's permutation."""
    rows = rows_of.chats(12)
    peaks = {}
    for place in (0, 11):
        changed = [*rows]
        changed[place] = LONG
        rows_of.folder(tmp_path / "data", {"train": changed, "valid": rows_of.chats(4, seed=1)})
        found = judge_run(write_run(batch_size=1, iters=12, max_seq_length=512), RUN5)
        peaks[place] = figures(found[register.RUN5_1])
        assert f"at iteration {peaks[place]['training_iteration']:,}" in (
            found[register.RUN5_1].reason
        )
    assert peaks[0]["training_width"] == peaks[11]["training_width"] > 97
    assert peaks[0]["training_iteration"] != peaks[11]["training_iteration"]
    assert peaks[0]["training_peak_bytes"] == peaks[11]["training_peak_bytes"]


@pytest.mark.slow
def test_a_wider_validation_decides(write_run: Write, judge_run: Judge, tmp_path: Path) -> None:
    """One long row of valid.jsonl is judged, though no training batch is as wide."""
    valid = [*rows_of.chats(3, seed=1), rows_of.chat("one long row", "word " * 400)]
    rows_of.folder(tmp_path / "data", {"train": rows_of.chats(4, most=4), "valid": valid})
    settings = {"batch_size": 1, "num_layers": 1, "max_seq_length": 512, "val_batches": -1}
    found = judge_run(write_run(**settings), RUN5)
    assert failed(found) == set()
    validated = figures(found[register.RUN5_2])
    assert validated["validation_width"] > figures(found[register.RUN5_1])["training_width"]
    needed = figures(found[register.RUN5_3])["needed_bytes"]
    assert needed == validated["validation_peak_high_bytes"]


@pytest.mark.slow
def test_gradients_that_wait_are_there_while_a_validation_runs(
    write_run: Write, judge_run: Judge, tmp_path: Path
) -> None:
    """Accumulated over two iterations, they live at iteration 2 and not at iteration 1."""
    rows_of.folder(tmp_path / "data", {"train": rows_of.chats(4, most=4), "valid": [LONG] * 2})

    def peak(steps: int, iters: int) -> int:
        # Not in the config: a run is read once.
        more = ("--grad-accumulation-steps", str(steps), "--iters", str(iters))
        found = judge_run(write_run(*more, num_layers=-1, steps_per_eval=9), RUN5)
        return int(figures(found[register.RUN5_2])["validation_peak_bytes"])

    assert peak(2, 2) > peak(1, 2)
    assert peak(2, 1) == peak(1, 1)


@pytest.mark.slow
def test_without_validation_rows_nothing_is_validated(
    write_run: Write, judge_run: Judge, tmp_path: Path
) -> None:
    """The trainer only warns, so the check passes and says so."""
    context = write_run()
    (tmp_path / "data" / "valid.jsonl").unlink()
    found = judge_run(context, RUN5)
    assert failed(found) == set()
    assert found[register.RUN5_2].reason == "nothing is validated"


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["{", '{"messages": 3}', ""])
def test_broken_rows_block(write_run: Write, judge_run: Judge, tmp_path: Path, broken: str) -> None:
    """Without batches there is no peak, and no pass."""
    context = write_run()
    (tmp_path / "data" / "train.jsonl").write_text(broken + "\n", encoding="utf-8")
    found = judge_run(context, RUN5)
    assert {found[name].status for name in (register.RUN5_1, register.RUN5_3)} == {Status.BLOCKED}
    assert "run4-data" in found[register.RUN5_1].remedy


def test_an_absent_data_folder_is_no_pass(write_run: Write, judge_run: Judge) -> None:
    """Nothing is predicted of rows that nobody has."""
    found = judge_run(write_run(data="nowhere"), RUN5)
    assert not any(check.status is Status.PASS for check in found.values())
    assert "nowhere" in found[register.RUN5_3].reason


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"fine_tune_type": "full"},
        {"fine_tune_type": "dora", "num_layers": 0},
        {"lora_parameters": {"rank": 4, "scale": 1.0, "dropout": 0.1}},
        {"grad_checkpoint": True, "optimizer": "adafactor"},
        {"mask_prompt": True, "grad_accumulation_steps": 2},
    ],
)
def test_every_kind_of_run_is_predicted(
    write_run: Write, judge_run: Judge, changes: dict[str, Any]
) -> None:
    """What the trainer can train has a peak."""
    assert failed(judge_run(write_run(**changes), RUN5)) == set()


def test_settings_are_those_of_one_process(write_run: Write) -> None:
    """Two processes share a batch; 0 blocks are all; keys and dropout are handed on."""
    parameters = {"rank": 4, "scale": 1.0, "dropout": 0.1, "keys": ["self_attn.q_proj"]}
    run = read_run(write_run(num_layers=0, batch_size=4, lora_parameters=parameters))
    found = peaks.settings_of(dataclasses.replace(run, world=2), 33)
    assert (found.batch_size, found.max_seq_length, found.num_layers) == (2, 33, -1)
    assert (found.rank, found.dropout, found.keys) == (4, 0.1, ("self_attn.q_proj",))
    assert (found.bits, found.dtype) == (None, "float32")


@pytest.mark.slow
def test_quantized_blocks_trained_whole_are_no_go(
    write_run: Write, judge_run: Judge, tmp_path: Path
) -> None:
    """The first step of the real trainer has no gradient of them: no peak, and no pass."""
    folder = tmp_path / "model"
    folder.mkdir()
    config = json.loads((rows_of.MODEL / "config.json").read_text(encoding="utf-8"))
    config["quantization"] = {"bits": 4, "group_size": 64}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((rows_of.MODEL / name).read_bytes())
    context = write_run(model="model", fine_tune_type="full")
    config_checks = judge_run(context, register.RUN1_CONFIG)
    assert config_checks[register.RUN1_6].status is Status.FAIL
    assert "no gradient" in config_checks[register.RUN1_6].reason
    found = judge_run(context, RUN5)
    assert found[register.RUN5_3].status is Status.BLOCKED
    assert register.RUN1_6 in found[register.RUN5_3].reason
