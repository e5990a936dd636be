"""Task queue: sets a task's members in its JSON and touches no other byte of the file.

The queue belongs to other agents: unknown fields, key order, number formats, indentation
and line ends must come out as they went in. So the new values are spliced into the text,
and nothing is parsed and dumped again. It must not read or write files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlx_preflight.core.errors import HandoffError
from mlx_preflight.core.json_file import parse_json

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class _Entry:
    """Position of an object in the text: its braces and its members' values."""

    start: int
    end: int
    members: Mapping[str, tuple[int, int]]


def mark(text: str, ids: tuple[str, ...], members: Mapping[str, Any]) -> tuple[str, str]:
    """Return the text with members set on one task, and the id of that task.

    A task is an object in a list, `tasks` or any other, whose `id` or `task_id` is wanted.

    Args:
        text: The complete queue.
        ids: Wanted ids; the first that the queue lists is marked.
        members: Key → JSON value; an existing key keeps its place, a new one goes last.

    Raises:
        HandoffError: The text is not JSON, has a key twice, or lists the task never or twice.
    """
    entries = _entries(text)
    for wanted in ids:
        found = [entry for entry in entries if wanted in _names(text, entry)]
        if len(found) > 1:
            raise HandoffError(f"task {wanted!r} is listed {len(found)} times")
        if found:
            return _splice(text, found[0], members), wanted
    raise HandoffError(
        f"no task with id or task_id {' or '.join(repr(item) for item in ids)}",
        hint="add the task to the queue, or set task in [tool.mlx-preflight.handoff]",
    )


def create(task: str, members: Mapping[str, Any]) -> str:
    """Return the text of a new queue that lists one task."""
    return json.dumps({"tasks": [{"id": task, **members}]}, indent=2, allow_nan=False) + "\n"


def _entries(text: str) -> list[_Entry]:
    try:
        parse_json(text)
        entries: list[_Entry] = []
        _walk(text, _skip(text, 0), entries)
    except (ValueError, RecursionError) as error:
        raise HandoffError(f"not a valid JSON queue: {error}") from error
    return entries


def _skip(text: str, index: int) -> int:
    match = _SPACE.match(text, index)
    return match.end() if match else index


def _walk(text: str, start: int, entries: list[_Entry], *, listed: bool = False) -> int:
    """Return the end of the value at `start`, and collect the objects that lists hold."""
    opening = text[start]
    if opening not in "{[":
        return _DECODER.raw_decode(text, start)[1]
    members: dict[str, tuple[int, int]] = {}
    index = _skip(text, start + 1)
    while text[index] not in "}]":
        key = ""
        if opening == "{":
            key, index = _DECODER.raw_decode(text, index)
            index = _skip(text, _skip(text, index) + 1)
        end = _walk(text, index, entries, listed=opening == "[")
        members[key] = (index, end)
        index = _skip(text, end)
        if text[index] == ",":
            index = _skip(text, index + 1)
    if listed and opening == "{":
        entries.append(_Entry(start, index + 1, members))
    return index + 1


def _names(text: str, entry: _Entry) -> list[Any]:
    spans = [entry.members[key] for key in ("id", "task_id") if key in entry.members]
    return [json.loads(text[start:end]) for start, end in spans]


def _splice(text: str, entry: _Entry, members: Mapping[str, Any]) -> str:
    margin, unit, newline = _layout(text, entry)
    last = max(end for _, end in entry.members.values())
    edits: list[tuple[int, int, str]] = []
    added = ""
    for key, value in members.items():
        dumped = _dump(value, unit, escaped=text.isascii()).replace("\n", newline + (margin or ""))
        if key in entry.members:
            edits.append((*entry.members[key], dumped))
        else:
            added += ", " if margin is None else "," + newline + margin
            added += f"{json.dumps(key)}: {dumped}"
    # From the back, so that earlier positions hold.
    for start, end, replacement in sorted([*edits, (last, last, added)], reverse=True):
        text = text[:start] + replacement + text[end:]
    return text


def _dump(value: Any, indent: str | None, *, escaped: bool) -> str:
    """Return a value as JSON, pure ASCII where the file is or a character is unprintable."""
    escaped = escaped or not json.dumps(value, ensure_ascii=False).isprintable()
    return json.dumps(value, indent=indent, ensure_ascii=escaped, allow_nan=False)


def _layout(text: str, entry: _Entry) -> tuple[str | None, str | None, str]:
    """Return the margin of the members and the unit of indentation, None for one line."""
    found = re.match(r"\{[ \t]*(\r?\n)([ \t]*)", text[entry.start : entry.end])
    if found is None:
        return None, None, "\n"
    newline, margin = found.groups()
    line = text[text.rfind("\n", 0, entry.start) + 1 : entry.start]
    outer = line[: len(line) - len(line.lstrip(" \t"))]
    return margin, margin.removeprefix(outer) or "  ", newline
