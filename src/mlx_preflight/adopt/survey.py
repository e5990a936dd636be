"""Survey of a repository: which gates apply to it, and with which settings."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import UsageError
from mlx_preflight.plan import register

TRAINS = ("mlx-lm", "mlx_lm", "mlx")
"""A project that depends on one of these has a model to qualify."""

_NO_PACKAGES = frozenset({"tests", "test", "docs", "node_modules", "venv", "build", "dist"})

_INNER = ("*/src/*", "*/*/src/*", "*/*", "*/*/*")
"""Places of the packages of a workspace's members, below the root."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Layout of a repository, and the settings that follow from it.

    Attributes:
        layout: `src`, `flat`, `workspace` or `scripts`.
        source: Folder whose coverage counts.
        acceptance: Folder of the acceptance tests, or empty.
        group: Default group: the whole plan where a model is trained, else the gates.
        off: Session → why it cannot apply.
        table: Whether pyproject.toml already has the pipeline's table.
        beside: Packages at the root whose coverage does not count.
    """

    layout: str
    source: str
    acceptance: str
    group: str
    off: dict[str, str] = field(default_factory=dict)
    table: bool = False
    beside: tuple[str, ...] = ()


def survey_project(project: Path) -> Survey:
    """Survey a project's root.

    Raises:
        UsageError: It is no folder, has no Python file, or its pyproject.toml is no TOML.
    """
    if not project.is_dir():
        raise UsageError(f"{project}: not a folder")
    document = _document(project / "pyproject.toml")
    layout, source, beside = _layout(project, document)
    acceptance = next(
        (
            name
            for name in ("tests/acceptance", "tests/integration", "tests/e2e")
            if (project / name).is_dir()
        ),
        "",
    )
    off = {}
    if not acceptance:
        off[register.GATE5_INTEGRATION] = "no folder of acceptance or integration tests"
    if not ({"build-system", "project"} & set(document) or (project / "setup.py").is_file()):
        off[register.GATE7_BUILD] = "scripts only: there is no package to build"
    about = document.get("project", {})
    needs = [str(line) for line in about.get("dependencies", [])]
    described = "name" in about
    if not described and register.GATE7_BUILD in off:
        off[register.GATE8_AUDIT] = "no [project] table, so nothing says what runs"
    elif described and not needs and "dependencies" not in about.get("dynamic", []):
        off[register.GATE8_AUDIT] = "no runtime dependency, so there is nothing to audit"
    trains = any(line.startswith(TRAINS) for line in needs)
    return Survey(
        layout,
        source,
        acceptance,
        "preflight" if trains else "gates",
        off,
        "mlx-preflight" in document.get("tool", {}),
        beside,
    )


def _document(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error
    for name in ("project", "tool"):
        if not isinstance(document.get(name, {}), dict):
            raise UsageError(f"{path}: {name}: expected a table")
    return document


def _layout(project: Path, document: dict[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    """Return layout, source and the packages that it leaves out."""
    if any((project / "src").glob("**/*.py")):
        return "src", "src", ()
    name = str(document.get("project", {}).get("name", project.name))
    packages = sorted(path.name for path in _packages(project, "*"))
    wanted = name.lower().replace("-", "_").replace(".", "_")
    if packages:
        source = wanted if wanted in packages else packages[0]
        return "flat", source, tuple(item for item in packages if item != source)
    if inner := [path for form in _INNER for path in _packages(project, form)]:
        above = {path.relative_to(project).parts[0] for path in inner}
        return "workspace", above.pop() if len(above) == 1 else ".", ()
    if not any(project.glob("*.py")) and not any(project.glob("*/*.py")):
        raise UsageError(f"{project}: no Python file here", hint="name a project's root")
    return "scripts", ".", ()


def _packages(project: Path, form: str) -> Iterator[Path]:
    """Yield the folders of packages in places of a form; those of tests and tools are none."""
    for path in project.glob(f"{form}/__init__.py"):
        parts = path.parent.relative_to(project).parts
        if not any(part.startswith(".") or part in _NO_PACKAGES for part in parts):
            yield path.parent
