"""The one JSON document that a command prints on stdout with `--json`, an error included."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from mlx_preflight.core.errors import ERROR_FIELDS

FLAG = "--json"

_printed: list[str] = []
"""Documents of this command so far: after one of them, an error is told on stderr alone."""


def begin() -> None:
    """Forget what an earlier command of this process printed."""
    _printed.clear()


def print_document(document: object) -> None:
    """Print one JSON document on stdout."""
    text = json.dumps(document, sort_keys=True, indent=1, allow_nan=False)
    _printed.append(text)
    print(text, flush=True)


def print_error(message: str, hint: str, code: int, arguments: Sequence[str]) -> None:
    """Print an error as the document of a command that was asked for one.

    Args:
        message: What failed.
        hint: What to do about it; may be empty.
        code: Exit code that follows.
        arguments: As typed; those behind `--` are of another program.
    """
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if FLAG in own and not _printed and sys.stdout is not None:
        print_document(dict(zip(ERROR_FIELDS, (message, hint, int(code)), strict=True)))
