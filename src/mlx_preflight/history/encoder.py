"""Encoder of texts as sparse BM25 vectors, local and without a download.

Identifiers (`max_seq_length`, `trainer.py`, `0001200_adapters.safetensors`) are kept complete
and split; words are stemmed; a short table joins what people call the same thing. Inverse
document frequency is the index's part (Qdrant's IDF modifier).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import threading
from collections import Counter
from functools import lru_cache

import snowballstemmer

from mlx_preflight.history.aliases import ABBREVIATIONS, GROUPS

VERSION = f"bm25-4/snowball-{importlib.metadata.version('snowballstemmer').partition('.')[0]}"
"""Stamped on every point: vectors of two encoders must not be compared."""

K1, B = 1.2, 0.75
"""Robertson's usual parameters (The Probabilistic Relevance Framework, 2009, section 3.4)."""

AVERAGE_LENGTH = 80.0
"""Terms of a typical record; frozen, so that a vector does not depend on its neighbours."""

MAX_TERMS = 2000

CONCEPT = 0.5
"""Weight in a query of being of the same concept; of being the same word it is 1."""

MAX_DISTINCT = 64
"""Terms that a record is found by, the first ones: embedded search takes time for each of them."""

_WORD = re.compile(r"[a-z0-9]+(?:[._\-/=+][a-z0-9]+)*")
_PARTS = re.compile(r"[._\-/=+]")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_STOP = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be been but by can did do does for from had has have how i in is it "
        "its me my no not of on or our that the their then there these they this to was we were "
        "what when where which who why will with you your",
    )
)


def terms(text: str) -> list[str]:
    """Return a text's terms: identifiers, their parts, and stems."""
    found: list[str] = []
    for word in _WORD.findall(_HUMP.sub("_", text).lower()):
        parts = _PARTS.split(word)
        if len(parts) > 1:
            found.append(word)
        for part in parts:
            if part not in _STOP:
                found += [_stem(full) for full in ABBREVIATIONS.get(part, (part,))]
        if len(found) >= MAX_TERMS:
            break
    return found[:MAX_TERMS]


def encode_document(text: str) -> tuple[list[int], list[float]]:
    """Return indices and weights of a text that is to be found."""
    every = terms(text)
    counts = Counter(every)
    kept = dict(list(counts.items())[:MAX_DISTINCT])
    norm = K1 * (1 - B + B * sum(kept.values()) / AVERAGE_LENGTH)
    weights = {_index(term): count * (K1 + 1) / (count + norm) for term, count in kept.items()}
    concepts = {_index(name) for term in kept for name in _concepts().get(term, ())}
    weights |= dict.fromkeys(concepts, (K1 + 1) / (1 + norm))
    return list(weights), list(weights.values())


def encode_query(text: str) -> tuple[list[int], list[float]]:
    """Return indices and weights of a text that is looked for; each term counts once."""
    every = dict.fromkeys(terms(text))
    weights = {_index(term): 1.0 for term in every}
    weights |= {_index(name): CONCEPT for term in every for name in _concepts().get(term, ())}
    return list(weights), list(weights.values())


@lru_cache(maxsize=1)
def _concepts() -> dict[str, tuple[str, ...]]:
    """Return stem → names of the groups that it is in."""
    found: dict[str, list[str]] = {}
    for number, group in enumerate(GROUPS):
        # The first term of an identifier is the identifier itself.
        for term in dict.fromkeys(terms(word)[0] for word in group.split()):
            found.setdefault(term, []).append(f"~{number}")
    return {term: tuple(names) for term, names in found.items()}


@lru_cache(maxsize=100_000)
def _index(term: str) -> int:
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=4).digest(), "big")


_STEMMER = snowballstemmer.stemmer("english")
_STEMMING = threading.Lock()
"""A stemmer keeps the word that it works on in itself."""


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    if not word.isalpha():
        return word
    with _STEMMING:
        return str(_STEMMER.stemWord(word))
