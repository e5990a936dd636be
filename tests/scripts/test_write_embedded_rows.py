"""The embedded data set is what its generator writes."""

from __future__ import annotations

import json

import write_embedded_rows

from mlx_preflight.models.catalog import EMBEDDED_ROWS

MOST_BYTES = 100_000
"""What the data set may add to the package."""


def test_the_files_in_the_package_are_those_of_the_generator() -> None:
    """Nobody edited them by hand, and they stay small."""
    written = write_embedded_rows.rows()
    assert {path.name: path.read_text() for path in EMBEDDED_ROWS.iterdir()} == written
    assert sum(map(len, written.values())) < MOST_BYTES


def test_no_question_is_there_twice() -> None:
    """A row of the training is in neither of the other files."""
    lines = [line for text in write_embedded_rows.rows().values() for line in text.splitlines()]
    questions = [json.loads(line)["messages"][0]["content"] for line in lines]
    assert len({*questions}) == len(questions) == sum(write_embedded_rows.COUNTS.values())
