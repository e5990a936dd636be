"""The folders of the sources: arrows go down, no circle, nothing to install below."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import layout
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from layout import Layout

ORDER = (
    # Who is spoken to: a command line, an agent, nox.
    *("cli", "mcp_local", "sessions"),
    # What is answered.
    *(
        "adopt",
        "history",
        "selftest",
        "training",
        "criteria",
        "gates",
        "documents",
        "handoff",
        "report",
    ),
    "doctor",
    # What runs, and what is known of it.
    *("run", "frameworks", "runtime", "memory", "models"),
    # What is to be run, and what stands on nothing.
    *("plan", "core"),
)
"""Folders from the top down; one may import only those after it. A new folder is put here."""

LIGHT = ("core", "plan")
"""Folders that need the standard library only."""

NOXFILE = "mlx_preflight.sessions"

ROOT = ["__init__.py", "__main__.py"]


def topic(found: Layout, module: str) -> str:
    """Return the folder of `ORDER` that a module belongs to; empty at the package's root."""
    first, *rest = found.paths[module].parent.parts
    return first if first != "mlx_preflight" else "".join(rest[:1])


def arrows(found: Layout) -> list[str]:
    """Return the imports that go up, and the folders that the order does not name."""
    wrong = []
    for module, target in found.inner():
        upper, lower = topic(found, module), topic(found, target)
        if upper == lower or not (upper and lower):
            # The version at the root is everybody's; `__main__` is above all.
            if lower == "" and target != "mlx_preflight":
                wrong.append(f"{module} imports {target}")
            continue
        if missing := {upper, lower} - set(ORDER):
            wrong.append(f"{missing} of {module} or {target} is not in the order")
        elif ORDER.index(upper) > ORDER.index(lower):
            wrong.append(f"{module} imports {target}, which is above it")
    return wrong


def foreign(found: Layout, module: str, *, at_start: bool) -> set[str]:
    """Return the top-level packages that a module imports from outside."""
    own = {name.partition(".")[0] for name in found.paths}
    return {
        top
        for item in found.imports[module]
        if item.at_start or not at_start
        for top in [item.module.partition(".")[0]]
        if top not in own and top not in sys.stdlib_module_names
    }


def installed(found: Layout) -> list[str]:
    """Return what must be installed where a bare Python has to do."""
    wrong = [
        f"{module} imports {name}"
        for module in found.paths
        if topic(found, module) in LIGHT
        for name in sorted(foreign(found, module, at_start=False))
    ]
    for module in sorted(found.started(NOXFILE)):
        allowed = {"nox"} if topic(found, module) == "sessions" else set()
        wrong += [
            f"the noxfile needs {name} by {module}"
            for name in sorted(foreign(found, module, at_start=True) - allowed)
        ]
    return wrong


@pytest.fixture(scope="module")
def sources() -> Layout:
    """Return the layout of this project's sources."""
    return layout.read(layout.SRC)


def test_arrows_go_down(sources: Layout) -> None:
    """No folder imports one that stands above it; deferred imports count."""
    assert arrows(sources) == []


def test_no_circle_of_files(sources: Layout) -> None:
    """No files import each other in a loop, also not inside functions or for types only."""
    assert sources.circles() == []


def test_a_bare_python_is_enough_below(sources: Layout) -> None:
    """`core`, `plan` and what a noxfile imports need the standard library, and there nox."""
    assert installed(sources) == []


def test_the_noxfile_reaches_the_plan(sources: Layout) -> None:
    """The check above looks at something."""
    assert {"mlx_preflight.core.errors", "mlx_preflight.plan.register"} < sources.started(NOXFILE)


def test_the_root_of_the_package_is_empty(sources: Layout) -> None:
    """Beside `py.typed` only the version and the entry point lie at the root."""
    assert layout.at_root(sources) == ROOT
    root = {path.name for path in (layout.SRC / "mlx_preflight").iterdir() if path.is_file()}
    assert root == {*ROOT, "py.typed"}


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("plan/spec.py", "import mlx_preflight.cli.app", "which is above it"),
        ("core/a.py", "def f():\n    from mlx_preflight.plan import spec", "which is above it"),
        ("run/a.py", "from ..report import write", "which is above it"),
        ("odd/a.py", "from mlx_preflight.core import errors", "not in the order"),
        ("core/a.py", "from mlx_preflight import __main__", "imports mlx_preflight.__main__"),
        ("memory/replay/a.py", "import mlx_preflight.runtime.b", "which is above it"),
    ],
)
def test_an_arrow_that_goes_up_is_found(tmp_path: Path, file: str, text: str, said: str) -> None:
    """Whatever form the import has."""
    assert said in "".join(arrows(planted(tmp_path, {file: text})))


@pytest.mark.parametrize(
    "back",
    [
        "from mlx_preflight.core import a",
        "def f():\n    import mlx_preflight.core.a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import x",
    ],
)
def test_a_circle_is_found(tmp_path: Path, back: str) -> None:
    """Also one through a third file, a function, or types."""
    files = {"core/a.py": "from . import b", "core/b.py": "from . import c", "core/c.py": back}
    names = [f"mlx_preflight.core.{name}" for name in "abc"]
    assert planted(tmp_path, files).circles() == [names]


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("core/a.py", "def f():\n    import numpy", "mlx_preflight.core.a imports numpy"),
        ("plan/spec.py", "import rich.table", "mlx_preflight.plan.spec imports rich"),
        ("run/a.py", "try:\n    import psutil\nexcept ImportError:\n    pass", "needs psutil"),
        ("run/__init__.py", "import psutil", "needs psutil by mlx_preflight.run"),
        ("run/a.py", "import nox", "needs nox by mlx_preflight.run.a"),
    ],
)
def test_what_must_be_installed_is_found(tmp_path: Path, file: str, text: str, said: str) -> None:
    """In what is light wherever it stands, and in what the noxfile starts."""
    assert said in "".join(installed(planted(tmp_path, {file: text})))


def test_a_clean_tree_has_nothing_to_say(tmp_path: Path) -> None:
    """What a function defers, or types alone need, is no burden of the noxfile."""
    text = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy\n"
        "def f():\n    import psutil\n"
    )
    found = planted(tmp_path, {"run/a.py": text})
    assert (arrows(found), found.circles(), installed(found)) == ([], [], [])


def planted(src: Path, files: dict[str, str]) -> Layout:
    """Return the layout of a small tree."""
    clean = {
        "__init__.py": "",
        "__main__.py": "from mlx_preflight.cli import app",
        "cli/app.py": "import mlx_preflight.report.write",
        "sessions/__init__.py": "import nox\nfrom mlx_preflight.run import a",
        "run/a.py": "from mlx_preflight.plan import spec",
        "runtime/b.py": "import mlx.core",
        "report/write.py": "",
        "plan/spec.py": "from mlx_preflight.core.errors import x",
        "core/errors.py": "import json",
    }
    for name, text in {**clean, **files}.items():
        path = src / "mlx_preflight" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return layout.read(src)
