"""Severity of an advisory from its records: CVSS vectors first, a database's own word second.

pip-audit names no severity at all, and most PyPI advisories hold none of their own; their
aliases often do. What nobody rated counts as high, for it may be the worst.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cvss import CVSS2, CVSS3, CVSS4, CVSSError

LEVELS = ("none", "low", "medium", "high", "critical")
"""The qualitative ratings of CVSS 3.1, section 5."""

UNKNOWN = "high"
"""What an advisory without any rating counts as."""

_BOUNDS = ((0.0, "none"), (3.9, "low"), (6.9, "medium"), (8.9, "high"), (10.0, "critical"))
"""Upper bounds of the base score, CVSS 3.1 section 5 and 4.0 section 6.4."""

_WORDS = {"moderate": "medium", **{level: level for level in LEVELS}}
"""GitHub's advisories say MODERATE where CVSS says medium."""


@dataclass(frozen=True, slots=True)
class Severity:
    """Rating, and where it comes from.

    Attributes:
        level: One of `LEVELS`.
        source: Such as `CVSS:3.1 7.5 in GHSA-…`; what is missing when `known` is false.
        known: Whether anybody rated it.
    """

    level: str
    source: str
    known: bool = True

    def reaches(self, level: str) -> bool:
        """Return whether it is at least so bad."""
        return LEVELS.index(self.level) >= LEVELS.index(level)

    def __str__(self) -> str:
        """Return `LEVEL (SOURCE)`."""
        return f"{self.level} ({self.source})"


def rate(records: Iterable[Mapping[str, Any]], unread: Iterable[str] = ()) -> Severity:
    """Return the worst rating of an advisory's records.

    Args:
        records: The advisory and its aliases, as OSV records.
        unread: Ids of aliases that exist perhaps, but could not be read.
    """
    known = list(records)
    scored = [found for record in known for found in _vectors(record)]
    said = scored or [found for record in known for found in _words(record)]
    if missing := sorted(unread):
        said.append(Severity(UNKNOWN, f"unknown: {', '.join(missing)} could not be read", False))
    if not said:
        return Severity(UNKNOWN, "unknown: nobody rated it", known=False)
    return max(said, key=lambda item: (LEVELS.index(item.level), item.known))


def _vectors(record: Mapping[str, Any]) -> Iterator[Severity]:
    entries = _list(record.get("severity"))
    for affected in _list(record.get("affected")):
        entries += _list(affected.get("severity")) if isinstance(affected, Mapping) else []
    for entry in entries:
        vector = entry.get("score") if isinstance(entry, Mapping) else None
        if isinstance(vector, str) and (found := _score(vector)) is not None:
            version, score = found
            level = next(name for bound, name in _BOUNDS if score <= bound)
            yield Severity(level, f"CVSS:{version} {score} in {record.get('id')}")


def _score(vector: str) -> tuple[str, float] | None:
    """Return version and base score of a vector, or None for one that is no vector."""
    try:
        if vector.startswith("CVSS:4"):
            return "4.0", float(CVSS4(vector).base_score)
        if vector.startswith("CVSS:3"):
            return vector[5:8], float(CVSS3(vector).scores()[0])
        return "2.0", float(CVSS2(vector.strip("()")).scores()[0])
    except (CVSSError, ValueError, TypeError):
        return None


def _words(record: Mapping[str, Any]) -> Iterator[Severity]:
    places = [record, *(item for item in _list(record.get("affected")))]
    for place in places:
        own = place.get("database_specific") if isinstance(place, Mapping) else None
        word = own.get("severity") if isinstance(own, Mapping) else None
        if isinstance(word, str) and word.lower() in _WORDS:
            yield Severity(_WORDS[word.lower()], f"the database's word in {record.get('id')}")


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list) else []
