"""The index of the history, where the plan looks for it."""

from mlx_preflight.history.qdrant_manager import QdrantManager

__all__ = ["QdrantManager"]
