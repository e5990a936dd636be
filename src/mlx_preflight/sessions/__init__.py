"""The plan as nox sessions: a noxfile imports this and calls `define`."""

from mlx_preflight.sessions.define import define

__all__ = ["define"]
