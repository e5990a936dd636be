"""The trainer's table, printed by the installed mlx-lm itself."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
from mlx_lm import cli_ui
from rich.console import Console

from mlx_preflight.training.watch import trainer_output
from mlx_preflight.training.watch.trainer_output import (
    OutputReader,
    Progress,
    SaveReport,
    Start,
    TrainReport,
    ValReport,
)

OLD = """Starting training..., iters: 100
Iter 1: Val loss 2.847, Val took 5.523s
Iter 10: Train loss 2.131, Learning Rate 1.000e-05, It/sec 0.430, Tokens/sec 112.250, \
Trained Tokens 2611, Peak mem 5.123 GB
Iter 100: Saved adapter weights to adapters/adapters.safetensors and \
adapters/0000100_adapters.safetensors.
"""
"""Output of mlx-lm 0.31 and before."""


def table(*, terminal: bool, loss: float = 2.5) -> bytes:
    """Return what the installed trainer prints of ten steps, a validation and a save."""
    stream = io.StringIO()
    ui = cli_ui.TrainUI(10)
    console = Console(
        file=stream, force_terminal=terminal, color_system="truecolor", width=100, highlight=False
    )
    ui._console = console
    ui._progress = cli_ui.make_train_progress(console)
    ui._task = ui._progress.add_task("train", total=10)
    with ui:
        with ui.val_task(1) as advance:
            advance()
        ui.report_val(1, 3.25, 0.5)
        for _ in range(10):
            ui.advance()
        ui.report_train(10, loss, 1234.4, 12_345)
        ui.report_save(Path("0000010_adapters.safetensors"))
    return stream.getvalue().encode()


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_table_is_read_on_a_terminal_and_in_a_pipe(terminal: bool, size: int) -> None:
    """Colours, bars and pieces of any size change nothing."""
    data, reader = table(terminal=terminal), OutputReader()
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    found = [event for piece in pieces for event in reader.feed(piece)]
    rows = [event for event in found if not isinstance(event, Progress)]
    assert rows == [Start(), ValReport(1, 3.25, 0.5), TrainReport(10, 2.5), SaveReport()]
    assert reader.unknown == 0
    assert terminal is (Progress(10) in found) or found[-1] == Progress(10)


def test_nan_is_read() -> None:
    """A loss that is no number is one that is said."""
    found = list(OutputReader().feed(table(terminal=False, loss=math.nan)))
    assert [math.isnan(event.loss) for event in found if isinstance(event, TrainReport)] == [True]


def test_earlier_versions_print_sentences() -> None:
    """They print MLX's own peak, too."""
    reader = OutputReader()
    assert list(reader.feed(OLD.encode())) == [
        ValReport(1, 2.847, 5.523),
        TrainReport(10, 2.131, 5_123_000_000),
        SaveReport(),
    ]
    assert reader.unknown == 0


def test_a_strange_row_is_counted_and_never_guessed() -> None:
    """Before the table anything may be printed; inside it a row of another form is named."""
    reader = OutputReader()
    before = b"Loading datasets\n 10 3.1 4\n"
    after = b"  iter   train_loss     tok/s     tokens\n  10    2.5 -> 3  12\n"
    assert list(reader.feed(before + after)) == [Start()]
    assert (reader.unknown, reader.first_unknown) == (1, 4)
    assert list(reader.feed(b"Traceback (most recent call last):\n  File x\nValueError\n")) == []
    assert reader.unknown == 1


def test_endless_lines_cost_no_memory() -> None:
    """A line without an end is given up, and the next one is read."""
    reader = OutputReader()
    for _ in range(50):
        assert list(reader.feed(b"x" * 1000)) == []
    assert len(reader._rest) <= trainer_output.MAX_LINE_BYTES
    assert list(reader.feed(b"\nIter 1: Val loss 2.0, Val took 1.0s\n")) == [ValReport(1, 2.0, 1.0)]
