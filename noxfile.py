"""Run the plan: `nox` (all of it), `nox -s gates`, `nox -s ac`, `nox -s e2e`, `nox -s tests`.

Every session of the plan comes from the register in `src/mlx_preflight/plan/register.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nox

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT / "src"))

from mlx_preflight import sessions  # noqa: E402  (the path above makes it importable)

nox.needs_version = ">=2026.8.17"
sessions.define(PROJECT)


@nox.session(venv_backend="uv|virtualenv", reuse_venv=True, default=False)
def tests(session: nox.Session) -> None:
    """Run this project's own tests: `nox -s tests -- -k name` reaches pytest."""
    session.install("-e", ".[tests]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(venv_backend="uv", reuse_venv=True, default=False)
def lowest(session: nox.Session) -> None:
    """Prove the lower bounds: the end-to-end workflow on the lowest versions they allow."""
    session.install("--resolution", "lowest-direct", "-e", ".")
    session.run("uv", "pip", "list", external=True)
    project = Path(session.create_tmp())
    (project / "pyproject.toml").touch()
    session.run("python", "-m", "mlx_preflight", "check", "e2e", "--project", str(project))


@nox.session(venv_backend="uv|virtualenv", reuse_venv=True, default=False)
def faults(session: nox.Session) -> None:
    """Plant a defect and a clean neighbour for every check: `nox -s faults -- --session e2e`."""
    session.install("-e", ".[tests]", "pip>=25,<27")
    # A part is for whoever changes a session; only the whole is recorded.
    given = session.posargs or ["--kills", "500", "--output", "benchmarks/results/faults.json"]
    session.run("python", "-m", "mlx_preflight", "selftest", "--all", *given)
