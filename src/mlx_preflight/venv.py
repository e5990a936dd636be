"""Fill a session's venv: this package, the tool that is run, and what the project needs.

Imported by nox before anything else is installed, like `sessions`.
"""

from __future__ import annotations

import importlib.metadata
import json
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import nox

from mlx_preflight import __version__, plan
from mlx_preflight.errors import UsageError
from mlx_preflight.json_file import write_text

MODEL_STACK = ("mlx-lm", "mlx", "transformers", "huggingface-hub", "numpy")
"""Dependencies of the package that a venv for a mere tool can do without."""

TESTS = ("tests", "test", "testing", "dev")
"""Names that projects give to what their tests need, the first one found is taken."""

PACKAGE = Path(__file__).resolve().parents[2]
"""Source tree of this package, when it runs from one."""


def install(session: nox.Session, spec: plan.Session, project: Path) -> None:
    """Install what a session of the plan needs into its venv.

    Raises:
        CommandFailed: An installation failed.
        PreflightError: The project does not say in a usable way what it needs.
    """
    if spec.stack == "tool":
        install_harness(session, *spec.requirements)
        return
    wanted = _project(project, tests=spec.stack == "tests")
    if project == PACKAGE:
        _install_once(session, [*wanted, *spec.requirements])
        return
    # Another project may compile what it installs, so it is installed anew in every run. Its
    # pins may be of other versions than the tools; those come after it.
    for packages in filter(None, (wanted, list(spec.requirements))):
        session.install(*packages)
    if spec.stack == "model":
        session.install(*_harness())
    else:
        install_harness(session)


def install_harness(session: nox.Session, *tools: str) -> None:
    """Install this package without the model stack, and the tools beside it."""
    light = [line for line in _dependencies() if not line.startswith(MODEL_STACK)]
    _install_once(session, [*light, *tools], ["--no-deps", *_harness()])


def _install_once(session: nox.Session, *commands: list[str]) -> None:
    """Install what this package's own source tree or release asks for, if not yet done.

    An editable install reads the sources anew in every run; only pyproject.toml can change
    what it needs. Rebuilding its metadata would take longer than many a session.
    """
    table = PACKAGE / "pyproject.toml"
    text = table.read_text(encoding="utf-8") if table.is_file() else __version__
    asked = json.dumps([commands, text])
    stamp = Path(session.virtualenv.location) / "mlx-preflight-installed.json"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == asked:
        session.log("already installed: %s", " ".join(chain.from_iterable(commands)))
        return
    stamp.unlink(missing_ok=True)
    for command in commands:
        session.install(*command)
    write_text(stamp, asked)


def _harness() -> list[str]:
    """Return what installs this package: its source tree, or the released version."""
    if (PACKAGE / "pyproject.toml").is_file():
        return ["-e", str(PACKAGE)]
    return [f"mlx-preflight=={__version__}"]


def _dependencies() -> list[str]:
    if not (PACKAGE / "pyproject.toml").is_file():
        every = importlib.metadata.requires("mlx-preflight") or []
        return [line for line in every if "extra ==" not in line]
    with (PACKAGE / "pyproject.toml").open("rb") as stream:
        lines: list[str] = tomllib.load(stream)["project"]["dependencies"]
    return lines


def _project(project: Path, *, tests: bool) -> list[str]:
    """Return what installs a project, as far as it says how: package, extra, group or list."""
    with (project / "pyproject.toml").open("rb") as stream:
        document = tomllib.load(stream)
    packaged = {"project", "build-system"} & set(document) or (project / "setup.py").is_file()
    extras = _table(_table(document, "project"), "optional-dependencies")
    groups = _table(document, "dependency-groups")
    wanted = []
    if packaged:
        extra = next((name for name in TESTS if tests and name in extras), "")
        wanted += ["-e", f".[{extra}]" if extra else "."]
    group = next((name for name in TESTS if tests and name in groups), "")
    wanted += ["--group", group] if group else []
    forms = ("requirements-{}.txt", "{}-requirements.txt", "requirements/{}.txt")
    names = [form.format(name) for name in TESTS for form in forms] if tests else []
    # Of several lists the first: each pins the versions of its own purpose.
    lists = [next((name for name in names if (project / name).is_file()), "")]
    lists += (
        [] if packaged or not (project / "requirements.txt").is_file() else ["requirements.txt"]
    )
    for name in filter(None, lists):
        wanted += ["-r", name]
    return wanted


def _table(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a table of pyproject.toml, empty where there is none."""
    found = document.get(name, {})
    if not isinstance(found, dict):
        raise UsageError(f"pyproject.toml: {name}: expected a table, found {found!r}")
    return found
