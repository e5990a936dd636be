"""Fingerprints: a finding is the same after lines move, code is reformatted or a file renamed.

A finding is known by file, code, message and enclosing definition, with counts. What is
left over on both sides is paired by code, message and squeezed source line, so that code
that moved is not new. A count alone would let a new finding hide behind a fixed one.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from mlx_preflight.core.diagnostic import LINE_NUMBER, Diagnostic


@dataclass(frozen=True, slots=True, order=True)
class Fingerprint:
    """Fingerprint of a finding.

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
    """Difference between a baseline and present findings.

    Attributes:
        new: Positions of the findings that the baseline does not hold.
        fixed: Recorded findings that are gone.
    """

    new: tuple[int, ...]
    fixed: tuple[Fingerprint, ...]


_KEYS: tuple[Callable[[Fingerprint], Hashable], ...] = (
    attrgetter("path", "code", "message", "where", "text"),
    attrgetter("path", "code", "message", "where"),
    attrgetter("code", "message", "text"),
)
"""What two findings share that are the same one, from the surest sign to the weakest."""


def compute(project: Path, found: Iterable[Diagnostic]) -> list[Fingerprint]:
    """Return the fingerprint of every finding, in the same order; unreadable files have no text."""
    sources: dict[str, _Source] = {}
    made = []
    for item in found:
        if item.path not in sources:
            sources[item.path] = _Source(project / item.path)
        where, text = sources[item.path].at(item.line)
        made.append(
            Fingerprint(item.path, item.code, LINE_NUMBER.sub("line N", item.message), where, text)
        )
    return made


def compare(recorded: Counter[Fingerprint], found: Sequence[Fingerprint]) -> Comparison:
    """Pair recorded findings with present ones, each at most once."""
    gone = list(recorded.elements())
    left = list(range(len(found)))
    for same in _KEYS:
        gone, left = _pair(gone, left, found, same)
    return Comparison(tuple(left), tuple(sorted(gone)))


def _pair(
    gone: list[Fingerprint],
    left: list[int],
    found: Sequence[Fingerprint],
    same: Callable[[Fingerprint], Hashable],
) -> tuple[list[Fingerprint], list[int]]:
    """Return what stays unpaired of both sides when fingerprints are compared by one key."""
    waiting: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index in reversed(left):
        waiting[same(found[index])].append(index)
    unpaired = []
    for fingerprint in gone:
        if waiting[same(fingerprint)]:
            waiting[same(fingerprint)].pop()
        else:
            unpaired.append(fingerprint)
    return unpaired, sorted(index for indices in waiting.values() for index in indices)


class _Source:
    """Lines and definitions of a file."""

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
