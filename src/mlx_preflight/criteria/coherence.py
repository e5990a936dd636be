"""Automatic judgement of an answer: does its code do what was asked?

Three statistics catch gibberish that no example would explain (broken kernels, another
model's tokenizer, endless repetition); the examples catch fluent nonsense. A person's
reading is a separate thing (see `criteria.sign_off`) and is never inferred from this.
"""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlx_preflight.core.result import Measurement
from mlx_preflight.runtime import sandbox
from mlx_preflight.runtime.messages import Generation

MIN_PRINTABLE = 0.95
"""Code is all printable; undecodable bytes show as U+FFFD, which counts as not printable."""
MIN_DISTINCT_4GRAMS = 0.3
"""Share of different runs of four tokens. Python with repeated lines stays above 0.5; an
endless loop over a phrase of n tokens in an answer of 128 ends near n / 125."""
MIN_MEAN_LOGPROB = -1.5
"""Nats per chosen token. Greedy answers of a trained model lie above -1; a model whose
weights do not fit its config or tokenizer chooses nearly at random, below -2.5."""
MIN_PASSED_SHARE = 0.75
"""Share of the prompts whose every example must pass: room for one hard prompt in four."""
ENOUGH_TOKENS = 512
"""Functions of some ten lines, as the prompts ask for, end within this many tokens."""

_FENCE = re.compile(r"```[A-Za-z0-9_+-]*[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
_START = re.compile(r"(?:def|async def|class|import|from|@)\b|@")


@dataclass(frozen=True, slots=True)
class Judgement:
    """Judgement of one answer.

    Attributes:
        code: Extracted source; empty when none parses.
        defines: Whether the code defines the function that was asked for.
        executed: Whether the examples were run.
        passed: Examples that gave the expected value.
        examples: Examples given.
        printable: Share of printable characters.
        distinct_4grams: Share of different runs of four tokens.
        mean_logprob: Mean natural logarithm of the chosen tokens' probability.
        faults: Reasons against the answer; empty when there are none.
        gibberish: Whether a statistic is below its threshold.
    """

    code: str
    defines: bool
    executed: bool
    passed: int
    examples: int
    printable: float
    distinct_4grams: float
    mean_logprob: float
    faults: tuple[str, ...]
    gibberish: bool

    @property
    def correct(self) -> bool:
        """Return whether the function is defined and, when run, passes every example."""
        return self.defines and (not self.executed or self.passed == self.examples > 0)


def judge(
    text: str,
    token_ids: Sequence[int],
    mean_logprob: float,
    *,
    function: str,
    examples: Sequence[Mapping[str, Any]],
    run: bool,
) -> Judgement:
    """Judge one answer.

    Args:
        text: Decoded answer.
        token_ids: Its tokens without the end token.
        mean_logprob: Nats per token.
        function: Name that the prompt asks for.
        examples: `{"args": [...], "expected": value}`.
        run: Whether generated code may be run in the sandbox.
    """
    gibberish = gibberish_faults(text, token_ids, mean_logprob)
    code = extract_code(text, function)
    defines = bool(code) and function in defined_functions(code)
    execution = sandbox.run_examples(code, function, examples) if run and defines else None
    faults = list(gibberish)
    if not defines:
        faults.append(f"no definition of {function} that parses")
    elif execution is not None and execution.passed < execution.total:
        faults.append(execution.reason)
    return Judgement(
        code=code,
        defines=defines,
        executed=execution is not None,
        passed=execution.passed if execution else 0,
        examples=len(examples),
        printable=printable_share(text),
        distinct_4grams=distinct_share(token_ids),
        mean_logprob=mean_logprob,
        faults=tuple(faults),
        gibberish=bool(gibberish),
    )


def gibberish_faults(text: str, token_ids: Sequence[int], mean_logprob: float) -> list[str]:
    """Return which statistics of an answer are below their threshold."""
    return [
        f"{name} {value:.2f}, at least {least} wanted"
        for name, value, least in (
            ("printable share", printable_share(text), MIN_PRINTABLE),
            ("distinct 4-gram share", distinct_share(token_ids), MIN_DISTINCT_4GRAMS),
            ("mean log-probability", mean_logprob, MIN_MEAN_LOGPROB),
        )
        if not value >= least  # NaN must count as a fault
    ]


def extract_code(text: str, function: str) -> str:
    """Return the source in an answer: the first fenced block that defines the function.

    Plain answers give the longest run of lines that parses, from the first line that
    starts code. An answer without any gives an empty text.
    """
    for block in [*_FENCE.findall(text[: sandbox.MAX_CODE_CHARS]), text[: sandbox.MAX_CODE_CHARS]]:
        for candidate in _parsing_runs(block):
            if function in defined_functions(candidate):
                return candidate
    return ""


def _parsing_runs(block: str) -> Iterator[str]:
    lines = block.splitlines()
    begin = next((i for i, line in enumerate(lines) if _START.match(line)), None)
    if begin is None:
        return
    # A cut-off or chatty end is dropped line by line; 200 tries bound hostile input.
    for end in range(len(lines), max(begin, len(lines) - 200), -1):
        candidate = "\n".join(lines[begin:end])
        if sandbox.parse(candidate) is not None:
            yield candidate
            return


def defined_functions(code: str) -> set[str]:
    """Return the names of the functions defined at the top level; none if it cannot parse."""
    tree = sandbox.parse(code)
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} if tree else set()


def printable_share(text: str) -> float:
    """Return the share of characters that are printable or white space; 0 for no text."""
    if not text:
        return 0.0
    good = sum((c.isprintable() or c in "\n\t ") and c != "\N{REPLACEMENT CHARACTER}" for c in text)
    return good / len(text)


def distinct_share(token_ids: Sequence[int]) -> float:
    """Return the share of different 4-grams; an answer with none has no repetition, 1."""
    grams = [tuple(token_ids[i : i + 4]) for i in range(len(token_ids) - 3)]
    return len(set(grams)) / len(grams) if grams else 1.0


def endless_fault(generation: Generation) -> str:
    """Return why the answers of a model do not end; empty where they do or may.

    A cut answer says nothing while it is short. One that holds the end of its turn and goes on
    does, and so does a model of which no answer ends in `ENOUGH_TOKENS`.
    """
    if generation.ran_on:
        went = f"{len(generation.ran_on)} went on behind the end of their turn"
        return "; ".join([went, *generation.notes])
    cut = [len(item.token_ids) for item in generation.answers if item.finish_reason != "stop"]
    if len(cut) == len(generation.answers) and min(cut, default=0) >= ENOUGH_TOKENS:
        return f"no answer ended within {min(cut)} tokens"
    return ""


def measurements(judgements: Sequence[Judgement]) -> tuple[Measurement, ...]:
    """Return the statistics of all answers, each with its threshold and its samples."""
    rows = (
        ("correct_share", statistics.fmean, "ratio", MIN_PASSED_SHARE, "correct"),
        ("lowest_printable_share", min, "ratio", MIN_PRINTABLE, "printable"),
        (
            *("lowest_distinct_4gram_share", min, "ratio"),
            *(MIN_DISTINCT_4GRAMS, "distinct_4grams"),
        ),
        ("lowest_mean_logprob", min, "nats", MIN_MEAN_LOGPROB, "mean_logprob"),
    )
    return tuple(
        Measurement(name, pick(samples), unit, f">= {least}", samples)
        for name, pick, unit, least, field_name in rows
        for samples in [tuple(float(getattr(item, field_name)) for item in judgements)]
    )
