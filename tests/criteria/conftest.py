"""Judge edited copies of the shipped documents through their session, as a user would."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlx_preflight.plan import register, settings
from mlx_preflight.run import session as runner
from mlx_preflight.run.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlx_preflight.core.result import CheckResult

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("T001_framework_evaluation.md", "FRAMEWORK_SETUP.md")


@pytest.fixture
def shipped() -> dict[str, str]:
    """Return the text of the shipped documents by name."""
    folder = ROOT / "docs" / "training"
    return {name: (folder / name).read_text(encoding="utf-8") for name in NAMES}


@pytest.fixture
def judge(
    tmp_path: Path, shipped: dict[str, str]
) -> Callable[[str, dict[str, str | bytes | None]], dict[str, CheckResult]]:
    """Return a function that judges a project whose documents are the shipped ones but for some.

    A document given as None is left out.
    """

    def run(session_id: str, documents: dict[str, str | bytes | None]) -> dict[str, CheckResult]:
        folder = tmp_path / "docs" / "training"
        shutil.copytree(ROOT / "docs" / "training", folder)
        scripts = tmp_path / "scripts" / "training"
        scripts.mkdir(parents=True)
        for path in (ROOT / "scripts" / "training").glob("*_*.py"):
            shutil.copy(path, scripts)
        for name in NAMES:
            (folder / name).unlink()
        (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
        for name, text in {**shipped, **documents}.items():
            if text is not None:
                raw = text if isinstance(text, bytes) else text.encode()
                (folder / name).write_bytes(raw)
        context = Context.of(tmp_path, settings.ProjectSettings(), run_id="r1")
        session, _ = register.find_session(session_id)
        return {item.id: item for item in runner.run_session(session, context).checks}

    return run


@pytest.fixture
def edit(shipped: dict[str, str]) -> Callable[[str, str, str], str]:
    """Return a function that replaces a passage of a shipped document, up to `…` if it has one."""

    def replace(name: str, old: str, new: str) -> str:
        text = shipped[name]
        start, _, end = old.partition("…")
        assert text.count(start) == 1, f"{start!r} occurs {text.count(start)} times"
        begin = text.index(start)
        stop = text.index(end, begin + len(start)) if end else begin + len(start)
        return text[:begin] + new + text[stop:]

    return replace
