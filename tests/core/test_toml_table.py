"""A project's table is read strictly: nothing misspelt or mistyped is ignored."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pytest

from mlx_preflight.core import toml_table
from mlx_preflight.core.errors import UsageError
from mlx_preflight.core.toml_table import Table, at_least, one_of, setting


@dataclass(frozen=True, slots=True)
class Item(Table):
    id: str = setting(..., "Its id.")
    day: dt.date = setting(..., "Its day.")


@dataclass(frozen=True, slots=True)
class Limits(Table):
    lint_max: int = setting(0, "Accepted findings.", at_least(0))
    run_answers: bool = setting(True, "Whether to run them.")
    share: float | None = setting(None, "A share.")
    colour: str = setting("red", "A colour.", one_of(("red", "green")))
    reasons: dict[str, str] = setting(dict, "Name to reason.")
    items: tuple[Item, ...] = setting((), "Some items.")

    def validate(self, where: str) -> None:
        if self.lint_max and not self.run_answers:
            raise UsageError(f"{where}: contradiction")


def test_keys_become_field_names() -> None:
    """Dashes turn into underscores and values stay as they are."""
    found = toml_table.read(Limits, "t", {"lint-max": 3, "run-answers": True, "share": 1})
    assert found == Limits(lint_max=3, run_answers=True, share=1)
    assert toml_table.read(Limits, "t", {}) == Limits()


def test_tables_in_it_are_read_by_the_same_rules() -> None:
    """An array of tables becomes a tuple; a date may be a text, and an id has no blanks."""
    found = toml_table.read(Limits, "t", {"items": [{"id": " a ", "day": "2026-12-01"}]})
    assert found.items == (Item("a", dt.date(2026, 12, 1)),)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (3, r"\[t\]: expected a table"),
        ({"lint-mx": 3}, "unknown key 'lint-mx'; did you mean 'lint-max'"),
        ({"lint_max": 3}, "unknown key 'lint_max'; did you mean 'lint-max'"),
        ({"x": 3}, "unknown key 'x'; known: lint-max, run-answers"),
        ({"lint-max": "3"}, r"\[t\] lint-max = '3': expected int"),
        ({"lint-max": True}, "lint-max = True: expected int"),
        ({"lint-max": None}, "lint-max = None: expected int"),
        ({"lint-max": -1}, r"\[t\] lint-max = -1: expected at least 0"),
        ({"run-answers": 1}, "run-answers = 1: expected bool"),
        ({"share": "x"}, "share = 'x': expected int or float"),
        ({"colour": "rde"}, "colour = 'rde': expected one of red, green; did you mean 'red'"),
        ({"colour": "x"}, "colour = 'x': expected one of red, green$"),
        ({"reasons": {"a": " "}}, r"\[t\] reasons.a: expected a reason, found ' '"),
        ({"reasons": []}, r"reasons = \[\]: expected dict"),
        ({"items": {}}, r"items = \{\}: expected list"),
        ({"items": [{"id": " "}]}, r"\[\[t.items\]\]: id, day missing in \{'id': ' '\}"),
        ({"items": [{"id": 3, "day": "x"}]}, r"\[\[t.items\]\] id = 3: expected str"),
        ({"items": [{"id": "a", "day": "soon"}]}, r"\[\[t.items\]\] day = 'soon': Invalid"),
        ({"lint-max": 1, "run-answers": False}, r"\[t\]: contradiction"),
    ],
)
def test_what_is_not_understood_is_refused(found: object, message: str) -> None:
    """The message names the table, the key, the value and what was expected."""
    with pytest.raises(UsageError, match=message):
        toml_table.read(Limits, "t", found)
