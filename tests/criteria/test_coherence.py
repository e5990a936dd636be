"""The automatic judgement of answers: right, wrong, repeated, random."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mlx_preflight.criteria import coherence

ADD = "def add(a, b):\n    return a + b"
EXAMPLES = [{"args": [2, 3], "expected": 5}, {"args": [0, 0], "expected": 0}]
TOKENS = list(range(40))


def judged(text: str, tokens: list[int] = TOKENS, logprob: float = -0.1, run: bool = True) -> Any:
    """Judge an answer that should define `add`."""
    return coherence.judge(text, tokens, logprob, function="add", examples=EXAMPLES, run=run)


@pytest.mark.parametrize(
    "text",
    [
        ADD,
        f"```python\n{ADD}\n```",
        f"Sure!\n```python\n{ADD}\n```\nThis adds two numbers.",
        f"Here it is:\n\n{ADD}\n\nIt adds (two numbers.",
        f"```\nprint(1)\n```\n```python\n{ADD}\n```",
        f"```python\n{ADD}",
    ],
)
def test_code_is_found_in_every_common_form(text: str) -> None:
    """Fenced, plain, chatty and cut-off answers all yield the function."""
    judgement = judged(text)
    assert judgement.correct, judgement.faults
    assert not judgement.faults
    assert (judgement.passed, judgement.examples) == (2, 2)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("I cannot do that.", "no definition of add"),
        ("def add(a, b:\n    return", "no definition of add"),
        ("def plus(a, b):\n    return a + b", "no definition of add"),
        ("def add(a, b):\n    return a - b", "expected 5"),
        ("import os\n" + ADD, "not run: import of os"),
    ],
)
def test_wrong_answers_say_what_is_wrong(text: str, fault: str) -> None:
    """Fluent nonsense is incorrect without being gibberish."""
    judgement = judged(text)
    assert not judgement.correct
    assert not judgement.gibberish
    assert fault in judgement.faults[0]


@pytest.mark.parametrize(
    ("text", "tokens", "logprob", "fault"),
    [
        ("\ufffd" * 40, TOKENS, -0.1, "printable"),
        ("", [], -0.1, "printable"),
        ("ababab" * 20, [7, 8] * 60, -0.1, "4-gram"),
        (ADD, TOKENS, -6.0, "log-probability"),
        (ADD, TOKENS, math.nan, "log-probability"),
    ],
)
def test_gibberish_is_seen_by_a_statistic(
    text: str, tokens: Any, logprob: float, fault: str
) -> None:
    """Undecodable, endless and improbable answers are gibberish, even with good code."""
    judgement = judged(text, tokens, logprob)
    assert judgement.gibberish
    assert any(fault in item for item in judgement.faults)


def test_unrun_code_is_judged_by_its_definition_only() -> None:
    """Where running is off, a wrong function counts as defined and as not executed."""
    judgement = judged("def add(a, b):\n    return a - b", run=False)
    assert judgement.correct
    assert not judgement.executed


def test_a_function_without_examples_proves_nothing() -> None:
    """No examples is no success."""
    judgement = coherence.judge(ADD, TOKENS, -0.1, function="add", examples=[], run=True)
    assert not judgement.correct
