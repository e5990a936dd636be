"""Measures that separate prose from strings of keywords.

They are measures of form (how many words, how often repeated, whether anything joins
them), not of truth: a person still has to read what passes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence

from mlx_preflight.core.errors import PreflightError
from mlx_preflight.core.units import format_percent

WINDOW = 50
"""Words looked at together when repetition is measured."""
MIN_DISTINCT = 0.4
"""Least share of distinct words in a window; eleven READMEs and guides of this field had
0.50 to 0.94 (2026-11-23)."""
MIN_JOINING = 0.15
"""Least share of joining words; the same documents had 0.25 to 0.44, a keyword list has none."""
MIN_FOR_SHARES = 20
"""Shares of fewer words mean nothing."""
NEAR = 0.75
"""Texts that share this much of their words (Jaccard index) count as the same text."""
LONG_SENTENCE = 5
"""Words from which on a sentence counts as repeated; shorter ones recur in good prose."""
MAX_ITEMS = 500
"""Longer lists are refused, because every item is compared with every other."""
MAX_COMPARED = 12
"""Items tried against topics; more would make the trial of all orders long."""

_JOINING_TEXT = """
a about after all also an and any are as at be because been before but by can could did do does
each for from had has have here how if in into is it its less may more most must no nor not of
off on once one only or other our out over per so some than that the their then there these they
this those to under until up was we were what when where which while who will with without would
you your
"""
JOINING = frozenset(_JOINING_TEXT.split())
"""Words that join others into a sentence; keyword lists have none of them."""


def words(text: str) -> list[str]:
    """Return the words of a text in lower case; numbers are not words."""
    return [word.lower() for word in re.findall(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*", text)]


def prose_problem(text: str, least: int) -> str:
    """Return what keeps a text from being prose of at least so many words, or nothing."""
    found = words(text)
    if len(found) < least:
        return f"{len(found)} words, at least {least} are needed"
    if len(found) < MIN_FOR_SHARES:
        return ""
    for start in range(0, max(1, len(found) - WINDOW + 1), WINDOW):
        window = found[start : start + WINDOW]
        if len(set(window)) < MIN_DISTINCT * len(window):
            return f"{len(window)} words in a row repeat only {len(set(window))}"
    joining = sum(word in JOINING for word in found) / len(found)
    if joining < MIN_JOINING:
        share = format_percent(100 * joining)
        return f"{share} of its words join others, so it is a string of keywords"
    return ""


def sentence_problem(text: str, least: int = 4) -> str:
    """Return what keeps one item or one paragraph from being a sentence, or nothing."""
    found = words(text)
    if len(set(found)) < least:
        return f"{len(set(found))} different words, at least {least} are needed"
    if len(found) > MIN_FOR_SHARES:
        return prose_problem(text, least)
    if not JOINING.intersection(found):
        return "keywords without a word that joins them"
    return ""


def deduplicated(texts: Iterable[str]) -> list[str]:
    """Return the texts without those that use nearly the same words as an earlier one.

    Raises:
        PreflightError: There are more texts than are compared.
    """
    kept: dict[str, set[str]] = {}
    for text in texts:
        tokens = set(re.findall(r"\w+", text.lower()))
        if tokens and not any(
            len(tokens & other) >= NEAR * len(tokens | other) for other in kept.values()
        ):
            kept[text] = tokens
        if len(kept) > MAX_ITEMS:
            raise PreflightError(f"a list of over {MAX_ITEMS} items, too long to be judged")
    return list(kept)


def repeated_sentences(text: str) -> float:
    """Return the share of a text's longer sentences that repeat an earlier one."""
    every = [tuple(words(s)) for s in re.split(r"(?<=[.!?])\s+|\n", text)]
    long = [item for item in every if len(item) >= LONG_SENTENCE]
    return 1 - len(set(long)) / len(long) if long else 0.0


def missing_topics(items: Sequence[str], topics: Mapping[str, str]) -> list[str]:
    """Return the topics that no item of their own covers, in the best assignment.

    Args:
        items: Texts, the first twelve of which are tried.
        topics: Name of each topic and the pattern that an item on it matches.
    """
    tried: list[str | None] = [*items[:MAX_COMPARED], *[None] * len(topics)]
    best = list(topics)
    for order in itertools.permutations(range(len(tried)), len(topics)):
        missing = [
            name
            for (name, pattern), at in zip(topics.items(), order, strict=True)
            if not re.search(pattern, tried[at] or "", re.IGNORECASE)
        ]
        if len(missing) < len(best):
            best = missing
        if not best:
            break
    return best
