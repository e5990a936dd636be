"""The form of a task, and the parameter values and inputs that many tasks share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Params = Mapping[str, Any]
Inputs = Sequence[tuple[Any, ...]]


def stable_hash(*parts: object) -> int:
    """Return a number that depends on the parts alone, on every machine."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big")


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a text."""
    return tuple(text.split())


@dataclass(frozen=True, slots=True)
class Template:
    """Describe one task.

    Attributes:
        id: Stable name of the task.
        category: Kind of programming it needs.
        names: Fitting function names.
        wordings: What the function does, as it follows "a function that".
        code: The answer's source.
        reference: Independent implementation, called with the arguments and, by name, with
            the parameters (but for `arg`, which only names an argument).
        inputs: Arguments of the examples, or a function that gives them for parameters.
        choices: Values of each parameter.
    """

    id: str
    category: str
    names: tuple[str, ...]
    wordings: tuple[str, ...]
    code: str
    reference: Callable[..., Any]
    inputs: Inputs | Callable[[Params], Inputs]
    choices: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def held_wording(self) -> int:
        """Return the index of the wording that is never trained on."""
        return stable_hash("wording", self.id) % len(self.wordings)

    def examples(self, params: Params) -> list[dict[str, Any]]:
        """Return `{"args", "expected"}` per example, computed by the reference."""
        given = {key: value for key, value in params.items() if key != "arg"}
        inputs = self.inputs(params) if callable(self.inputs) else self.inputs
        # JSON makes a fresh copy for the reference, and the form in which it is compared.
        return [
            {"args": list(args), "expected": self.reference(*json.loads(json.dumps(args)), **given)}
            for args in inputs
        ]


# Parameter values and inputs that many templates share.
K = {"k": range(2, 100)}
SMALL = {"k": range(2, 10)}
LETTERS = {"c": tuple("abcdefghijklmnopqrstuvwxyz")}
ARG = {"arg": ("numbers", "values", "items", "data", "nums", "xs", "elements", "entries")}
TOKENS = words_of(
    "red blue green apple dog cat sun moon star fish bird tree cup box pen key map ring lake road"
)
WORD = {"w": TOKENS}

INTS: Inputs = ((0,), (7,), (-4,), (15,), (102,))
PAIRS: Inputs = ((3, 4), (10, 2), (-5, 8), (6, 6), (0, 9))
TRIPLES: Inputs = ((1, 2, 3), (9, 2, 5), (4, 8, 1), (-3, -7, -5), (2, 2, 2))
COUNTS: Inputs = ((1,), (2,), (5,), (8,), (12,))
STRINGS: Inputs = (("hello",), ("Python code",), ("",), ("level",), ("A big Apple",), ("banana",))
LISTS: Inputs = (([1, 2, 3, 4],), ([5],), ([-2, 7, 0, 9, 7],), ([10, -3, 8, 10, 1],))
LISTS0: Inputs = (*LISTS, ([],))
WORDS: Inputs = ((["sun", "tree", "a", "banana"],), ([],), (["hi", "there", "hi"],))
DICTS: Inputs = (({"a": 1, "b": 5, "c": 30},), ({},), ({"x": 70, "y": -2},))


def near(params: Params) -> Inputs:
    """Return numbers at, beside and around the parameter `k`."""
    k = params["k"]
    return ((k - 1,), (k,), (k + 1,), (0,), (k * 2,))


def near_list(params: Params) -> Inputs:
    """Return lists with numbers at, beside and around the parameter `k`."""
    k = params["k"]
    return (([k, k - 1, k + 1, 0, k],), ([],), ([k * 2, 1, -k, k],), ([3, 5, 8, 150],))


def near_dict(params: Params) -> Inputs:
    """Return dicts with values at, beside and around the parameter `k`."""
    k = params["k"]
    return (({"a": k, "b": k + 1, "c": k - 1},), ({},), ({"x": 200, "y": 0},))


def near_text(params: Params) -> Inputs:
    """Return texts of the length `k` and of others."""
    k = params["k"]
    return (("a" * k,), ("b" * (k + 1),), ("",), ("word",))


def with_letter(params: Params) -> Inputs:
    """Return texts with and without the letter `c`."""
    c = params["c"]
    return ((c * 3 + "x",), ("hello world",), ("",), (f"a{c}b{c}",), ("banana",))


def between(params: Params) -> Inputs:
    """Return numbers at, between and beyond the bounds `low` and `high`."""
    low, high = params["low"], params["high"]
    return ((low,), (high,), (low - 1,), (high + 1,), ((low + high) // 2,))


RANGE = {"low": range(10), "high": range(20, 100)}


def task(
    ident: str,
    names: str,
    wordings: str,
    code: str,
    reference: Callable[..., Any],
    inputs: Inputs | Callable[[Params], Inputs],
    choices: Mapping[str, Sequence[Any]] | None = None,
) -> Template:
    """Return a template from `category/id`, names in one string and one wording a line."""
    category = ident.partition("/")[0]
    lines = tuple(line.strip() for line in wordings.strip().splitlines())
    body = code.strip("\n")
    return Template(
        ident, category, tuple(names.split()), lines, body, reference, inputs, choices or {}
    )
