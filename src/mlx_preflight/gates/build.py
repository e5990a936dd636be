"""Gate 7: sdist and wheel build, and the wheel is what pyproject.toml says."""

from __future__ import annotations

import hashlib
import shutil
import tomllib
import zipfile
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from packaging.utils import canonicalize_name

from mlx_preflight.gates import tool
from mlx_preflight.plan import Session
from mlx_preflight.result import Measurement, Outcome, Status
from mlx_preflight.runner import Context


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold how the build ended and what it left.

    Attributes:
        artifacts: Files in the output folder.
        name: `[project] name`.
        version: `[project] version`; None when it is dynamic.
    """

    ran: tool.Ran
    artifacts: tuple[Path, ...]
    name: str
    version: str | None


def gather(session: Session, context: Context) -> Facts:
    """Run `python -m build` into a fresh folder; uv installs the build backend if it is here."""
    folder = context.scratch(session.id) / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    installer = ["--installer", "uv"] if shutil.which("uv") else []
    ran = tool.run(context, "build", *installer, "--outdir", str(folder), ".")
    table = tomllib.loads((context.project / "pyproject.toml").read_text(encoding="utf-8"))
    project = table.get("project", {})
    found = tuple(sorted(folder.iterdir())) if folder.is_dir() else ()
    return Facts(ran, found, str(project.get("name", "")), project.get("version"))


def gate7(facts: Facts) -> Outcome:
    """Prove that one sdist and one wheel were built, whole, with the right metadata."""
    if facts.ran.done.returncode != 0:
        reason = f"the build exited {facts.ran.done.returncode}: {facts.ran.done.tail(4)}"
        return Outcome(Status.FAIL, reason, measurements=facts.ran.measurements())
    sdists = [path for path in facts.artifacts if path.name.endswith(".tar.gz")]
    wheels = [path for path in facts.artifacts if path.suffix == ".whl"]
    if len(sdists) != 1 or len(wheels) != 1:
        names = ", ".join(path.name for path in facts.artifacts) or "nothing"
        return facts.ran.error(f"expected one sdist and one wheel, found {names}")
    if fault := _metadata_fault(wheels[0], facts):
        return Outcome(Status.FAIL, fault, measurements=facts.ran.measurements())
    values = []
    for kind, path in (("sdist", sdists[0]), ("wheel", wheels[0])):
        content = path.read_bytes()
        values.append(Measurement(f"{kind}_bytes", len(content), "bytes", ">= 1"))
        values.append(Measurement(f"{kind}_sha256", hashlib.sha256(content).hexdigest(), "sha256"))
    reason = f"{sdists[0].name} and {wheels[0].name} built"
    return Outcome(Status.PASS, reason, measurements=facts.ran.measurements(*values))


def _metadata_fault(wheel: Path, facts: Facts) -> str:
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [x for x in archive.namelist() if x.endswith(".dist-info/METADATA")]
            header = HeaderParser().parsestr(archive.read(names[0]).decode("utf-8"))
    except (zipfile.BadZipFile, IndexError, UnicodeDecodeError) as error:
        return f"{wheel.name} is not a readable wheel: {error!r}"
    if canonicalize_name(header["Name"] or "") != canonicalize_name(facts.name):
        return f"{wheel.name} names {header['Name']!r}, pyproject.toml {facts.name!r}"
    if facts.version is not None and header["Version"] != facts.version:
        return f"{wheel.name} has version {header['Version']!r}, expected {facts.version!r}"
    return ""
