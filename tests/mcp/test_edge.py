"""The embedded index ranks as Qdrant's own core does, which its server runs too.

Embedded mode is a second implementation, in Python; `qdrant-edge-py` is the Rust one. What a
team sees must not change when it moves its memory to a server.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import qdrant_edge as edge

from mlx_preflight.history import encoder, records
from mlx_preflight.history.collection import VECTOR, point_id
from mlx_preflight.history.qdrant_manager import QdrantManager
from tests.mcp.support import runs

if TYPE_CHECKING:
    from collections.abc import Iterator

REASONS = (
    "killed by SIGKILL: the system ran out of memory at max_seq_length 2048",
    "training loss became nan at step 12 with learning_rate 0.01",
    "cannot load adapters/0001200_adapters.safetensors: header is damaged",
    "decode speed 11.2 tokens/s is below 20 tokens/s on battery power",
    "the advisory service gave no answer: connection refused",
)
QUERIES = (
    "OOM",
    "max_seq_length 2048",
    "loss nan learning_rate",
    "0001200_adapters.safetensors",
    "slow decode on battery",
    "advisory service",
    "memory memory memory",
    "FAIL",
    "as required",
    "zebra",
)
EVERY = 500

NEAR = 1e-4
"""The core reckons in float32, where the frequency of a word in nearly every run loses digits."""


def texts() -> dict[str, str]:
    """Return texts of runs as the memory indexes them: five failures, a hundred distractors."""
    words = sorted({word for reason in REASONS for word in reason.split()})
    found = {}
    for number in range(100 + len(REASONS)):
        reason = (
            REASONS[number]
            if number < len(REASONS)
            else " ".join(words[(number * step) % len(words)] for step in range(1, 3 + number % 28))
        )
        record = records.from_report(runs.report(number, failed={"AC6.4": reason}), None, ())
        found[record["run_id"]] = records.search_text(record, [])
    return found


@pytest.fixture
def shard(tmp_path: Path) -> Iterator[edge.EdgeShard]:
    """Return an empty shard with the collection's configuration."""
    sparse = edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)
    made = edge.EdgeShard.create(
        str(tmp_path / "edge"), edge.EdgeConfig(sparse_vectors={VECTOR: sparse})
    )
    yield made
    made.close()


def fill(shard: edge.EdgeShard, found: dict[str, str]) -> None:
    """Give the shard the same points."""
    points = [
        edge.Point(
            point_id(name),
            {VECTOR: edge.SparseVector(*encoder.encode_document(text))},
            {"run_id": name},
        )
        for name, text in found.items()
    ]
    shard.update(edge.UpdateOperation.upsert_points(points))


def asked(shard: edge.EdgeShard, words: str) -> dict[str, float]:
    """Return what the shard finds: run id → score, best first."""
    nearest = edge.Query.Nearest(edge.SparseVector(*encoder.encode_query(words)), using=VECTOR)
    request = edge.QueryRequest(limit=EVERY, query=nearest, with_payload=True)
    return {str((point.payload or {})["run_id"]): point.score for point in shard.query(request)}


@pytest.mark.parametrize("place", ["memory", "path"])
def test_ranking_equals_that_of_qdrants_core(
    shard: edge.EdgeShard, tmp_path: Path, place: str
) -> None:
    """The same runs, the same scores and so the same order, for every query."""
    found = texts()
    index = QdrantManager(tmp_path / "index" if place == "path" else None)
    index.sync(dict.fromkeys(found, "1"), found.__getitem__)
    fill(shard, found)
    matched = 0
    for words in QUERIES:
        ours = index.search(words, found, EVERY)
        theirs = asked(shard, words)
        assert dict(ours) == pytest.approx(theirs, rel=NEAR), words
        inorder = [theirs[name] for name, _ in ours]
        assert all(after <= before * (1 + NEAR) for before, after in itertools.pairwise(inorder)), (
            words
        )
        matched += len(ours)
    index.close()
    assert matched > len(found)


def test_ranking_stays_equal_after_runs_were_pruned(shard: edge.EdgeShard) -> None:
    """What was deleted counts in no frequency: the scores are those of a fresh collection."""
    found = texts()
    index = QdrantManager()
    index.sync(dict.fromkeys(found, "1"), found.__getitem__)
    kept = dict(list(found.items())[::3])
    index.sync(dict.fromkeys(kept, "1"), kept.__getitem__)
    fill(shard, kept)
    for words in QUERIES:
        assert dict(index.search(words, found, EVERY)) == pytest.approx(
            asked(shard, words), rel=NEAR
        )
