"""Bounds of the tools' arguments, and the way of errors to the agent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from mlx_preflight.core.errors import PreflightError

PAGE = 50
"""Rows of one page."""

Name = Annotated[str, Field(min_length=1, max_length=128)]
Project = Annotated[str, Field(max_length=1000, description="Path or folder name; default: first.")]
Text = Annotated[str, Field(max_length=2000)]
Offset = Annotated[int, Field(ge=0, le=100_000)]
Model = Annotated[str, Field(max_length=500)]
Machine = Annotated[str, Field(max_length=200)]
Budget = Annotated[float, Field(gt=0, le=10_000)]
BatchSize = Annotated[int, Field(ge=1, le=1024)]
RowLength = Annotated[int, Field(ge=1, le=1_000_000)]
Layers = Annotated[int, Field(ge=-1, le=1000)]
Rank = Annotated[int, Field(ge=1, le=1024)]


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """Let what a user can act on reach the agent with its hint; the SDK masks all else."""
    try:
        yield
    except PreflightError as error:
        raise ToolError(f"{error}; {error.hint}" if error.hint else str(error)) from error
    except OSError as error:
        # No room, no right, or a file in a folder's place: a person can fix these.
        raise ToolError(f"{error.filename or 'the system'}: {error.strerror or error}") from error
