"""Proposed files that bring the gates to a repository; nothing is written here."""

from __future__ import annotations

import ast
import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.adopt.survey import Survey
from mlx_preflight.core.errors import UsageError
from mlx_preflight.core.workspace import NAME
from mlx_preflight.plan.settings import ProjectSettings

NOXFILE = '''"""Run the quality gates: `nox`, `nox -s gates`, `nox -s summary`."""

from mlx_preflight import sessions

sessions.define()
'''

IMPORT = "import mlx_preflight.sessions"
"""A plain import, which sorts right before nox and takes no name that a noxfile may have."""

CALL = """

# The sessions of mlx-preflight, beside this project's own.
mlx_preflight.sessions.define()
"""
"""Two blank lines, which black wants after a function and accepts after anything."""

WORKFLOW = """# Written by `mlx-preflight init`: the same command runs locally.
name: preflight

on:
  push:
  pull_request:

permissions:
  contents: read

jobs:
  preflight:
    runs-on: ubuntu-24.04
    timeout-minutes: 60
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
        with:
          persist-credentials: false
      - uses: actions/setup-python@5fda3b95a4ea91299a34e894583c3862153e4b97 # v7.0.0
        with:
          python-version: "3.12"
      - name: Run the plan
        run: |
          python -m pip install "nox>=2026.8.17,<2027" "uv>=0.9,<1" mlx-preflight
          python -m nox
      - name: Show the verdict
        if: always()
        run: python -m mlx_preflight report --format summary >> "${GITHUB_STEP_SUMMARY}"
      - name: Keep the reports
        if: always()
        uses: actions/upload-artifact@bbbca2ddaa5d8feaa63e36b76fdaad77386f024f # v7.0.0
        with:
          name: preflight-report
          path: |
            .preflight/report.*
            .preflight/junit.xml
          if-no-files-found: error
          include-hidden-files: true
"""

WORKFLOW_PATH = ".github/workflows/preflight.yml"

IGNORED = (".nox/", f"{NAME}/")


@dataclass(frozen=True, slots=True)
class Change:
    """Change of one file.

    Attributes:
        path: File, relative to the project.
        before: Its text; None when it does not exist.
        after: Proposed text.
        why: What the change is for.
    """

    path: str
    before: str | None
    after: str
    why: str

    def diff(self) -> str:
        """Return the change as a unified diff."""
        lines = difflib.unified_diff(
            (self.before or "").splitlines(keepends=True),
            self.after.splitlines(keepends=True),
            "/dev/null" if self.before is None else f"a/{self.path}",
            f"b/{self.path}",
        )
        return "".join(lines)


def changes(project: Path, seen: Survey, *, workflow: bool = True) -> Iterator[Change]:
    """Yield what is missing; a file that already serves is left out."""
    yield from _noxfile(project)
    if not seen.table:
        before = _read(project / "pyproject.toml")
        text = _append(before, f"\n\n{table(seen)}") if before else table(seen)
        yield Change("pyproject.toml", before, text, "the limits that the gates judge by")
    if workflow and _read(project / WORKFLOW_PATH) is None:
        yield Change(WORKFLOW_PATH, None, WORKFLOW, "the same run in CI")
    before = _read(project / ".gitignore")
    missing = [name for name in IGNORED if name not in (before or "").split()]
    if missing:
        lines = "".join(f"{name}\n" for name in missing)
        text = _append(before, f"\n{lines}") if before and before.strip() else lines
        yield Change(".gitignore", before, text, "venvs and results stay out of git")


def remarks(project: Path, seen: Survey) -> Iterator[str]:
    """Yield remarks on existing files that keep the gates from running and are not changed."""
    if "nox" not in (_read(project / WORKFLOW_PATH) or "nox"):
        yield f"{WORKFLOW_PATH} is another workflow: it does not run the gates"
    if seen.beside:
        also = f"coverage of {seen.source} leaves out {', '.join(seen.beside)}"
        yield f"{also}: a folder above them as `source` has them all"
    if "options.sessions" in (_read(project / "noxfile.py") or ""):
        yield f"noxfile.py chooses what bare `nox` runs: the gates are `nox -s {seen.group}`"


def _noxfile(project: Path) -> Iterator[Change]:
    before = _read(project / "noxfile.py")
    if before is None:
        yield Change("noxfile.py", None, NOXFILE, "the sessions, from the package")
    elif "mlx_preflight" not in before:
        text = _append(_imported(before), f"\n{CALL}")
        yield Change("noxfile.py", before, text, "the sessions, added")


def _imported(text: str) -> str:
    """Return a noxfile with the import before that of nox, where an import sorter puts it.

    Raises:
        UsageError: It is no Python.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise UsageError(f"noxfile.py: line {error.lineno}: {error.msg}") from error
    body = [item for item in tree.body if not _opens(item)]
    of_nox = [item for item in body if _is_of_nox(item)]
    lines = text.splitlines(keepends=True)
    first = of_nox or body
    at = _line(first[0]) - 1 if first else len(lines)
    end = "\r\n" if "\r\n" in text else "\n"
    gap = "" if of_nox else end
    return "".join([*lines[:at], IMPORT + end + gap, *lines[at:]])


def _line(item: ast.stmt) -> int:
    parts: list[ast.expr] = getattr(item, "decorator_list", [])
    return min([item.lineno, *(part.lineno for part in parts)])


def _opens(item: ast.stmt) -> bool:
    """Return whether a statement must stay in front: a docstring or a future import."""
    future = isinstance(item, ast.ImportFrom) and item.module == "__future__"
    return future or (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))


def _is_of_nox(item: ast.stmt) -> bool:
    if isinstance(item, ast.ImportFrom):
        return str(item.module).partition(".")[0] == "nox" and not item.level
    return isinstance(item, ast.Import) and any(name.name == "nox" for name in item.names)


def table(seen: Survey) -> str:
    """Return the project's table with a comment on every key."""
    default = ProjectSettings()
    lines = [
        "[tool.mlx-preflight]",
        "# What bare `nox` runs: `gates`, or `preflight` for the whole plan with a model.",
        f"default-group = {json.dumps(seen.group)}",
        "# Folder whose line coverage counts, and its exact lower limit in percent.",
        f"source = {json.dumps(seen.source)}",
        f"coverage-min = {default.coverage_min:g}",
        "# Accepted findings where no baseline is recorded (`mlx-preflight baseline record lint`).",
        f"lint-max = {default.lint_max}",
        f"types-max = {default.types_max}",
        "# Unit tests that must pass, and tests that may be skipped for a stated reason.",
        "tests-min = 1",
        f"tests-skipped-max = {default.tests_skipped_max}",
    ]
    if seen.acceptance:
        lines += ["# Folder of the tests of gate 5.", f"acceptance = {json.dumps(seen.acceptance)}"]
    if seen.off:
        lines += ["", "[tool.mlx-preflight.off]", "# Gates that do not apply, and why."]
        lines += [f"{name} = {json.dumps(reason)}" for name, reason in seen.off.items()]
    return "\n".join(lines) + "\n"


def _append(before: str, text: str) -> str:
    """Return a file with a text at its end, in the line ends that it has."""
    return before.rstrip() + (text.replace("\n", "\r\n") if "\r\n" in before else text)


def _read(path: Path) -> str | None:
    """Return a file's text with its line ends as they are, or None when it is not there.

    Raises:
        UsageError: It is there and cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
