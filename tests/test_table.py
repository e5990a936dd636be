"""A project's table is read strictly: nothing misspelt or mistyped is ignored."""

from __future__ import annotations

import pytest

from mlx_preflight import table
from mlx_preflight.errors import UsageError

TYPES: dict[str, tuple[type, ...]] = {"lint_max": (int,), "run_answers": (bool,)}


def test_keys_become_field_names() -> None:
    """Dashes turn into underscores and values stay as they are."""
    found = table.read("[t]", {"lint-max": 3, "run-answers": False}, TYPES)
    assert found == {"lint_max": 3, "run_answers": False}


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (3, r"\[t\]: expected a table"),
        ({"lint-mx": 3}, "unknown key 'lint-mx'; did you mean 'lint-max'"),
        ({"lint_max": 3}, "unknown key 'lint_max'; did you mean 'lint-max'"),
        ({"x": 3}, "unknown key 'x'; known: lint-max, run-answers"),
        ({"lint-max": "3"}, "lint-max = '3': expected int"),
        ({"lint-max": True}, "lint-max = True: expected int"),
        ({"run-answers": 1}, "run-answers = 1: expected bool"),
    ],
)
def test_what_is_not_understood_is_refused(found: object, message: str) -> None:
    """The message names the table, the key, the value and what was expected."""
    with pytest.raises(UsageError, match=message):
        table.read("[t]", found, TYPES)
