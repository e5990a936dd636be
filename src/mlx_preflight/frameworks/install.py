"""Installation of a framework into a venv of its own with pip, and its time and size.

A finished installation leaves a stamp in the venv; an unfinished one leaves none and is
started again from nothing, so that its seconds are those of a complete installation.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mlx_preflight.core.child import child_environment, run_child
from mlx_preflight.core.child_run import ChildRun, log_tail
from mlx_preflight.core.errors import ChildError, ResultError, UsageError
from mlx_preflight.core.json_file import read_json, write_json
from mlx_preflight.frameworks.framework import Framework

STAMP, BEGUN = "mlx-preflight-framework.json", "mlx-preflight-framework.begun"
"""Written when an installation is finished, and when it begins."""

SEEDS = {"pip", "setuptools", "wheel"}
"""Packages that a new venv holds already."""

NOT_FOUND = "No matching distribution found"

_BROKEN = re.compile(r"after connection broken by '(.+)': ")
_QUOTE = re.compile(r"[\"']\)+$")


@dataclass(frozen=True, slots=True)
class FrameworkInstallation:
    """Contents of a venv.

    Attributes:
        install_s: Wall time of the pip commands; None when something else installed it.
        bytes: Size of what they added; likewise.
        packages: Distribution → version, without pip itself.
        requirements: What was asked for.
    """

    install_s: float | None
    bytes: int | None
    packages: dict[str, str] = field(default_factory=dict)
    requirements: tuple[tuple[str, ...], ...] = ()


def install(
    framework: Framework, python: Path, timeout_s: float, note: Callable[[str], None]
) -> FrameworkInstallation:
    """Install a framework into the venv of an interpreter, unless its stamp says it is there.

    Raises:
        ChildError: pip failed or ran past its time; the error holds its last lines.
    """
    venv = python.parent.parent
    found = _stamped(framework, venv)
    if found is not None:
        note(f"{framework.name}: installed already")
        return found
    _clear(venv)
    before = size_bytes(venv)
    started = time.perf_counter()
    for requirements in framework.requirements:
        note(f"{framework.name}: pip install {' '.join(requirements)}")
        _pip_install(python, venv, timeout_s, requirements)
    done = FrameworkInstallation(
        install_s=time.perf_counter() - started,
        bytes=size_bytes(venv) - before,
        packages=packages(venv),
        requirements=framework.requirements,
    )
    write_json(venv / STAMP, asdict(done))
    return done


def packages(venv: Path) -> dict[str, str]:
    """Return the distributions in a venv and their versions."""
    found = {}
    for folder in venv.glob("lib/python3.*/site-packages/*.dist-info"):
        name, _, version = folder.name.removesuffix(".dist-info").partition("-")
        if name.lower() not in SEEDS:
            found[name.lower().replace("_", "-")] = version
    return dict(sorted(found.items()))


def size_bytes(folder: Path) -> int:
    """Return the bytes of all files in a folder; links count for nothing."""
    total = 0
    for root, _, files in os.walk(folder):
        for file in files:
            path = Path(root) / file
            if not path.is_symlink():
                total += path.stat().st_size
    return total


def _stamped(framework: Framework, venv: Path) -> FrameworkInstallation | None:
    """Return what the stamp says, if it is of these requirements."""
    if not (venv / STAMP).is_file():
        return None
    try:
        data: dict[str, Any] = read_json(venv / STAMP)
        asked = tuple(tuple(line) for line in data.pop("requirements"))
        found = FrameworkInstallation(**data, requirements=asked)
    except (ResultError, KeyError, TypeError, AttributeError):
        return None  # damaged: install again
    return found if found.requirements == framework.requirements else None


def _clear(venv: Path) -> None:
    """Empty a venv that an installation of ours left unfinished, or of other requirements.

    What a full disk left half unpacked is no package that pip could uninstall, so whatever
    was not there before the first installation is removed.

    Raises:
        UsageError: Something else filled it; nothing of it is touched.
        ResultError: It cannot be written.
    """
    begun = venv / BEGUN
    if not begun.is_file() and (left := packages(venv)):
        raise UsageError(
            f"{venv} holds {len(left)} packages that no comparison installed",
            hint="name a new venv, or take it as it is with --no-install",
        )
    (venv / STAMP).unlink(missing_ok=True)
    if not begun.is_file():
        write_json(begun, sorted(_entries(venv)))
        return
    for name in _entries(venv).difference(read_json(begun)):
        path = venv / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _entries(venv: Path) -> set[str]:
    """Return the names in the folders of a venv that packages are unpacked into."""
    folders = ("*", "bin/*", "include/*", "lib/python3.*/*", "lib/python3.*/site-packages/*")
    found = {str(path.relative_to(venv)) for form in folders for path in venv.glob(form)}
    return found - {BEGUN, STAMP}


def _pip_install(python: Path, venv: Path, timeout_s: float, requirements: tuple[str, ...]) -> None:
    options = ("--no-input", "--disable-pip-version-check")
    environment = child_environment({"PIP_PROGRESS_BAR": "off"})
    # Code that pip compiles belongs to what an installation takes; it would lie elsewhere.
    environment.pop("PYTHONPYCACHEPREFIX", None)
    done = run_child(
        [str(python), "-m", "pip", "install", *requirements, *options],
        cwd=venv,
        timeout_s=timeout_s,
        env=environment,
    )
    if done.returncode != 0:
        log = log_tail(done.stdout, done.stderr)
        raise ChildError(f"pip install failed: {_cause(done, log)}", log=log)


def _cause(done: ChildRun, log: str) -> str:
    """Return why pip failed; without an index it only says that there is no such version."""
    causes = [line for line in log.splitlines() if line.startswith("ERROR")]
    if not causes:
        lines = log.splitlines() or ["no output"]
        return f"{done.exit_reason()}: {lines[-1]}"
    broken = _BROKEN.findall(done.stderr)
    if broken and NOT_FOUND in causes[-1]:
        why = broken[-1].rpartition(": ")[2]
        return f"the package index cannot be reached: {_QUOTE.sub('', why)}"
    return causes[-1]
