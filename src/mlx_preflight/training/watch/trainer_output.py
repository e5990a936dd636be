"""Reader of what the trainer prints: its table on a terminal and in a pipe, colours stripped.

Two forms are known: the table of mlx-lm 0.32 (mlx_lm/cli_ui.py, class TrainUI), and the
sentences of earlier versions (mlx_lm/tuner/trainer.py 0.31). What is neither is counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mlx_preflight.core.text import strip_escapes
from mlx_preflight.core.units import GIGA

MAX_LINE_BYTES = 4_000
"""A longer line is none of the trainer's; its longest has under 300 bytes with its colours."""

_NUMBER = r"([-+]?(?:nan|inf|[\d,]+(?:\.\d+)?(?:e[-+]?\d+)?))"
_HEADER = re.compile(r"\s*iter\s+train_loss\s+tok/s\s+tokens\s*")
_TRAIN = re.compile(rf"\s*(\d+)\s+{_NUMBER} [▼▲]\s+{_NUMBER}\s+{_NUMBER}k\s*")
_VAL = re.compile(rf"\s*(\d+)\s+val\s+{_NUMBER}\s+{_NUMBER}s\s*")
_SAVE = re.compile(r"\s*save\s+(\S+)\s*")
_BAR = re.compile(r"\s*(train|val)\s*[█░▏▎▍▌▋▊▉]*\s+\d+%\s+·\s+([\d,]+)/[\d,]+\s*")
_OLD_TRAIN = re.compile(
    rf"Iter (\d+): Train loss {_NUMBER},.* Tokens/sec {_NUMBER}, Trained Tokens {_NUMBER}"
    rf"(?:, Peak mem {_NUMBER} GB)?\s*"
)
_OLD_VAL = re.compile(rf"Iter (\d+): Val loss {_NUMBER}, Val took {_NUMBER}s\s*")
_OLD_SAVE = re.compile(r"Iter (\d+): Saved adapter weights to .*")
_OTHER = re.compile(
    r"\s*|\[WARNING\].*|Starting training\.\.\..*|Testing|Test loss .*|Saved final .*"
    r"|Calculating loss\.\.\..*"
)
"""Lines of the trainer that say nothing which is compared."""
_TRACEBACK = "Traceback (most recent call last):"


@dataclass(frozen=True, slots=True)
class Start:
    """Head of the table: the trainer is about to make its first step."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress bar: steps that are done."""

    iteration: int


@dataclass(frozen=True, slots=True)
class TrainReport:
    """Row of the table about training.

    Attributes:
        iteration: Steps that are done.
        loss: Mean loss since the last row; may be NaN.
        peak_bytes: MLX's peak, which earlier versions print; None elsewhere.
    """

    iteration: int
    loss: float
    peak_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ValReport:
    """Row of the table about a validation, before the step of its iteration."""

    iteration: int
    loss: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class SaveReport:
    """Row of the table about a save."""


Event = Start | Progress | TrainReport | ValReport | SaveReport


def parse(line: str) -> Event | None:
    """Return what a line without colours says; None for any other line."""
    if found := _BAR.fullmatch(line):
        return Progress(int(found[2].replace(",", ""))) if found[1] == "train" else None
    if found := _TRAIN.fullmatch(line):
        return TrainReport(int(found[1]), _float(found[2]))
    if found := _VAL.fullmatch(line) or _OLD_VAL.fullmatch(line):
        return ValReport(int(found[1]), _float(found[2]), _float(found[3]))
    if found := _OLD_TRAIN.fullmatch(line):
        peak = round(_float(found[5]) * GIGA) if found[5] else None
        return TrainReport(int(found[1]), _float(found[2]), peak)
    if _SAVE.fullmatch(line) or _OLD_SAVE.fullmatch(line):
        return SaveReport()
    return Start() if _HEADER.fullmatch(line) else None


def is_known(line: str) -> bool:
    """Return whether a line that is no event is one that the trainer prints."""
    return bool(_BAR.fullmatch(line) or _OTHER.fullmatch(line))


def _float(text: str) -> float:
    return float(text.replace(",", ""))


class OutputReader:
    """Reader of the output as it comes, in pieces of any size.

    Attributes:
        unknown: Lines after the table's head that were not understood.
        first_unknown: Number of the first of them, from 1; 0 for none.
    """

    def __init__(self) -> None:
        """Begin with nothing read."""
        self.unknown = 0
        self.first_unknown = 0
        self._count = 0
        self._rest = b""
        self._in_table = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield what the lines say that are complete with these bytes."""
        # A progress bar ends its line with a carriage return, before the next one is drawn.
        *lines, self._rest = re.split(rb"[\r\n]", self._rest + data)
        if len(self._rest) > MAX_LINE_BYTES:
            self._rest = b"\0" + self._rest[-1:]  # (too long to be understood when it ends)
        for line in lines:
            self._count += 1
            if len(line) <= MAX_LINE_BYTES:
                yield from self._read(strip_escapes(line.decode("utf-8", errors="replace")))

    def _read(self, line: str) -> Iterator[Event]:
        event = parse(line)
        if event is not None:
            self._in_table = True
            yield event
        elif line.startswith(_TRACEBACK):
            self._in_table = False  # an exception ends the table, and reports itself
        elif self._in_table and not is_known(line):
            self.unknown += 1
            self.first_unknown = self.first_unknown or self._count
