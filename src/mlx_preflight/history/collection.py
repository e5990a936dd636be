"""Form of runs in a collection of Qdrant: a sparse vector and three words each."""

from __future__ import annotations

import uuid
from typing import Any

from qdrant_client import QdrantClient, models

from mlx_preflight.history import encoder

VECTOR = "text"

_NAMESPACE = uuid.UUID("6f1c4f0e-3a55-5b0a-9d7f-0c6a2b7f1e11")
"""Makes point ids from run ids; without a meaning, never changed."""


def point_id(run_id: str) -> str:
    """Return the id of a run's point."""
    return str(uuid.uuid5(_NAMESPACE, run_id))


def point(run_id: str, revision: str, text: str) -> models.PointStruct:
    """Return a run as a point."""
    indices, values = encoder.encode_document(text)
    payload = {"run_id": run_id, "revision": revision, "encoder": encoder.VERSION}
    vector: dict[str, Any] = {VECTOR: models.SparseVector(indices=indices, values=values)}
    return models.PointStruct(id=point_id(run_id), vector=vector, payload=payload)


def create(client: QdrantClient, name: str) -> None:
    """Make an empty collection."""
    sparse = {VECTOR: models.SparseVectorParams(modifier=models.Modifier.IDF)}
    client.create_collection(name, vectors_config={}, sparse_vectors_config=sparse)


def of_other_encoders() -> models.Filter:
    """Return a filter of the points that another encoder made."""
    same = models.FieldCondition(key="encoder", match=models.MatchValue(value=encoder.VERSION))
    return models.Filter(must_not=[same])


def has_shape(client: QdrantClient, name: str) -> bool:
    """Return whether a collection holds what `create` makes."""
    sparse = client.get_collection(name).config.params.sparse_vectors or {}
    return VECTOR in sparse and sparse[VECTOR].modifier == models.Modifier.IDF
