"""Prompts drawn from the tasks, with what is held back from training."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from string import Template as Text
from typing import Any

from embedded_tasks.arithmetic import ARITHMETIC_TASKS
from embedded_tasks.comprehensions import COMPREHENSION_TASKS
from embedded_tasks.conditions import CONDITION_TASKS
from embedded_tasks.dicts import DICT_TASKS
from embedded_tasks.lists import LIST_TASKS
from embedded_tasks.loops import LOOP_TASKS
from embedded_tasks.recursion import RECURSION_TASKS
from embedded_tasks.strings import STRING_TASKS
from embedded_tasks.template import Params, Template, stable_hash, words_of

HELD_ONE_IN = 5
"""One opener and one combination of name and parameters in this many is never trained on."""

NAME_SHARES = {"fitting": 40, "another's": 30, "neutral": 30}
"""Percentages of names: the task's own, one that fits another task, a verb with a noun.

Names that do not fit make the model read the wording and copy the name letter by letter."""

ASKS = (
    *("Write", "Create", "Implement", "Define", "Make", "Build", "Give me", "I need"),
    *("Please write", "Please create", "In Python, write", "In Python, define"),
    *("Could you write", "Could you implement", "Can you create"),
)
KINDS = ("a function", "a Python function", "a small Python function")
NAMINGS = ("", "called ", "named ")
LINKS = ("that", "which")


def _openers() -> list[str]:
    """Return every sentence that asks for a function; `$body` is what the function does."""
    found: list[str] = []
    for ask, kind, link in itertools.product(ASKS, KINDS, LINKS):
        end = "?" if ask.startswith(("Could", "Can")) else "."
        subjects = (*(f"{kind} {naming}$name" for naming in NAMINGS), f"$name, {kind}")
        found.extend(f"{ask} {subject} {link} $body{end}" for subject in subjects)
    return found


OPENERS = tuple(o for o in _openers() if stable_hash("opener", o) % HELD_ONE_IN)
HELD_OPENERS = tuple(o for o in _openers() if not stable_hash("opener", o) % HELD_ONE_IN)

VERBS = words_of(
    "get make find compute calc do run apply build take check handle process solve work "
    "eval produce derive obtain fetch try use my the quick fast small new simple basic"
)
NOUNS = words_of(
    "value result answer output thing number item data it task step job part total all "
    "one two info case text list word entry record unit score point level size amount"
)


@dataclass(frozen=True, slots=True)
class Pair:
    """Hold one prompt with its answer and the examples that its function has to pass."""

    template: str
    category: str
    kind: str
    function: str
    prompt: str
    answer: str
    examples: list[dict[str, Any]]


TEMPLATES: tuple[Template, ...] = (
    *ARITHMETIC_TASKS,
    *CONDITION_TASKS,
    *STRING_TASKS,
    *LIST_TASKS,
    *COMPREHENSION_TASKS,
    *DICT_TASKS,
    *LOOP_TASKS,
    *RECURSION_TASKS,
)
"""Every task, in a stable order."""


def is_held(template: Template, name: str, params: Params) -> bool:
    """Return whether this combination of name and parameters is never trained on."""
    values = [f"{key}={params[key]}" for key in sorted(params)]
    return stable_hash("combination", template.id, name, *values) % HELD_ONE_IN == 0


def _name(rng: random.Random, template: Template) -> str:
    [source] = rng.choices(list(NAME_SHARES), list(NAME_SHARES.values()))
    if source == "neutral":
        return f"{rng.choice(VERBS)}_{rng.choice(NOUNS)}"
    return rng.choice((template if source == "fitting" else rng.choice(TEMPLATES)).names)


def _combination(rng: random.Random, template: Template, held: bool) -> tuple[str, dict[str, Any]]:
    """Draw a function name and parameters from the wanted side of the split."""
    while True:
        name = _name(rng, template)
        params = {key: rng.choice(values) for key, values in template.choices.items()}
        if is_held(template, name, params) is held:
            return name, params


def make_pair(rng: random.Random, template: Template, kind: str) -> Pair:
    """Make one pair.

    Args:
        rng: Source of every choice.
        template: The task.
        kind: `train`; `parameters` (combination held back), `wording` (wording and opener
            held back) or `both`.
    """
    held_wording = template.held_wording
    name, params = _combination(rng, template, kind in {"parameters", "both"})
    if kind in {"wording", "both"}:
        opener, wording = rng.choice(HELD_OPENERS), template.wordings[held_wording]
    else:
        seen = [w for i, w in enumerate(template.wordings) if i != held_wording]
        opener, wording = rng.choice(OPENERS), rng.choice(seen)
    body = Text(wording).substitute(params)
    prompt = Text(opener).substitute(name=name, body=body)
    code = Text(template.code).substitute(params, name=name)
    return Pair(
        template=template.id,
        category=template.category,
        kind=kind,
        function=name,
        prompt=prompt,
        answer=f"```python\n{code}\n```",
        examples=template.examples(params),
    )


def held_out(seed: int, rounds: int = 1) -> list[Pair]:
    """Return the evaluation set: per template and round one pair of every held-out kind."""
    pairs: dict[str, Pair] = {}
    for template in TEMPLATES:
        for number in range(rounds):
            for kind in ("parameters", "wording", "both"):
                rng = _seeded(f"{seed}/held/{template.id}/{kind}/{number}")
                pair = make_pair(rng, template, kind)
                pairs[pair.prompt] = pair
    return list(pairs.values())


def _seeded(seed: str) -> random.Random:
    return random.Random(seed)  # noqa: S311  (not a secret)


def training_pairs(seed: int, block: int, count: int) -> list[Pair]:
    """Return one block of training pairs; the same numbers always give the same pairs."""
    rng = _seeded(f"{seed}/train/{block}")
    return [make_pair(rng, rng.choice(TEMPLATES), "train") for _ in range(count)]
