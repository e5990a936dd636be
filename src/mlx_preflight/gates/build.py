"""Gate 7: sdist and wheel build, and the wheel is what pyproject.toml says."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import shutil
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass, replace
from email.parser import HeaderParser
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.result import Measurement, Outcome, Status
from mlx_preflight.core.text import redact
from mlx_preflight.gates import tool
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of a build's output.

    Attributes:
        files: Files in it; those of a wheel beside its metadata.
        fault: Why it cannot be read, or is damaged; empty where it is sound.
        named: Name and version in a wheel's metadata.
    """

    path: Path
    size_bytes: int
    sha256: str
    files: int = 0
    fault: str = ""
    named: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class BuildRun:
    """End of a build, and its output files.

    Attributes:
        artifacts: Files in the output folder.
        installer: What installed the build backend, `uv` or `pip`.
        name: `[project] name`; empty where another file names the project.
        version: `[project] version`; None when it is dynamic.
    """

    ran: tool.ToolRun
    artifacts: tuple[Artifact, ...]
    installer: str
    name: str
    version: str | None


def gather(session: Session, context: Context) -> BuildRun:
    """Run `python -m build` into a fresh folder; uv installs the build backend if it is here."""
    folder = context.scratch(session.id) / "dist"
    installer = "uv" if importlib.util.find_spec("uv") or shutil.which("uv") else "pip"
    ran = _build(context, folder, installer)
    if ran.done.returncode != 0 and installer == "uv":
        # uv reads no pip configuration, so a private index may be out of its reach alone.
        context.note(f"{session.id}: trying again with pip")
        installer = "pip"
        ran = _build(context, folder, installer)
    table = tomllib.loads((context.project / "pyproject.toml").read_text(encoding="utf-8"))
    project = table.get("project", {})
    found = tuple(_artifact(path) for path in sorted(folder.iterdir())) if folder.is_dir() else ()
    return BuildRun(ran, found, installer, str(project.get("name", "")), project.get("version"))


def _build(context: Context, folder: Path, installer: str) -> tool.ToolRun:
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        raise ResultError(f"{folder}: cannot be emptied, so an old build would be judged")
    options = ["--installer", installer, "--outdir", str(folder)]
    return tool.run(context, "build", *options, ".")


def gate7(facts: BuildRun) -> Outcome:
    """Prove that one sdist and one wheel were built, complete, with the right metadata."""
    if facts.ran.done.returncode != 0:
        if os.strerror(errno.ENOSPC) in f"{facts.ran.done.stdout}{facts.ran.done.stderr}":
            return facts.ran.error("the disk is full, so the project could not be built")
        reason = f"the build exited {facts.ran.done.returncode}: {_tail(facts.ran)}"
        return Outcome(Status.FAIL, reason, measurements=facts.ran.measurements())
    sdists = [item for item in facts.artifacts if _is_sdist(item.path)]
    wheels = [item for item in facts.artifacts if _is_wheel(item.path)]
    if len(sdists) != 1 or len(wheels) != 1:
        names = ", ".join(item.path.name for item in facts.artifacts) or "nothing"
        return facts.ran.error(f"expected one sdist and one wheel, found {names}")
    sdist, wheel = sdists[0], wheels[0]
    faults = [text for text in (sdist.fault, wheel.fault or _other_project(wheel, facts)) if text]
    if faults:
        return Outcome(Status.FAIL, "; ".join(faults), measurements=facts.ran.measurements())
    values = [Measurement("installer", facts.installer, "text")]
    for kind, item in (("sdist", sdist), ("wheel", wheel)):
        values.append(Measurement(f"{kind}_bytes", item.size_bytes, "bytes", ">= 1"))
        values.append(Measurement(f"{kind}_files", item.files, "count", ">= 1"))
        values.append(Measurement(f"{kind}_sha256", item.sha256, "sha256"))
    reason = (
        f"{sdist.path.name} ({sdist.files} files) and {wheel.path.name} ({wheel.files} files "
        "beside its metadata) built"
    )
    if not facts.name:
        reason += "; pyproject.toml names no project to compare with"
    return Outcome(Status.PASS, reason, measurements=facts.ran.measurements(*values))


def _tail(ran: tool.ToolRun) -> str:
    """Return the backend's last lines: build passes its output on to stdout."""
    death = ran.done.signal_reason()
    lines = f"{ran.done.stdout}\n{ran.done.stderr}".strip().splitlines()[-6:]
    return death or redact("\n".join(lines)) or "it printed nothing"


def _is_sdist(path: Path) -> bool:
    return path.name.endswith(".tar.gz")


def _is_wheel(path: Path) -> bool:
    return path.suffix == ".whl"


def _artifact(path: Path) -> Artifact:
    if not _is_sdist(path) and not _is_wheel(path):
        return Artifact(path, 0, "")
    content = path.read_bytes()
    read = Artifact(path, len(content), hashlib.sha256(content).hexdigest())
    return _sdist(read) if _is_sdist(path) else _wheel(read)


def _sdist(item: Artifact) -> Artifact:
    try:
        with tarfile.open(item.path, "r:gz") as archive:
            count = sum(member.isfile() for member in archive)
    except (tarfile.TarError, OSError, EOFError) as error:
        return replace(item, fault=f"{item.path.name} is not a readable sdist: {error!r}")
    return replace(item, files=count, fault="" if count else f"{item.path.name} holds no file")


def _wheel(item: Artifact) -> Artifact:
    """Check the files of a wheel, and read its name and version."""
    try:
        with zipfile.ZipFile(item.path) as archive:
            broken = archive.testzip()
            names = [name for name in archive.namelist() if not name.endswith("/")]
            found = [name for name in names if name.endswith(".dist-info/METADATA")]
            header = HeaderParser().parsestr(archive.read(found[0]).decode("utf-8"))
    except (zipfile.BadZipFile, IndexError, UnicodeDecodeError, OSError) as error:
        return replace(item, fault=f"{item.path.name} is not a readable wheel: {error!r}")
    count = sum(".dist-info/" not in name for name in names)
    fault = f"{item.path.name}: {broken} is damaged" if broken else ""
    named = (header["Name"] or "", header["Version"] or "")
    return replace(item, files=count, fault=fault, named=named)


def _other_project(wheel: Artifact, facts: BuildRun) -> str:
    """Return how a wheel's metadata contradict pyproject.toml, or that it is empty."""
    name, version = wheel.named
    if facts.name and canonicalize_name(name) != canonicalize_name(facts.name):
        return f"{wheel.path.name} names {name!r}, pyproject.toml {facts.name!r}"
    if facts.version is not None and not _same(version, facts.version):
        return f"{wheel.path.name} has version {version!r}, expected {facts.version!r}"
    return "" if wheel.files else f"{wheel.path.name} holds no file beside its metadata"


def _same(left: str, right: str) -> bool:
    """Return whether two spellings are one version: backends write 1.0.0rc1 for 1.0.0-rc1."""
    try:
        return Version(left) == Version(right)
    except InvalidVersion:
        return left == right


CHECKS = {register.GATE7: gate7}
