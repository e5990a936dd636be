"""Ask questions of a memory of runs, and the same of Qdrant's own encoder beside it.

`qdrant-edge-py` holds Qdrant's core with its BM25 encoder (words, Snowball stems, stop words);
it indexes the same texts. What differs is the encoder alone: identifiers and groups of words.
"""

from __future__ import annotations

import statistics
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from mlx_preflight.history import records
from mlx_preflight.history.memory_manager import MemoryManager

_IN = 50
"""Hits that are looked at; a run beyond them has the reciprocal rank 0."""


@dataclass(frozen=True)
class Question:
    """Hold what is asked, and which run answers it."""

    kind: str
    text: str
    wanted: str


def retrieval(
    made: Sequence[dict[str, Any]], asked: Sequence[Question], folder: Path
) -> dict[str, Any]:
    """Return mean reciprocal ranks by kind of question, ours and the reference's."""
    memory = MemoryManager(folder / "memory")
    memory.add(records.from_report(item, None, ()) for item in made)
    found = ranks(asked, lambda words: [hit.run_id for hit in memory.search(words, limit=_IN).hits])
    memory.close()
    shard = reference(made, folder / "edge")
    other = ranks(asked, lambda words: by_reference(shard, words))
    shard.close()
    kinds = dict.fromkeys(question.kind for question in asked)
    return {
        "runs": len(made),
        "queries": len(asked),
        **{f"{kind}_mrr": mean(found, kind) for kind in kinds},
        **{f"{kind}_in_{_IN}": within(found, kind) for kind in kinds},
        "reference": {
            **{f"{kind}_mrr": mean(other, kind) for kind in kinds},
            **{f"{kind}_in_{_IN}": within(other, kind) for kind in kinds},
        },
        "not_first": [
            [question.kind, question.text, round(rank, 3)]
            for question, rank in found.items()
            if rank < 1
        ],
    }


def ranks(asked: Sequence[Question], search: Callable[[str], list[str]]) -> dict[Question, float]:
    """Return the reciprocal rank of the right run for every question."""
    found = {}
    for question in asked:
        hits = search(question.text)
        found[question] = 1 / (hits.index(question.wanted) + 1) if question.wanted in hits else 0.0
    return found


def mean(found: dict[Question, float], kind: str) -> float:
    """Return the mean reciprocal rank of one kind of question."""
    return round(statistics.mean(rank for item, rank in found.items() if item.kind == kind), 3)


def within(found: dict[Question, float], kind: str) -> str:
    """Return how many questions of a kind found their run at all."""
    seen = [rank > 0 for item, rank in found.items() if item.kind == kind]
    return f"{sum(seen)} of {len(seen)}"


def reference(made: Sequence[dict[str, Any]], folder: Path) -> edge.EdgeShard:
    """Return a shard of Qdrant's core with the texts of the runs, by its own encoder."""
    sparse = edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)
    shard = edge.EdgeShard.create(str(folder), edge.EdgeConfig(sparse_vectors={"text": sparse}))
    encoder = edge.Bm25()
    points = []
    for item in made:
        record = records.from_report(item, None, ())
        vector = encoder.embed_document(records.search_text(record, []))
        points.append(edge.Point(str(uuid.uuid4()), {"text": vector}, {"run_id": record["run_id"]}))
    shard.update(edge.UpdateOperation.upsert_points(points))
    return shard


def by_reference(shard: edge.EdgeShard, words: str) -> list[str]:
    """Return what the shard finds, best first."""
    nearest = edge.Query.Nearest(edge.Bm25().embed_query(words), using="text")
    request = edge.QueryRequest(limit=_IN, query=nearest, with_payload=True)
    return [str((point.payload or {})["run_id"]) for point in shard.query(request)]
