"""Settings that are declared once, and the strict reader of their TOML tables.

A setting is one field of a dataclass: its type, default, rule and meaning stand there, and
the reader, its messages and `docs/configuration.md` all follow from it. An unknown key is
always an error: a misspelt limit that is ignored would judge by the default. The noxfile
imports this before anything is installed, so it needs the standard library only.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import difflib
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from mlx_preflight.core.errors import UsageError

_RULE, _MEANING, _EXAMPLE = "rule", "meaning", "example"


@dataclass(frozen=True, slots=True)
class Rule:
    """Condition that a setting's value must meet.

    Attributes:
        words: What is expected, to follow "expected" in a message.
        holds: Whether a value of the right type meets it.
        names: The accepted names, where there are only some.
    """

    words: str
    holds: Callable[[Any], bool]
    names: tuple[str, ...] = ()


def at_least(least: float) -> Rule:
    """Return the rule of a finite number with a lower limit; it refuses TOML's nan and inf."""
    return Rule(f"at least {least}", lambda value: least <= value < math.inf)


def between(least: float, most: float, unit: str) -> Rule:
    """Return the rule of a number with two limits, both included."""
    return Rule(f"{least} to {most} {unit}", lambda value: least <= value <= most)


def one_of(names: Collection[str]) -> Rule:
    """Return the rule of a value that is one of some names."""
    return Rule(f"one of {', '.join(names)}", lambda value: value in names, tuple(names))


def _is_inside(value: str) -> bool:
    path = PurePath(value)
    outside = path.is_absolute() or ".." in path.parts
    return bool(value.strip()) and "\0" not in value and not outside


ABOVE_0 = Rule("a number above 0", lambda value: 0 < value < math.inf)
PERCENT = between(0, 100, "percent")
FOLDER = Rule("a folder inside the project", _is_inside)
NOT_EMPTY = Rule("a text that is not empty", lambda value: bool(str(value).strip()))


def setting(default: Any, meaning: str, rule: Rule | None = None, *, example: str = "") -> Any:
    """Return the field of one setting, for the body of a dataclass.

    Args:
        default: Value without the key; a callable that makes it, or `...` where the key must
            be given.
        meaning: What the setting does, in Markdown.
        rule: What its value must meet beside its type.
        example: Value to show, in TOML, where the default says little.
    """
    metadata = {_MEANING: meaning, _RULE: rule, _EXAMPLE: example}
    if default is ...:
        return dataclasses.field(metadata=metadata)
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as its dataclass declares it.

    Attributes:
        key: Name in TOML (`lint_max` is written `lint-max`).
        name: Name of the field.
        kind: Type of its value; without the None of one that may be left out.
        default: Value without the key; `dataclasses.MISSING` where it must be given.
        meaning: What it does.
        rule: What its value must meet beside its type.
        example: Value to show, in TOML.
    """

    key: str
    name: str
    kind: Any
    default: Any
    meaning: str
    rule: Rule | None
    example: str


def settings(table: type) -> Iterator[Setting]:
    """Yield the settings that a dataclass declares."""
    kinds = get_type_hints(table)
    for item in dataclasses.fields(table):
        parts = [part for part in get_args(kinds[item.name]) if part is not type(None)]
        kind = kinds[item.name] if get_origin(kinds[item.name]) in (dict, tuple) else None
        made = item.default_factory
        yield Setting(
            key=item.name.replace("_", "-"),
            name=item.name,
            kind=kind or (parts[0] if parts else kinds[item.name]),
            default=item.default if made is dataclasses.MISSING else made(),
            meaning=item.metadata[_MEANING],
            rule=item.metadata[_RULE],
            example=item.metadata[_EXAMPLE],
        )


class Table:
    """Base of a dataclass whose fields are settings."""

    __slots__ = ()

    def validate(self, where: str) -> None:
        """Refuse settings that contradict each other.

        Args:
            where: Name of the table, for messages.

        Raises:
            UsageError: They do.
        """


T = TypeVar("T", bound=Table)


def read(table: type[T], name: str, found: object) -> T:
    """Read a TOML table.

    Args:
        table: Dataclass that declares its settings.
        name: Name of the table for messages, such as `tool.mlx-preflight`.
        found: What the TOML reader found there.

    Raises:
        UsageError: It is no table, a key is unknown or missing, or a value has the wrong type
            or breaks its rule.
    """
    where = f"[{name}]"
    if not isinstance(found, dict):
        raise UsageError(f"{where}: expected a table")
    known = {item.key: item for item in settings(table)}
    values: dict[str, Any] = {}
    for key, value in found.items():
        if key not in known:
            raise UsageError(f"{where}: unknown key {key!r}{suggest(key, known)}")
        values[known[key].name] = _value(known[key], name, value)
    needed = [item for item in known.values() if item.default is dataclasses.MISSING]
    for item in needed:
        if isinstance(text := values.get(item.name, ""), str):
            values[item.name] = text.strip()
    if missing := [item.key for item in needed if not values[item.name]]:
        raise UsageError(f"{where}: {', '.join(missing)} missing in {found!r}")
    made = table(**values)
    made.validate(where)
    return made


def _value(item: Setting, name: str, value: Any) -> Any:
    where = f"[{name}] {item.key} = {value!r}"
    if get_origin(item.kind) is tuple:
        _expect(where, value, list)
        if get_args(item.kind)[0] is str:
            return tuple(_text(where, one) for one in value)
        return tuple(read(get_args(item.kind)[0], f"[{name}.{item.key}]", one) for one in value)
    if get_origin(item.kind) is dict:
        _expect(where, value, dict)
        for key, reason in value.items():
            if not isinstance(reason, str) or not reason.strip():
                raise UsageError(f"[{name}] {item.key}.{key}: expected a reason, found {reason!r}")
        return value
    if issubclass(item.kind, Table):
        return read(item.kind, f"{name}.{item.key}", value)
    if item.kind is dt.date:
        return _date(where, value)
    _expect(where, value, *((int, float) if item.kind is float else (item.kind,)))
    if item.rule is not None and not item.rule.holds(value):
        near = suggest(str(value), item.rule.names, known=False)
        raise UsageError(f"{where}: expected {item.rule.words}{near}")
    return value


def _text(where: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{where}: expected texts that are not empty, found {value!r}")
    return value


def _expect(where: str, value: object, *kinds: type) -> None:
    # A bool is an int to Python.
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise UsageError(f"{where}: expected {' or '.join(kind.__name__ for kind in kinds)}")


def _date(where: str, value: object) -> dt.date:
    """Return a TOML date, or the same date as a text."""
    _expect(where, value, dt.date, str)
    try:
        return dt.date.fromisoformat(str(value)[:10])
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error


def suggest(name: str, allowed: Iterable[str], *, known: bool = True) -> str:
    """Return `; did you mean …?`; when no name is near, the allowed names or nothing."""
    names = list(allowed)
    if near := difflib.get_close_matches(name, names, n=1, cutoff=0.5):
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(names)}" if known else ""
