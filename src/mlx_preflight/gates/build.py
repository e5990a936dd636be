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
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from mlx_preflight.errors import ResultError
from mlx_preflight.gates import tool
from mlx_preflight.isolate import redact
from mlx_preflight.plan import Session
from mlx_preflight.result import Measurement, Outcome, Status
from mlx_preflight.runner import Context


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold how the build ended and what it left.

    Attributes:
        artifacts: Files in the output folder.
        installer: What installed the build backend, `uv` or `pip`.
        name: `[project] name`; empty where another file names the project.
        version: `[project] version`; None when it is dynamic.
    """

    ran: tool.Ran
    artifacts: tuple[Path, ...]
    installer: str
    name: str
    version: str | None


def gather(session: Session, context: Context) -> Facts:
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
    found = tuple(sorted(folder.iterdir())) if folder.is_dir() else ()
    return Facts(ran, found, installer, str(project.get("name", "")), project.get("version"))


def _build(context: Context, folder: Path, installer: str) -> tool.Ran:
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        raise ResultError(f"{folder}: cannot be emptied, so an old build would be judged")
    options = ["--installer", installer, "--outdir", str(folder)]
    return tool.run(context, "build", *options, ".")


def gate7(facts: Facts) -> Outcome:
    """Prove that one sdist and one wheel were built, whole, with the right metadata."""
    if facts.ran.done.returncode != 0:
        if os.strerror(errno.ENOSPC) in f"{facts.ran.done.stdout}{facts.ran.done.stderr}":
            return facts.ran.error("the disk is full, so nothing is known of the project")
        reason = f"the build exited {facts.ran.done.returncode}: {_tail(facts.ran)}"
        return Outcome(Status.FAIL, reason, measurements=facts.ran.measurements())
    sdists = [path for path in facts.artifacts if path.name.endswith(".tar.gz")]
    wheels = [path for path in facts.artifacts if path.suffix == ".whl"]
    if len(sdists) != 1 or len(wheels) != 1:
        names = ", ".join(path.name for path in facts.artifacts) or "nothing"
        return facts.ran.error(f"expected one sdist and one wheel, found {names}")
    sdist_files, fault = _sdist(sdists[0])
    wheel_files, other = _wheel(wheels[0], facts)
    if fault or other:
        reason = "; ".join(text for text in (fault, other) if text)
        return Outcome(Status.FAIL, reason, measurements=facts.ran.measurements())
    values = [Measurement("installer", facts.installer, "text")]
    for kind, path, files in (("sdist", sdists[0], sdist_files), ("wheel", wheels[0], wheel_files)):
        content = path.read_bytes()
        values.append(Measurement(f"{kind}_bytes", len(content), "bytes", ">= 1"))
        values.append(Measurement(f"{kind}_files", files, "count", ">= 1"))
        values.append(Measurement(f"{kind}_sha256", hashlib.sha256(content).hexdigest(), "sha256"))
    reason = (
        f"{sdists[0].name} ({sdist_files} files) and {wheels[0].name} ({wheel_files} files "
        "beside its metadata) built"
    )
    if not facts.name:
        reason += "; pyproject.toml names no project to compare with"
    return Outcome(Status.PASS, reason, measurements=facts.ran.measurements(*values))


def _tail(ran: tool.Ran) -> str:
    """Return the backend's last lines: build passes its output on to stdout."""
    death = ran.done.death()
    lines = f"{ran.done.stdout}\n{ran.done.stderr}".strip().splitlines()[-6:]
    return death or redact("\n".join(lines)) or "it printed nothing"


def _sdist(path: Path) -> tuple[int, str]:
    """Return the number of files in an sdist, and what is wrong with it."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            count = sum(member.isfile() for member in archive)
    except (tarfile.TarError, OSError, EOFError) as error:
        return 0, f"{path.name} is not a readable sdist: {error!r}"
    return count, "" if count else f"{path.name} holds no file"


def _wheel(path: Path, facts: Facts) -> tuple[int, str]:
    """Return the number of files in a wheel beside its metadata, and what is wrong with it."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            names = [name for name in archive.namelist() if not name.endswith("/")]
            found = [name for name in names if name.endswith(".dist-info/METADATA")]
            header = HeaderParser().parsestr(archive.read(found[0]).decode("utf-8"))
    except (zipfile.BadZipFile, IndexError, UnicodeDecodeError, OSError) as error:
        return 0, f"{path.name} is not a readable wheel: {error!r}"
    count = sum(".dist-info/" not in name for name in names)
    if broken:
        return count, f"{path.name}: {broken} is damaged"
    if facts.name and canonicalize_name(header["Name"] or "") != canonicalize_name(facts.name):
        return count, f"{path.name} names {header['Name']!r}, pyproject.toml {facts.name!r}"
    if facts.version is not None and not _same(header["Version"], facts.version):
        return count, f"{path.name} has version {header['Version']!r}, expected {facts.version!r}"
    return count, "" if count else f"{path.name} holds no file beside its metadata"


def _same(left: str | None, right: str) -> bool:
    """Return whether two spellings are one version: backends write 1.0.0rc1 for 1.0.0-rc1."""
    try:
        return Version(left or "") == Version(right)
    except InvalidVersion:
        return left == right
