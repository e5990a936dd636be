"""Encode texts as sparse BM25 vectors, locally and without a download.

Identifiers (`max_seq_length`, `trainer.py`, `0001200_adapters.safetensors`) are kept whole
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

VERSION = f"bm25-2/snowball-{importlib.metadata.version('snowballstemmer').partition('.')[0]}"
"""Stamped on every point: vectors of two encoders must not be compared."""

K1, B = 1.2, 0.75
"""Robertson's usual parameters (The Probabilistic Relevance Framework, 2009, section 3.4)."""

AVERAGE_LENGTH = 80.0
"""Terms of a typical record; frozen, so that a vector does not depend on its neighbours."""

MAX_TERMS = 2000

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

_ALIASES = {
    "oom": ("out", "memory"),
    "ram": ("memory",),
    "mem": ("memory",),
    "nan": ("nan", "diverge"),
    "diverged": ("diverge", "nan"),
    "lr": ("learning", "rate"),
    "ckpt": ("checkpoint",),
    "checkpointing": ("checkpointing", "grad_checkpoint"),
    "seq": ("sequence", "length"),
    "seqlen": ("sequence", "length"),
    "ctx": ("sequence", "length"),
    "vuln": ("vulnerable",),
    "vulnerability": ("vulnerable",),
    "vulnerabilities": ("vulnerable",),
    "cve": ("cve", "vulnerable"),
    "typecheck": ("mypy", "type"),
    "linter": ("ruff", "lint"),
    "linting": ("ruff", "lint"),
    "quantized": ("quantize", "bit"),
    "quantization": ("quantize", "bit"),
    "tok": ("token",),
    "throughput": ("token", "speed"),
    "slow": ("slow", "speed"),
    "crash": ("crash", "died"),
    "crashed": ("crash", "died"),
    "killed": ("killed", "died"),
}


def terms(text: str) -> list[str]:
    """Return a text's terms: whole identifiers, their parts, stems and aliases."""
    found: list[str] = []
    for word in _WORD.findall(_HUMP.sub("_", text).lower()):
        parts = _PARTS.split(word)
        if len(parts) > 1:
            found.append(word)
        for part in parts:
            if part not in _STOP:
                found += [_stem(alias) for alias in _ALIASES.get(part, (part,))]
        if len(found) >= MAX_TERMS:
            break
    return found[:MAX_TERMS]


def document(text: str) -> tuple[list[int], list[float]]:
    """Return indices and weights of a text that is to be found."""
    every = Counter(_index(term) for term in terms(text))
    counts = dict(list(every.items())[:MAX_DISTINCT])
    norm = K1 * (1 - B + B * sum(counts.values()) / AVERAGE_LENGTH)
    return list(counts), [count * (K1 + 1) / (count + norm) for count in counts.values()]


def query(text: str) -> tuple[list[int], list[float]]:
    """Return indices and weights of a text that is looked for; each term counts once."""
    indices = list(dict.fromkeys(_index(term) for term in terms(text)))
    return indices, [1.0] * len(indices)


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
