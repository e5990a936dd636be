"""Earlier runs as the source of a run's hours: what they say, and each reason not to use one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_preflight.core import user_data
from mlx_preflight.memory.settings import Settings
from mlx_preflight.plan import register
from mlx_preflight.training import calibration_file, own_runs, run_curve, slice_runs, timing
from mlx_preflight.training.batches import Batches
from mlx_preflight.training.run_curve import Check, Steps, Window
from mlx_preflight.training.step_times import StepTimes
from mlx_preflight.training.watch.forecast import Forecast, runs_here
from tests.memory.models import qwen
from tests.training.conftest import Judge, Write
from tests.training.watch.test_comparison import compared

RUN = Settings(batch_size=1, max_seq_length=128, num_layers=2, bits=None, dtype="float32")

Change = Callable[[dict[str, Any]], None]


def batches(*widths: int) -> Batches:
    """Return batches of some widths."""
    return Batches(widths, 1, (), (), 1, 1, 1, (), (), 0, None)


def steps(slower: float = 1.0, paged: bool = False) -> Steps:
    """Return steps of 0.1 s and 1 ms per token, whose first of a width takes 0.5 s more."""
    drawn = np.random.default_rng(0).integers(33, 129, (20, 10))
    windows = [
        Window(
            10,
            int(widths.sum()),
            int((widths**2).sum()),
            3 if index == 0 else 0,
            slower * (1.0 + 1e-3 * float(widths.sum()) + (1.5 if index == 0 else 0.0)),
        )
        for index, widths in enumerate(drawn)
    ]
    checks = (Check(2, 200, 3.0), Check(2, 200, 0.1), Check(2, 100, 0.05))
    return Steps((33, 128), tuple(windows), checks, paged)


def record(found: Steps | None = None, **changes: Any) -> dict[str, Any]:
    """Return the record of a run on this machine."""
    kept = {"digest": own_runs.digest(qwen(), RUN), **(found or steps()).to_json()}
    packages = {name: version(name) for name in own_runs.PACKAGES}
    document = {
        "schema": own_runs.SCHEMA,
        "started": "2026-11-28T10:00:00+00:00",
        "environment": {**calibration_file.machine(), "packages": packages},
        "steps": kept,
        **changes,
    }
    return {**document, "sha256": own_runs.seal(document)}


@pytest.fixture(autouse=True)
def _own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(user_data.VARIABLE, str(tmp_path / "user"))


def found(*documents: Any, widths: tuple[int, ...] = (40, 97, 128)) -> tuple[Any, list[str]]:
    """Return what is found among records, which are documents or lines, and what is noted."""
    for one in documents:
        if isinstance(one, bytes):
            user_data.runs_file().parent.mkdir(exist_ok=True)
            with user_data.runs_file().open("ab") as stream:
                stream.write(one + b"\n")
        else:
            user_data.append_line(user_data.runs_file(), one)
    notes: list[str] = []
    return own_runs.find(qwen(), RUN, batches(*widths), notes.append), notes


def test_mixed_widths_are_told_apart() -> None:
    """From rows of progress of ten steps each; the compilation and validations apart."""
    times, notes = found(record())
    assert isinstance(times, StepTimes)
    assert times.train.at([33, 80, 128]) == pytest.approx([0.133, 0.18, 0.228], rel=1e-3)
    assert times.first.at(60) == pytest.approx(0.5, rel=1e-2)
    assert times.validation.at(100) == pytest.approx(0.05)
    assert times.error == pytest.approx(run_curve.ERROR_ALONE, abs=0.01)
    assert times.source.startswith("your run of 2026-11-28 (200 steps of the same model")
    assert notes == []


def test_one_of_several_that_met_another_program_counts_little() -> None:
    """The median of five, and the interval of several."""
    times, _ = found(*(record(steps(slower)) for slower in (9.0, 1.02, 1.0, 3.0, 0.98, 1.01)))
    assert float(times.train.at(80)) == pytest.approx(0.18 * 1.01, rel=0.01)
    assert times.error == pytest.approx(run_curve.ERROR + 2 * 0.01, abs=0.01)
    assert "of the median speed of 5" in times.source


def test_an_uneven_run_widens_its_interval() -> None:
    """Every other row of progress took three times as long."""
    even = steps()
    windows = [
        dataclasses.replace(window, seconds=window.seconds * (1 + 2 * (index % 2)))
        for index, window in enumerate(even.windows)
    ]
    times, _ = found(record(dataclasses.replace(even, windows=tuple(windows))))
    assert times.error > 2 * run_curve.ERROR_ALONE


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: d["environment"].update(processor="Apple M9"), "on another machine"),
        (lambda d: d["environment"].update(memory_bytes=1), "on another machine"),
        (lambda d: d["environment"]["packages"].update({"mlx-lm": "0.1"}), "other versions"),
        (lambda d: d["environment"]["packages"].pop("mlx"), "other versions"),
        (lambda d: d["steps"].update(paged=True), "was swapping"),
        (lambda d: d["steps"].update(windows=d["steps"]["windows"][:3]), "under 4 rows"),
    ],
)
def test_a_run_that_says_nothing_of_this_one_is_not_used(change: Change, why: str) -> None:
    """With the reason, and an earlier one is."""
    document = record()
    change(document)
    document["sha256"] = own_runs.seal(document)
    times, notes = found(record(steps(2.0)), document)
    assert times is not None
    assert float(times.train.at(80)) == pytest.approx(0.36, rel=0.01)
    (note,) = notes
    assert note.startswith("your run of 2026-11-28 is not used")
    assert why in note


@pytest.mark.parametrize(
    ("widths", "why"),
    [
        ((33, 129), "had 33 to 128 tokens, and these have 33 to 129"),
        ((32, 80), "these have 32 to 80"),
        ((34, 34), "on average, these 34"),
    ],
)
def test_widths_that_were_not_timed_are_not_guessed(widths: tuple[int, ...], why: str) -> None:
    """Neither beyond the ends nor at one end alone."""
    times, notes = found(record(), widths=widths)
    assert times is None
    assert why in notes[0]


@pytest.mark.parametrize(
    "changes", [{"rank": 4}, {"batch_size": 2}, {"grad_checkpoint": True}, {"ranks": 2}]
)
def test_another_run_is_none_of_ours(changes: dict[str, Any]) -> None:
    """Other settings and another model are passed over in silence, another width is not one."""
    assert own_runs.digest(qwen(), RUN) != own_runs.digest(
        qwen(), dataclasses.replace(RUN, **changes)
    )
    assert own_runs.digest(qwen(), RUN) != own_runs.digest(qwen(num_hidden_layers=2), RUN)
    wider = dataclasses.replace(RUN, max_seq_length=999)
    assert own_runs.digest(qwen(), RUN) == own_runs.digest(qwen(), wider)
    other = record()
    other["steps"]["digest"] = own_runs.digest(qwen(), dataclasses.replace(RUN, **changes))
    assert found(other) == (None, [])


def _sealed(change: Change) -> bytes:
    document = record()
    change(document)
    return json.dumps({**document, "sha256": own_runs.seal(document)}).encode()


def _window(at: int, value: Any) -> Change:
    return lambda document: document["steps"]["windows"][2].__setitem__(at, value)


DAMAGED: dict[str, bytes] = {
    "torn": b'{"schema": 2, "ste',
    "no UTF-8": b"\xff\xfe",
    "a list": b"[1]",
    "NaN": _sealed(_window(4, float("nan"))),
    "infinite": _sealed(_window(4, float("inf"))),
    "negative": _sealed(_window(4, -1.0)),
    "no time at all": _sealed(_window(4, 0)),
    "no step": _sealed(_window(0, 0)),
    "more tokens than widths": _sealed(_window(1, 10**6)),
    "squares below the mean": _sealed(_window(2, 1)),
    "text": _sealed(_window(4, "1.0")),
    "a truth value": _sealed(_window(4, True)),
    "a huge number": _sealed(_window(4, 10**299)),
    "a short row": _sealed(lambda d: d["steps"]["windows"].append([1])),
    "no rows": _sealed(lambda d: d["steps"].update(windows=[])),
    "too many rows": _sealed(lambda d: d["steps"].update(windows=d["steps"]["windows"] * 11)),
    "widths upside down": _sealed(lambda d: d["steps"].update(widths=[128, 33])),
    "a later schema": _sealed(lambda d: d.update(schema=3)),
    "no time of its start": _sealed(lambda d: d.update(started="\x1b[31mnow")),
    "no machine": _sealed(lambda d: d.update(environment=None)),
    "no packages": _sealed(lambda d: d["environment"].update(packages=3)),
    "steps of another type": _sealed(lambda d: d.update(steps=[1])),
    "edited": json.dumps(record() | {"started": "2020-01-01T00:00:00+00:00"}).encode(),
    "a long line": b'{"a": "' + b"x" * own_runs.MOST_LINE_BYTES + b'"}',
    "many values": b"[" + b"0," * 30_000 + b"0]",
    "nested": b"[" * 100_000,
}


@pytest.mark.parametrize("name", list(DAMAGED))
def test_a_damaged_line_is_left_out_and_said(name: str) -> None:
    """By its number, and what it holds is not printed; the run before it counts."""
    times, notes = found(record(), DAMAGED[name])
    assert times is not None
    (note,) = notes
    assert note.startswith("runs.jsonl: line 1 from the end is not used: ")
    assert note.isprintable()


def test_many_damaged_lines_are_said_in_few() -> None:
    """And lines of an earlier version in none."""
    times, notes = found(*[b"{"] * 50, {"schema": 1}, {"schema": 2, "steps": None})
    assert times is None
    assert len(notes) == own_runs.MOST_NOTES + 1
    assert notes[-1] == "47 more earlier runs or lines are not used"


def test_only_the_end_of_a_large_file_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first, cut line is no damage."""
    monkeypatch.setattr(own_runs, "MOST_READ_BYTES", 3_000)
    times, notes = found(*[record(steps(9.0))] * 5, record())
    assert times is not None
    assert float(times.train.at(80)) == pytest.approx(0.18, rel=0.01)
    assert notes == []


