"""Exact filters of runs: by id, model, machine, status, check, version, time and measured ranges.

Exact filters never go through the full-text index, so they never miss and never guess.
"""

from __future__ import annotations

import datetime as dt
import difflib
import operator
import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from mlx_preflight.core.errors import UsageError
from mlx_preflight.core.result import Status

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
}
_SHOWN = 5
_RANGE = re.compile(r"\s*([A-Za-z0-9_./-]{1,120})\s*(<=|>=|==|<|>)\s*([-+0-9.eE_]{1,40})\s*")


@dataclass(frozen=True, slots=True)
class Range:
    """One condition on a measurement, such as `training_peak_bytes < 16e9`.

    A run that holds no such measurement does not match: what was not measured is not small.
    """

    name: str
    sign: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Range:
        """Read a condition.

        Raises:
            UsageError: It is none.
        """
        found = _RANGE.fullmatch(text)
        try:
            if found:
                return cls(found[1], found[2], float(found[3]))
        except ValueError:
            pass
        raise UsageError(
            f"{text[:80]!r} is no range", hint="write it as `training_peak_bytes < 16e9`"
        )

    def holds(self, head: Head) -> bool:
        """Return whether every measurement of that name satisfies it, and one is there."""
        seen = list(head.measured(self.name).values())
        return bool(seen) and all(_OPERATORS[self.sign](value, self.bound) for value in seen)


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions that must all hold; an empty filter admits every run.

    Attributes:
        run_id: Exactly this run.
        model: Exactly this model, as it was named.
        machine: Text within the machine's description, in any case.
        status: Status of the run.
        verdict: `ready_for_integrator` or `needs_adapt`.
        check: A check that the run holds; with `check_status` it must have ended so.
        version: Version of mlx-preflight.
        since: Earliest start, ISO 8601, UTC.
        until: Latest start.
        ranges: Conditions on measurements.
    """

    run_id: str = ""
    model: str = ""
    machine: str = ""
    status: str = ""
    verdict: str = ""
    check: str = ""
    check_status: str = ""
    version: str = ""
    since: str = ""
    until: str = ""
    ranges: tuple[Range, ...] = field(default=())

    def __post_init__(self) -> None:
        """Refuse values that can match nothing.

        Raises:
            UsageError: A status or a time is none, or `check_status` stands without `check`.
        """
        for name, value in (("status", self.status), ("check_status", self.check_status)):
            if value and value not in list(Status):
                raise UsageError(f"{name} = {value[:40]!r}: expected {', '.join(Status)}")
        if self.check_status and not self.check:
            raise UsageError("check_status needs check")
        for name, value in (("since", self.since), ("until", self.until)):
            if value:
                parse_time(value, name)

    def admits(self, head: Head) -> bool:
        """Return whether a run satisfies every condition."""
        return (
            all(
                not wanted or wanted == seen
                for wanted, seen in (
                    (self.run_id, head.run_id),
                    (self.model, head.model),
                    (self.status, head.status),
                    (self.verdict, head.verdict),
                    (self.version, head.version),
                )
            )
            and self.machine.lower() in head.machine.lower()
            and self._timely(head)
            and self._checked(head)
            and all(item.holds(head) for item in self.ranges)
        )

    def _timely(self, head: Head) -> bool:
        if not (self.since or self.until):
            return True
        try:
            started = parse_time(head.started, "started")
        except UsageError:
            return False
        early = bool(self.since) and started < parse_time(self.since, "since")
        late = bool(self.until) and started > parse_time(self.until, "until")
        return not early and not late

    def _checked(self, head: Head) -> bool:
        if not self.check:
            return True
        seen = head.status_of(self.check)
        return seen is not None and self.check_status in ("", seen)


class Names:
    """Names that many runs share, and the place of each."""

    __slots__ = ("_found", "all", "at")

    def __init__(self, names: tuple[str, ...]) -> None:
        """Index the names."""
        self.all = names
        self.at = {name: place for place, name in enumerate(names)}
        self._found: dict[str, tuple[int, ...]] = {}

    def places(self, name: str) -> tuple[int, ...]:
        """Return where a measurement stands, by `CHECK/name` or by its name alone."""
        if name not in self._found:
            self._found[name] = tuple(
                place for place, key in enumerate(self.all) if name in (key, key.partition("/")[2])
            )
        return self._found[name]


@dataclass(frozen=True, slots=True)
class Head:
    """Fields of a run that filters compare, packed: runs of one plan share their names.

    Attributes:
        version: Version of mlx-preflight.
        checks: Ids of its checks, in the order of `statuses`.
        names: `CHECK/name` of its numbers, in the order of `numbers`.
    """

    run_id: str
    started: str
    model: str
    machine: str
    status: str
    verdict: str
    version: str
    checks: Names
    statuses: tuple[str, ...]
    names: Names
    numbers: array[float]

    def status_of(self, check: str) -> str | None:
        """Return how a check ended, or None when the run holds no such check."""
        place = self.checks.at.get(check)
        return None if place is None else self.statuses[place]

    def measured(self, name: str) -> dict[str, float]:
        """Return `CHECK/name` → number of every measurement of that name."""
        return {self.names.all[place]: self.numbers[place] for place in self.names.places(name)}


def refuse_unknown(wanted: Filter, heads: Sequence[Head]) -> None:
    """Refuse a name that no run has, so that a typing error is not an empty answer.

    Raises:
        UsageError: With the names that are near, or all if they are few.
    """
    asked: tuple[tuple[str, str, Callable[[Head], Iterable[str]]], ...] = (
        ("is", wanted.run_id, lambda head: (head.run_id,)),
        ("is of model", wanted.model, lambda head: (head.model,)),
        ("has the verdict", wanted.verdict, lambda head: (head.verdict,)),
        ("is of version", wanted.version, lambda head: (head.version,)),
        ("holds the check", wanted.check, lambda head: head.checks.all),
    )
    for what, name, names_of in asked:
        if name:
            _refuse(what, name, {known for head in heads for known in names_of(head)})
    machines = {head.machine for head in heads}
    if not any(wanted.machine.lower() in machine.lower() for machine in machines):
        _refuse("is of a machine with", wanted.machine, machines)
    for item in wanted.ranges:
        if not any(head.measured(item.name) for head in heads):
            _refuse("holds", item.name, {name for head in heads for name in head.names.all})


def _refuse(what: str, name: str, known: set[str]) -> None:
    if name not in known:
        raise UsageError(f"no recorded run {what} {name[:80]!r}", hint=suggest_names(name, known))


def suggest_names(name: str, known: Iterable[str]) -> str:
    """Return a hint that names what is like a name: what holds it, else what is spelt alike."""
    every = sorted(known)
    word = name.rpartition("/")[2]
    found = [item for item in every if word in item] or difflib.get_close_matches(name, every)
    if not found and len(every) <= _SHOWN:
        return f"known: {', '.join(every)}"
    return f"near: {', '.join(found[:_SHOWN])}" if found else f"{len(every)} others are known"


@lru_cache(maxsize=4096)
def parse_time(text: str, name: str) -> dt.datetime:
    """Return a time, UTC where no zone is named.

    Raises:
        UsageError: It is none.
    """
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{name} = {text[:40]!r}: expected a time such as 2026-11-23 or 2026-11-23T12:00:00Z"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def ranges(texts: Iterable[str]) -> tuple[Range, ...]:
    """Read several conditions.

    Raises:
        UsageError: One is none.
    """
    return tuple(Range.parse(text) for text in texts)
