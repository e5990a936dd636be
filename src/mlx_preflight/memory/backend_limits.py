"""What a backend of MLX cannot run: a limit of the backend, and no fault of the model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mlx_preflight.core.errors import BlockedError

if TYPE_CHECKING:
    from mlx_preflight.memory.replay.graph import Graph

FLOAT32_ONLY = {"cpu": frozenset({"GatherMM", "BlockMaskedMM"})}
"""Backend → primitives that it computes in float32 alone (mlx/backend/cpu/masked_mm.cpp 0.32)."""

REFUSED = re.compile(r"\[(\w+)::eval\w*\] (?:Currently )?only supports float32")
"""Message of MLX for them, in the middle of a run."""

REMEDY = "take float32 or quantized experts (--dtype float32, --bits 4), or run on Metal"


def limit(primitive: str, backend: str) -> BlockedError:
    """Return that a backend does not run a primitive, with the remedy."""
    return BlockedError(
        f"the {backend} backend of MLX computes {primitive}, the product of experts, in float32 "
        "only: a limit of this backend, not of the model",
        hint=REMEDY,
    )


def check(graphs: Iterable[Graph], backend: str) -> None:
    """Refuse a traced run that the backend would end with an error.

    Raises:
        BlockedError: A primitive whose type the backend does not have; the hint is the remedy.
    """
    names = FLOAT32_ONLY.get(backend, frozenset())
    for graph in graphs:
        for node in graph.nodes:
            if node.name in names and graph.dtypes[node.outputs[0]] != "float32":
                raise limit(node.name, backend)


def of_message(text: str) -> BlockedError | None:
    """Return the limit that MLX's message of a run on the CPU tells of; None for none."""
    found = REFUSED.search(text)
    return limit(found[1], "cpu") if found and found[1] in FLOAT32_ONLY["cpu"] else None