def test_rows_that_come_at_one_time_are_joined() -> None:
    """A row of no seconds is none, the first stays alone, and a long run keeps few."""
    row = Window(1, 2, 4, 0, 0.03)
    kept = run_curve.joined([row, row, row, dataclasses.replace(row, seconds=0.0), row, row])
    assert [window.steps for window in kept] == [1, 2, 3]
    many = run_curve.joined([dataclasses.replace(row, seconds=1.0)] * 1_000)
    assert len(many) <= run_curve.MOST_WINDOWS
    assert sum(window.steps for window in many) == 1_000


def test_a_watched_run_records_its_steps_by_width() -> None:
    """Sums of the widths of every row of progress, and none where the run was not judged."""
    from mlx_preflight.training.watch import record as recording

    widths = (32,) * 15 + (64,) * 15
    known = Forecast(iters=30, widths=widths, digest="d", validations=((2, 64),))
    kept = recording.steps(compared(known, (15, 10, 10)))
    assert kept is not None
    assert kept["windows"] == [
        [10, 320, 10240, 1, 15],
        [10, 480, 25600, 1, 10],
        [10, 640, 40960, 0, 10],
    ]
    assert run_curve.read_steps(kept).to_json() == {k: kept[k] for k in kept if k != "digest"}
    assert recording.steps(compared(dataclasses.replace(known, digest=""), (15,))) is None
    assert recording.steps(compared(dataclasses.replace(known, widths=(32,)), (15,))) is None


@pytest.mark.parametrize(
    ("before", "here"),
    [("", True), ("nice -n 5 ", True), ("uv run ", False), ("nice uv run ", False)],
)
def test_only_the_trainer_of_this_installation_is_recorded(
    before: str, here: bool, tmp_path: Path
) -> None:
    """Another one has other versions, which nobody here knows."""
    assert runs_here(f"{before}mlx_lm.lora --train".split()) is here
    other = tmp_path / "mlx_lm.lora"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    assert not runs_here([*before.split(), str(other), "--train"])


def test_own_runs_come_before_a_rehearsal(
    write_run: Write, judge_run: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless they were so uneven that the rehearsal knows more."""
    one, _ = found(record())
    monkeypatch.setattr(timing, "of_own_run", lambda *_: one)
    monkeypatch.setattr(slice_runs, "find", lambda *_: object())
    for error, source in ((0.5, "your run of"), (0.1, "slices")):
        slices = dataclasses.replace(one, error=error, source="slices")
        monkeypatch.setattr(timing, "of_rehearsal", lambda *_, slices=slices, **__: slices)
        said = judge_run(write_run(), "run7-duration")[register.RUN7_1].reason
        assert f"from {source}" in said
