"""The comparison of two captured values: every difference gets the name of its place."""

from __future__ import annotations

import difflib
import fnmatch
import json
from collections.abc import Iterator, Sequence
from typing import Any

MAX_LINES = 12
"""Lines of a text's difference that are shown."""

ABSENT = "(absent)"


def differences(before: Any, after: Any, place: str = "") -> Iterator[dict[str, Any]]:
    """Yield each place at which two JSON values differ, with both sides.

    Numbers and texts are equal only when they are so to the last digit and byte. Two texts
    that hold JSON documents are compared within, and still differ when only their form does.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from differences(
                before.get(key, ABSENT), after.get(key, ABSENT), f"{place}/{key}".lstrip("/")
            )
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (left, right) in enumerate(zip(before, after, strict=True)):
            yield from differences(left, right, f"{place}[{index}]")
    elif type(before) is not type(after) or before != after:
        within = list(differences(*documents, place)) if (documents := _json(before, after)) else []
        yield from within or [{"name": place, **_sides(before, after)}]


def accepted(name: str, patterns: Sequence[str]) -> bool:
    """Return whether a difference is one that was wanted; `*` in a pattern matches anything."""
    # Brackets are indexes of lists here, no sets of letters.
    return any(fnmatch.fnmatchcase(name, item.replace("[", "[[]")) for item in patterns)


def leaves(value: Any) -> int:
    """Count the values that a comparison looks at: a comparison of nothing proves nothing."""
    if isinstance(value, dict | list):
        return sum(leaves(item) for item in (value.values() if isinstance(value, dict) else value))
    documents = _json(value, value)
    return leaves(documents[0]) if documents else 1


def _json(before: Any, after: Any) -> tuple[Any, Any] | None:
    """Return two texts as the JSON documents that they hold, if both do."""
    if not (isinstance(before, str) and isinstance(after, str)):
        return None
    try:
        found = json.loads(before), json.loads(after)
    except ValueError:
        return None
    return found if all(isinstance(item, dict | list) for item in found) else None


def _sides(before: Any, after: Any) -> dict[str, Any]:
    if isinstance(before, str) and isinstance(after, str) and "\n" in before + after:
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
        return {"lines": [line for line in lines if line[:3] not in ("---", "+++")][:MAX_LINES]}
    return {"before": before, "after": after}
