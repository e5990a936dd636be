"""Rows that are in the data more than once."""

from __future__ import annotations

from collections.abc import Mapping

from mlx_preflight.training.rows import Place, Split


def repeated(splits: Mapping[str, Split]) -> list[Place]:
    """Return the training rows that repeat an earlier one, and those that train the same.

    A row of which the length limit, or a key that is not read, hides the difference teaches
    what another one teaches already.
    """
    train = splits.get("train")
    if train is None:
        return []
    places: list[Place] = []
    raw: dict[int, int] = {}
    kept: dict[int, int] = {}
    for index, line in enumerate(train.line):
        digest, same = train.digest[index], train.kept[index]
        if digest in raw:
            places.append(Place("twice", "train", line, f"line {raw[digest]}"))
        elif train.tokens[index] >= 0 and same in kept:
            places.append(Place("same-kept", "train", line, f"line {kept[same]}"))
        raw.setdefault(digest, line)
        kept.setdefault(same, line)
    return places


def overlapping(splits: Mapping[str, Split]) -> list[Place]:
    """Return the rows of the validation and of the test that the training holds, too."""
    train = splits.get("train")
    if train is None:
        return []
    lines = dict(zip(reversed(train.digest), reversed(train.line), strict=True))
    return [
        Place("overlap", name, line, f"line {lines[digest]}")
        for name in ("valid", "test")
        if (split := splits.get(name))
        for line, digest in zip(split.line, split.digest, strict=True)
        if digest in lines
    ]
