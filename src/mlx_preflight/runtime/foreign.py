"""Calls of code that others wrote, such as templates and tokenizers, in children."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def attempt(action: Callable[[], T]) -> T | Exception:
    """Return what an action returns, or the exception that it raised, whichever that is."""
    try:
        return action()
    except Exception as error:  # noqa: BLE001  (foreign code raises whatever it likes)
        return error
