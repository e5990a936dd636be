"""Environments of the plan's sessions: one for the harness, one for the project that is judged.

The harness (this package and the tools that look at a project from outside) has a venv of its
own, shared by all sessions. A session's venv holds the project and what judges it from inside,
resolved together; nothing is installed into it later, so nothing replaces what the project
pins. Imported by nox before anything else is installed, like `sessions`.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import nox
from nox.command import CommandFailed
from nox.virtualenv import HAS_UV, UV, PassthroughEnv

import mlx_preflight
from mlx_preflight import __version__
from mlx_preflight.core.errors import ExitCode, PreflightError
from mlx_preflight.core.json_file import write_text
from mlx_preflight.core.text import redact
from mlx_preflight.plan import project_requirements, register
from mlx_preflight.plan import spec as plan

MODEL_STACK = ("mlx-lm", "mlx", "transformers", "huggingface-hub", "numpy")
"""Dependencies of the package that the harness does without: it starts no model itself."""

ROOT = Path(mlx_preflight.__file__).resolve().parents[1]
"""Folder that this package is imported from: `src` of its source tree, or site-packages."""

PACKAGE = ROOT.parent
"""Source tree of this package, when it runs from one."""

PACKAGES = ("mlx_preflight", "mcp_local")

INSTALL_HINT = "loosen one of the requirements named, or turn the session off with its reason"

BUILD_HINT = "it does not build by hand either: see what `pip install -e .` says"

_PACKAGE = re.compile(r" [+~-] |Requirement already satisfied")
"""Lines of an installer that name one package each; a report lists what is there."""

_KEPT = 600
"""Characters of a resolver's sentence."""

_SITE = "lib/python*/site-packages"

_STAMP = "mlx-preflight-installed.json"
"""Written once an installation ended well; a venv without it is not used again."""


class InstallError(PreflightError):
    """An installation that failed, with the resolver's own sentence."""

    exit_code = ExitCode.NOT_JUDGED


def harness(session: nox.Session) -> Path:
    """Return the interpreter of the harness, whose venv is made if it is not there.

    The sessions of a run start side by side, so the first one makes it and the others wait.

    Raises:
        InstallError: It cannot be made.
    """
    try:
        folder = session.cache_dir.resolve() / "mlx-preflight"
        folder.mkdir(exist_ok=True)
        return _made(session, folder)
    except OSError as error:
        raise InstallError(f"the venv of the harness cannot be made: {error}") from error


