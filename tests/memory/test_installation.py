"""Faults of the installed versions, told from those of a config."""

from __future__ import annotations

from typing import NoReturn

import pytest

from mlx_preflight.core.errors import EstimateError, InstallationError, UntraceableError
from mlx_preflight.memory import installation


def fail(error: Exception) -> NoReturn:
    """Raise an error."""
    raise error


def test_an_exception_of_a_trace_names_itself_and_the_versions() -> None:
    """Its first line alone; what is judged already, and what is no such exception, stays."""
    with pytest.raises(UntraceableError, match=r"TypeError: a \(mlx .*, mlx-lm .*\)$"):
        installation.traced(lambda: fail(TypeError("a\nb")))
    with pytest.raises(EstimateError):
        installation.traced(lambda: fail(EstimateError("x", 1, "2")))
    assert installation.traced(lambda: 3) == 3


def test_a_part_of_the_trainer_that_fails_is_a_fault_of_the_installation() -> None:
    """Named by what it is."""
    with pytest.raises(InstallationError, match=r"the loss fails: AttributeError: x \(mlx"):
        installation.required("the loss", lambda: fail(AttributeError("x")))


def test_an_unknown_model_is_no_fault_of_the_installation() -> None:
    """mlx-lm turns every ImportError into the same words; the cause tells them apart."""
    missing = ModuleNotFoundError("No module", name="mlx_lm.models.nothing")
    installation.require_import("nothing", missing)
    installation.require_import("nothing", None)
    with pytest.raises(InstallationError, match="'qwen2' of mlx-lm cannot be imported"):
        installation.require_import("qwen2", ImportError("cannot import name 'x'"))
