"""Limit of open files, and whether mlx_lm may set what it sets at import."""

from __future__ import annotations

import ast
import importlib.util
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.core.child import run_child
from mlx_preflight.core.errors import BlockedError

TIMEOUT_S = 30.0

_TRY = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({}, {}))"


@dataclass(frozen=True, slots=True)
class OpenFiles:
    """Limit of open files.

    Attributes:
        soft: In force; -1 is none.
        hard: Highest that a process may set; -1 is none.
        wanted: Soft and hard limit that mlx_lm sets at import; None where it sets none.
        refusal: Why a child could not set them; empty where it could.
    """

    soft: int
    hard: int
    wanted: tuple[int, int] | None
    refusal: str


def read_open_files() -> OpenFiles:
    """Read the limit, and let a child set what the installed mlx_lm sets.

    Raises:
        BlockedError: mlx_lm is not installed, or its source cannot be read.
        ChildError: The child ran past its time.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted, refusal = set_at_import(), ""
    if wanted is not None:
        # Tried, not compared: root may raise a hard limit.
        code = _TRY.format(*wanted)
        done = run_child((sys.executable, "-c", code), cwd=Path("/"), timeout_s=TIMEOUT_S)
        refusal = "" if done.returncode == 0 else done.tail(1) or done.exit_reason()
    return OpenFiles(soft, hard, wanted, refusal)


def set_at_import() -> tuple[int, int] | None:
    """Return the limits that the installed mlx_lm sets, read from its source, not imported.

    Raises:
        BlockedError: It is not installed, or its source cannot be read.
    """
    try:
        # The package itself is empty; its submodule `utils` sets them.
        found = importlib.util.find_spec("mlx_lm")
        folder = Path((found.submodule_search_locations or [""])[0]) if found else None
        if folder is None:
            raise BlockedError("mlx_lm is not installed", hint="`pip install mlx-lm`")
        tree = ast.parse((folder / "utils.py").read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise BlockedError(f"mlx_lm's source cannot be read: {error}") from error
    return next(_limits(tree), None)


def _limits(tree: ast.Module) -> Iterator[tuple[int, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setrlimit"):
            which, limits = node.args
            if "RLIMIT_NOFILE" in ast.unparse(which):
                soft, hard = ast.literal_eval(limits)
                yield int(soft), int(hard)
