"""A shell in which documented commands are typed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def type_command() -> Callable[[str, Path, Path], subprocess.CompletedProcess[str]]:
    """Return a function that runs a command line as a reader types it."""
    drop = ("NOX_", "PREFLIGHT_", "COV_CORE", "COVERAGE_")
    # A reader's shell is not CI, which writes no baseline.
    kept = {
        key: value for key, value in os.environ.items() if key != "CI" and not key.startswith(drop)
    }

    def run(command: str, folder: Path, scratch: Path) -> subprocess.CompletedProcess[str]:
        env = kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
            "TMP": str(scratch),
            "COVERAGE_FILE": str(scratch / "coverage"),
            "PYTHONWARNINGS": "ignore",
        }
        return subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run
