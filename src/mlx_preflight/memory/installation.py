"""Faults of the installed versions of mlx and mlx-lm, told from those of a config."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import TypeVar

from mlx_preflight.core.errors import InstallationError, UntraceableError

UNEXPORTABLE = "Unable to get state for primitive"
"""Message of mlx/export.cpp (0.32) for a primitive that cannot be exported."""

RAISED = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError),
    RuntimeError,
)
"""Exceptions that models of mlx_lm, and mlx itself, raise for what they cannot run."""

T = TypeVar("T")


def traced(make: Callable[[], T]) -> T:
    """Return what `make` traces; an exception of mlx or mlx_lm becomes one that names them.

    Raises:
        UntraceableError: The installed versions cannot run a step of the model.
    """
    try:
        return make()
    except RAISED as error:
        if UNEXPORTABLE in str(error):
            raise
        said = (str(error).splitlines() or ["no message"])[0]
        raise UntraceableError(
            f"a step cannot be traced: {type(error).__name__}: {said} ({pair()})",
            hint=OTHER_PAIR,
        ) from error


def required(what: str, make: Callable[[], T]) -> T:
    """Return what a part of mlx-lm's own trainer returns, without which no training can begin.

    Args:
        what: The part, in words.
        make: Calls it.

    Raises:
        InstallationError: It raises; the message names the exception and the versions.
    """
    try:
        return make()
    except RAISED as error:
        said = (str(error).splitlines() or ["no message"])[0]
        raise InstallationError(
            f"{what} fails: {type(error).__name__}: {said} ({pair()})", hint=OTHER_PAIR
        ) from error


def pair() -> str:
    """Return the versions that a step depends on, in words."""
    return f"mlx {version('mlx')}, mlx-lm {version('mlx-lm')}"


OTHER_PAIR = "install versions of mlx and mlx-lm that fit each other"


METAL_ONLY = "No Metal back-end"
"""Message of mlx/backend/common/metal_kernel.cpp (0.32) for a kernel of a model's own, on another
machine."""


NO_GRADIENT = ("Cannot calculate VJP", "during function transformation")
"""Messages of mlx (0.32) for a step whose gradient it cannot take, whatever the config says."""


def untrainable(kind: str, said: str) -> UntraceableError:
    """Return that the code of a model has no gradient under the installed versions."""
    return UntraceableError(
        f"model_type {kind!r} cannot be trained here: mlx finds no gradient of its code: {said} "
        f"({pair()})",
        hint=OTHER_PAIR,
    )


def metal_only(kind: str) -> UntraceableError:
    """Return that a model runs a kernel of Metal, which this machine cannot trace."""
    return UntraceableError(
        f"model_type {kind!r} runs a kernel of its own that MLX compiles for Metal alone: a limit "
        "of this machine, not of the model",
        hint="ask on a Mac",
    )


def ended(kind: str, printed: str) -> InstallationError:
    """Return that the file of a model ends the process that imports it, and what it said."""
    said = (printed.strip().splitlines() or ["without a word"])[-1]
    return InstallationError(
        f"the model {kind!r} of mlx-lm cannot be imported: its file ends the process: {said} "
        f"({pair()})",
        hint=said,
    )


def require_import(kind: str, cause: BaseException | None) -> None:
    """Raise where mlx_lm has a model, and what that imports is missing in the installation.

    Raises:
        InstallationError: It names the exception and the versions.
    """
    if not isinstance(cause, ImportError) or cause.name == f"mlx_lm.models.{kind}":
        return  # (mlx_lm reports every ImportError as an unknown architecture)
    raise InstallationError(
        f"the model {kind!r} of mlx-lm cannot be imported: {type(cause).__name__}: {cause} "
        f"({pair()})",
        hint=OTHER_PAIR,
    ) from cause
