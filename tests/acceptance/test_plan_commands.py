"""The test plan's shell commands, as typed in the project root."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TABLE: list[dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("plan_commands.toml").read_text(encoding="utf-8")
)["command"]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that stands for /tmp in the plan's commands."""
    return tmp_path_factory.mktemp("plan")


@pytest.mark.parametrize(
    "row", TABLE, ids=[f"{n:02}-{row['row'].replace(' ', '_')}" for n, row in enumerate(TABLE)]
)
def test_the_command_works_as_typed(
    row: dict[str, Any],
    scratch: Path,
    type_command: Callable[[str, Path, Path], subprocess.CompletedProcess[str]],
) -> None:
    """A command of the plan, or its nearest honest form, prints what the plan reads from it."""
    if "works" in row:
        assert len(row["reason"].split()) > 5, "a command that cannot hold needs a reason"
    done = type_command(row.get("works", row["run"]), ROOT, scratch)
    output = done.stdout + done.stderr
    assert re.search(row["want"], output, re.MULTILINE), output[-3000:]
    assert "Traceback" not in output
    assert not re.search(r"^FAIL", output, re.MULTILINE)
    assert "not_want" not in row or not re.search(row["not_want"], output, re.MULTILINE)
