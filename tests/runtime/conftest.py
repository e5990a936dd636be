"""Fixtures of the worker tests: a tiny real checkpoint, and no kernel compilation."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True, scope="module")
def _no_kernel_compilation() -> Iterator[None]:
    """MLX on a CPU compiles its first training step with g++, half a minute on a new machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLX_DISABLE_COMPILE", "1")
        yield


@pytest.fixture(scope="session")
def tiny_tools() -> Any:
    """Functions that write tiny checkpoints."""
    return runpy.run_path(str(Path(__file__).with_name("tiny.py")))


@pytest.fixture(scope="session")
def tiny(tiny_tools: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny random Qwen2 checkpoint."""
    return tiny_tools["build"](tmp_path_factory.mktemp("tiny") / "model")
