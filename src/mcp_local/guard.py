"""Limit on the length of errors: one that quotes megabytes would stall the server.

The SDK repeats unknown names in its errors, and logs some of them with a traceback.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.types import INVALID_PARAMS
from pydantic import ValidationError

from mlx_preflight.core.text import truncate

MAX_ERROR = 2000
"""Characters of an error; a client that misspelt a thousand arguments learns enough from them."""


def log_plainly() -> None:
    """Log to stderr in plain lines; the SDK's default draws tables of the traceback there."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")


async def guard(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Pass a request on, and cut the error that comes back."""
    try:
        result = await call_next(ctx)
    except MCPError as error:
        data = error.error.data
        kept = data if data is None or len(str(data)) <= MAX_ERROR else None
        raise MCPError(error.error.code, truncate(error.error.message, MAX_ERROR), kept) from error
    except ValueError as error:
        if ctx.method != "prompts/get" or type(error) is not ValueError:
            raise
        # So the SDK refuses a prompt or its arguments; a client can act on it.
        raise MCPError(INVALID_PARAMS, truncate(f"{error}{_wrong(error)}", MAX_ERROR)) from None
    if isinstance(result, dict) and result.get("isError"):
        for part in _texts(result):
            part["text"] = truncate(part["text"], MAX_ERROR)
    return result


def _wrong(error: BaseException) -> str:
    """Return which arguments were refused and why, where that is known."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ValidationError):
        cause = cause.__cause__
    if cause is None:
        return ""
    found = cause.errors(include_url=False, include_input=False)
    return "".join(f"; {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in found)


def _texts(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (part for part in result.get("content", ()) if isinstance(part.get("text"), str))
