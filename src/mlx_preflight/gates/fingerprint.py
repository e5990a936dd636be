"""Recognise a finding again after lines moved, code was reformatted or a file was renamed.

A finding is known by file, code, message and enclosing definition, with counts. What is
left over on both sides is paired by code, message and squeezed source line, so that code
that moved is not new. A count alone would let a new finding hide behind a fixed one.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.diagnostic import Diagnostic

LINE_NUMBER = re.compile(r"\bline \d+\b")
"""Messages such as ruff's F811 and mypy's no-redef name a line, which moves."""


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """Hold what identifies a finding.

    Attributes:
        path: File, relative to the project.
        code: The tool's rule.
        message: Its message, without line numbers.
        where: Dotted name of the enclosing definitions; empty at module level.
        text: Source line with runs of blanks squeezed.
    """

    path: str
    code: str
    message: str
    where: str
    text: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Hold what changed against a baseline.

    Attributes:
        new: Positions of the findings that the baseline does not hold.
        fixed: Recorded findings that are gone.
    """

    new: tuple[int, ...]
    fixed: tuple[Mark, ...]


def marks(project: Path, found: Iterable[Diagnostic]) -> list[Mark]:
    """Return the mark of every finding, in the same order; unreadable files have no text."""
    sources: dict[str, _Source] = {}
    made = []
    for item in found:
        if item.path not in sources:
            sources[item.path] = _Source(project / item.path)
        where, text = sources[item.path].at(item.line)
        made.append(
            Mark(item.path, item.code, LINE_NUMBER.sub("line N", item.message), where, text)
        )
    return made


def compare(recorded: Counter[Mark], found: Sequence[Mark]) -> Comparison:
    """Pair recorded findings with present ones, each at most once."""
    gone = list(recorded.elements())
    left = list(range(len(found)))
    for same in (_whole, _place, _line):
        gone, left = _pair(gone, left, found, same)
    return Comparison(tuple(left), tuple(sorted(gone)))


def _whole(mark: Mark) -> Hashable:
    return mark


def _place(mark: Mark) -> Hashable:
    return mark.path, mark.code, mark.message, mark.where


def _line(mark: Mark) -> Hashable:
    return mark.code, mark.message, mark.text


def _pair(
    gone: list[Mark], left: list[int], found: Sequence[Mark], same: Callable[[Mark], Hashable]
) -> tuple[list[Mark], list[int]]:
    """Return what stays unpaired of both sides when marks are compared by one key."""
    waiting: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index in reversed(left):
        waiting[same(found[index])].append(index)
    unpaired = []
    for mark in gone:
        if waiting[same(mark)]:
            waiting[same(mark)].pop()
        else:
            unpaired.append(mark)
    return unpaired, sorted(index for indices in waiting.values() for index in indices)


class _Source:
    """Hold a file's lines and definitions."""

    def __init__(self, path: Path) -> None:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            text = ""
        self._lines = text.splitlines()
        try:
            self._scopes = list(_scopes(ast.parse(text), ""))
        except (SyntaxError, ValueError, RecursionError):
            self._scopes = []

    def at(self, line: int) -> tuple[str, str]:
        """Return the enclosing definition and the squeezed text of a line, from 1."""
        inside = [name for first, last, name in self._scopes if first <= line <= last]
        text = self._lines[line - 1] if 1 <= line <= len(self._lines) else ""
        # Scopes come outermost first, so the last one is the innermost.
        return (inside[-1] if inside else ""), " ".join(text.split())


def _scopes(node: ast.AST, prefix: str) -> Iterable[tuple[int, int, str]]:
    """Yield first line, last line and dotted name of every definition, outer before inner."""
    for child in ast.iter_child_nodes(node):
        name = prefix
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}.{child.name}" if prefix else child.name
            first = min([child.lineno, *(item.lineno for item in child.decorator_list)])
            yield first, child.end_lineno or child.lineno, name
        yield from _scopes(child, name)
