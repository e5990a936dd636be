"""The history of runs, where the plan looks for it."""

from mlx_preflight.history.memory_manager import MemoryManager

__all__ = ["MemoryManager"]