def _made(session: nox.Session, folder: Path) -> Path:
    python = folder / "venv" / "bin" / "python"
    tools = sorted({need for spec in register.SESSIONS for need in spec.tools})
    wanted = [*(line for line in dependencies() if not line.startswith(MODEL_STACK)), *tools]
    with _locked(folder / "lock"):
        if not _is_installed(folder / "venv", wanted):
            session.log("making the venv of the harness: %s", " ".join(wanted))
            shutil.rmtree(folder / "venv", ignore_errors=True)
            if HAS_UV:
                _call([UV, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")])
                _call([UV, "pip", "install", "--python", str(python), *wanted])
            else:
                _call([sys.executable, "-m", "venv", str(folder / "venv")])
                _call([str(python), "-m", "pip", "install", *wanted])
            link(folder / "venv", folder)
            _write_stamp(folder / "venv", wanted)
    return python


def install(session: nox.Session, spec: plan.Session, project: Path) -> Path:
    """Install what a session judges into its venv, in one resolution.

    Returns:
        The interpreter of that venv.

    Raises:
        InstallError: An installation failed.
        PreflightError: The project does not say in a usable way what it needs.
    """
    if isinstance(session.virtualenv, PassthroughEnv):
        raise InstallError(
            f"{spec.id} judges the project in a venv of its own, and nox was told to make none",
            hint=f"without nox: `mlx-preflight check {spec.id} --python PYTHON`",
        )
    folder = Path(session.virtualenv.location).resolve()
    needs = project_requirements.find(project, tests=spec.stack == "tests")
    wanted = [*needs.arguments, *spec.requirements]
    if spec.stack == "model" and project != PACKAGE:
        wanted += dependencies()
    asked = [*wanted, *needs.texts]
    if not _is_installed(folder, asked):
        _empty(session, folder)
    elif project == PACKAGE:
        # An editable install reads the current sources; only pyproject.toml can change what it
        # needs. Rebuilding its metadata would take longer than many a session.
        return folder / "bin" / "python"
    # Another project may compile what it installs, so it is installed again in every run.
    if not wanted or _install(session, wanted):
        if spec.stack == "model" and project != PACKAGE:
            link(folder, session.cache_dir.resolve() / "mlx-preflight")
        _write_stamp(folder, asked)
    return folder / "bin" / "python"


def _empty(session: nox.Session, folder: Path) -> None:
    """Take everything out of a reused venv: what is no longer required could still be imported."""
    (folder / _STAMP).unlink(missing_ok=True)
    if session._runner.global_config.no_install:  # noqa: SLF001  (`-R` has no public name)
        return
    # A disk that was full left a part of it: uv then finds no venv there, for ever.
    config, program = folder / "pyvenv.cfg", folder / "bin" / "python"
    whole = config.is_file() and config.stat().st_size > 0 and os.access(program, os.X_OK)
    packages = folder.glob(f"{_SITE}/*.dist-info")
    if whole and all(info.name.startswith("pip-") for info in packages):
        return
    python = os.path.realpath(program) if whole else sys.executable
    if HAS_UV:
        _call([UV, "venv", "--quiet", "--clear", "--python", python, str(folder)])
    else:
        _call([python, "-m", "venv", "--clear", str(folder)])


def link(venv: Path, beside: Path) -> None:
    """Let a venv import this package, and nothing else from the folder where it is installed.

    Works for every way in which the package itself was installed, and asks no index for it.
    """
    source = ROOT
    if not (PACKAGE / "pyproject.toml").is_file():
        source = beside / "path"
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir(parents=True)
        metadata = importlib.metadata.distribution("mlx-preflight")
        info = Path(str(metadata.locate_file("."))) / f"mlx_preflight-{__version__}.dist-info"
        for path in (*(ROOT / name for name in PACKAGES), info):
            (source / path.name).symlink_to(path)
    (site,) = venv.glob(_SITE)
    (site / "_mlx_preflight.pth").write_text(f"{source}\n", encoding="utf-8")


def dependencies() -> list[str]:
    """Return the requirements of this package, without its extras."""
    if not (PACKAGE / "pyproject.toml").is_file():
        every = importlib.metadata.requires("mlx-preflight") or []
        return [line for line in every if "extra ==" not in line]
    with (PACKAGE / "pyproject.toml").open("rb") as stream:
        lines: list[str] = tomllib.load(stream)["project"]["dependencies"]
    return lines


def _is_installed(folder: Path, wanted: Sequence[str]) -> bool:
    stamp = folder / _STAMP
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == _stamp(wanted)


def _write_stamp(folder: Path, wanted: Sequence[str]) -> None:
    write_text(folder / _STAMP, _stamp(wanted))


def _stamp(wanted: Sequence[str]) -> str:
    table = PACKAGE / "pyproject.toml"
    text = table.read_text(encoding="utf-8") if table.is_file() else __version__
    return json.dumps([list(wanted), text, str(ROOT), sys.version])


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for a file lock that ends with the process."""
    with path.open("w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _install(session: nox.Session, wanted: Sequence[str]) -> bool:
    """Run nox's own installation; return whether it ran, which `nox -R` does not let it."""
    lines: list[str] = []
    try:
        with _show_and_keep(lines) as stream:
            session.install(*wanted, silent=False, stdout=stream)
    except CommandFailed as error:
        said = sentence(lines) or str(error)
        raise InstallError(said, hint=way_out(said)) from error
    return bool(lines)


def way_out(said: str) -> str:
    """Return advice on a failed installation: a build that fails is no conflict of versions."""
    return BUILD_HINT if re.search("(?i)failed to build|build backend", said) else INSTALL_HINT


def _call(command: Sequence[str]) -> None:
    lines: list[str] = []
    with _show_and_keep(lines) as stream:
        done = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        said = sentence(lines) or f"{Path(command[0]).name} exited {done.returncode}"
        raise InstallError(said)


@contextmanager
def _show_and_keep(lines: list[str]) -> Iterator[IO[str]]:
    """Yield a stream whose lines are shown at once and kept."""
    reader, writer = os.pipe()

    def show() -> None:
        with os.fdopen(reader, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                lines.append(line.rstrip())
                if not _PACKAGE.match(line):
                    print(redact(line), end="", file=sys.stderr, flush=True)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        with os.fdopen(writer, "w", encoding="utf-8") as stream:
            yield stream
    finally:
        # (An installer that is killed may leave a child that keeps the pipe open.)
        thread.join(timeout=10)


def sentence(lines: Sequence[str]) -> str:
    """Return the reason that a resolver or a build gave: the message of uv, or pip's errors."""
    marks = [number for number, line in enumerate(lines) if re.match(r"\s*(\u00d7|error:) ", line)]
    said = lines[marks[0] :] if marks else [line for line in lines if line.startswith("ERROR:")]
    frame = r"^[\s\u00d7\u2570\u2500\u25b6\u251c\u2502]+"
    text = " ".join(re.sub(frame, "", line) for line in said)
    return redact(re.sub(r"\s+", " ", text.replace("ERROR: ", "")).strip())[:_KEPT]
