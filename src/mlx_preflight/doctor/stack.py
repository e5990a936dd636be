"""Installation: venv, backend, conflicts, the limit of open files."""

from __future__ import annotations

import importlib.metadata
import resource
import sys

from packaging.requirements import Requirement

from mlx_preflight.doctor.finding import Finding, Severity
from mlx_preflight.plan import remedies

OPEN_FILES = 4096
"""mlx_lm sets this hard limit at import and fails where it is lower (mlx_lm/utils.py 0.32.2)."""

WANTED = ("mlx", "mlx-lm", "transformers", "huggingface-hub")


def check() -> list[Finding]:
    """Return findings on this interpreter's packages and limits."""
    return [*_venv(), *_backend(), *_conflicts(), *_open_files()]


def _venv() -> list[Finding]:
    missing = [name for name in WANTED if _version(name) is None]
    where = "a venv" if sys.prefix != sys.base_prefix else "no venv"
    saw = f"Python {sys.version.split()[0]} in {sys.prefix} ({where})"
    if missing:
        saw = f"{', '.join(missing)} not installed; {saw}"
        why = "the import fails when another venv is active than the one installed into"
        fix = remedies.INSTALL
        return [Finding("import", Severity.PROBLEM, saw, why, fix)]
    versions = ", ".join(f"{name} {_version(name)}" for name in WANTED)
    return [Finding("import", Severity.GOOD, f"{versions}; {saw}", "the stack is installed")]


def _backend() -> list[Finding]:
    if sys.platform != "linux" or _version("mlx") is None:
        return []
    backends = [name for name in ("mlx-cpu", "mlx-cuda-12", "mlx-cuda-13") if _version(name)]
    if backends:
        return [
            Finding("import", Severity.GOOD, f"backend {', '.join(backends)}", "MLX can compute")
        ]
    saw = "mlx is installed without a backend"
    why = "on Linux the plain package holds none, so `import mlx.core` fails"
    fix = 'python3 -m pip install "mlx[cpu]" (or "mlx[cuda]")'
    return [Finding("import", Severity.PROBLEM, saw, why, fix)]


def _conflicts() -> list[Finding]:
    wrong = []
    for name in (*WANTED, "mlx-preflight"):
        if _version(name) is None:
            continue
        for line in importlib.metadata.requires(name) or []:
            need = Requirement(line)
            if need.marker and not need.marker.evaluate({"extra": ""}):
                continue
            have = _version(need.name)
            if have is None or not need.specifier.contains(have, prereleases=True):
                wrong.append(f"{name} wants {need.name}{need.specifier}, found {have}")
    if not wrong:
        return [Finding("import", Severity.GOOD, "no version conflict in the stack", "it fits")]
    saw = "; ".join(wrong[:4])
    why = "a wrong version imports and then fails in the middle of a run"
    fix = remedies.REINSTALL
    return [Finding("import", Severity.PROBLEM, saw, why, fix)]


def _open_files() -> list[Finding]:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES:
        saw = f"the hard limit of open files is {hard}"
        why = f"mlx_lm raises it to {OPEN_FILES} at import and fails when it may not"
        fix = f"ulimit -Hn {OPEN_FILES} (as root), or raise it in /etc/security/limits.conf"
        return [Finding("import", Severity.PROBLEM, saw, why, fix)]
    return [Finding("import", Severity.GOOD, f"hard limit of open files {hard}", "high enough")]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
