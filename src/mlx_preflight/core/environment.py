"""Machine, versions and commit that a result was made with.

Nothing here may hold a secret: names and versions only, no environment variables.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PACKAGES = ("mlx", "mlx-lm", "transformers", "huggingface-hub", "numpy", "tokenizers")
"""Packages whose version explains a difference between two runs."""


def capture() -> dict[str, Any]:
    """Return machine, operating system, Python and package versions.

    Returns:
        Plain JSON values; `memory_bytes` is the machine's RAM, a package that is not
        installed in this venv is absent from `packages`.
    """
    return {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cpu_count": os.cpu_count() or 0,
        "memory_bytes": memory_bytes(),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def memory_bytes() -> int:
    """Return the machine's RAM in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def git(project: Path) -> dict[str, Any]:
    """Return the commit of a project and whether its work tree differs from it.

    A project that is not a git checkout, or a machine without git, gives
    `{"commit": None, "dirty": None}`: unknown, never clean.
    """
    commit = _git(project, "rev-parse", "HEAD")
    # A project need not ignore what the runs themselves write.
    judged = (":(top)", ":(exclude).preflight", ":(exclude).nox")
    status = _git(project, "status", "--porcelain", "--", *judged) if commit else None
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def changes(project: Path, left_out: Iterable[str] = ()) -> str | None:
    """Return a digest of what the work tree has beyond its commit; empty for nothing.

    Untracked files count where they are Python: tests and tools run those.

    Args:
        project: Root of the project.
        left_out: Paths below it that a run itself writes.

    Returns:
        None where git cannot say it.
    """
    without = [f":(exclude){name}" for name in left_out]
    tracked = _git_bytes(project, "diff", "HEAD", "--no-ext-diff", "--binary", "--", ".", *without)
    others = ("ls-files", "--others", "--exclude-standard", "-z", "--", "*.py", "*.pyi")
    # (what a build writes: hatch-vcs and setuptools-scm put the version beside the sources)
    built = [f":(exclude){name}" for name in ("build", "dist", "*version*.py")]
    named = _git_bytes(project, *others, *without, *built)
    if tracked is None or named is None:
        return None
    digest = hashlib.sha256(tracked)
    for name in sorted(filter(None, named.split(b"\0"))):
        path = project / os.fsdecode(name)
        content = path.read_bytes() if path.is_file() else b""
        digest.update(name + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest() if tracked or named else ""


def git_user(project: Path) -> str:
    """Return the name that git would sign a commit with; empty when it has none."""
    return _git(project, "config", "user.name") or ""


def _git(project: Path, *arguments: str) -> str | None:
    said = _git_bytes(project, *arguments)
    return None if said is None else said.decode(errors="replace").strip()


def _git_bytes(project: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(project), *arguments],
            capture_output=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    if sys.platform == "linux":
        try:
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
        except OSError:
            return platform.machine()
    if sys.platform == "darwin":
        try:
            done = subprocess.run(
                ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"],
                capture_output=True,
                text=True,
                timeout=5,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return platform.machine()
        return done.stdout.strip() or platform.machine()
    return platform.processor() or platform.machine()
