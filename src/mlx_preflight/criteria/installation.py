"""Judge AC3: the framework is installed, imports, and conflicts with nothing.

Everything is asked in child processes: importing mlx_lm changes the process (it lowers
the limit of open files).
"""

from __future__ import annotations

import importlib.metadata
import sys
from dataclasses import dataclass

from mlx_preflight import register
from mlx_preflight.criteria import clean_venv, guide
from mlx_preflight.criteria.clean_venv import Installation
from mlx_preflight.criteria.judging import Found, look
from mlx_preflight.isolate import Finished, run_child
from mlx_preflight.plan import Session
from mlx_preflight.result import Measurement, Outcome, Status
from mlx_preflight.runner import Context

IMPORTS = ("mlx_lm", "mlx.core", "transformers", "huggingface_hub")
"""Modules that the framework and this package import; each in a process of its own."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold what this venv and a clean one answered, and the installation guide."""

    versions: dict[str, str | None]
    imports: dict[str, Finished]
    pip_check: Finished
    clean: Installation
    guide: Found


def gather(session: Session, context: Context) -> Facts:
    """Read versions, import every module in a child, run `pip check`, parse the guide."""

    def python(*arguments: str) -> Finished:
        return run_child(
            [sys.executable, *arguments],
            cwd=context.project,
            timeout_s=context.settings.timeout_s,
        )

    return Facts(
        versions={name: _version(name) for name in ("mlx-lm", "mlx", "transformers")},
        imports={name: python("-W", "ignore", "-c", f"import {name}") for name in IMPORTS},
        pip_check=python("-m", "pip", "--disable-pip-version-check", "check"),
        clean=clean_venv.from_wheel(context, session.id, register.MCP),
        guide=look(context.project / guide.PATH),
    )


def ac3_1(facts: Facts) -> Outcome:
    """Prove that the distribution mlx-lm is installed in this venv."""
    return _installed(facts, "mlx-lm")


def ac3_2(facts: Facts) -> Outcome:
    """Prove that the distribution mlx is installed in this venv."""
    return _installed(facts, "mlx")


def ac3_3(facts: Facts) -> Outcome:
    """Prove that the distribution transformers is installed in this venv."""
    return _installed(facts, "transformers")


def ac3_4(facts: Facts) -> Outcome:
    """Prove that every module of the stack imports in a fresh process."""
    seconds = tuple(
        Measurement(f"import_{name.replace('.', '_')}_s", round(done.duration_s, 3), "s")
        for name, done in facts.imports.items()
    )
    failed = {name: done for name, done in facts.imports.items() if done.returncode != 0}
    if failed:
        name, done = next(iter(failed.items()))
        last = done.death() or (done.tail(1) or f"exit {done.returncode}")
        return Outcome(
            Status.FAIL,
            f"{len(failed)} of {len(facts.imports)} imports failed; {name}: {last}",
            measurements=seconds,
        )
    return Outcome(Status.PASS, f"{', '.join(facts.imports)} import", measurements=seconds)


def ac3_5(facts: Facts) -> Outcome:
    """Prove that `pip check` finds no conflict here, nor where only the built wheel went."""
    here = clean_venv.judge_pip_check(facts.pip_check)
    if here.status is not Status.PASS:
        return here
    installed = clean_venv.judge_install(facts.clean)
    if installed.status is not Status.PASS:
        return installed
    there = clean_venv.judge_pip_check(facts.clean.pip_check)
    reason = f"{here.reason} In a clean venv with {facts.clean.artifact}: {there.reason}"
    return Outcome(there.status, reason, measurements=installed.measurements)


def ac3_6(facts: Facts) -> Outcome:
    """Prove that the MCP server's packages go into the same venv without a conflict."""
    installed = clean_venv.judge_install(facts.clean)
    if installed.status is not Status.PASS:
        return installed
    beside = facts.clean.beside
    if isinstance(beside, str):
        return Outcome(Status.FAIL, beside)
    there = clean_venv.judge_pip_check(beside)
    reason = f"with {', '.join(register.MCP)} beside {facts.clean.artifact}: {there.reason}"
    return Outcome(there.status, reason)


def ac3_7(facts: Facts) -> Outcome:
    """Prove that the installation guide exists and has the sections of AC7."""
    return guide.complete(facts.guide)


def _installed(facts: Facts, name: str) -> Outcome:
    version = facts.versions[name]
    if version is None:
        return Outcome(Status.FAIL, f"{name} is not installed in {sys.prefix}")
    return Outcome(
        Status.PASS,
        f"{name} {version} is installed",
        measurements=(Measurement("version", version, "text"),),
    )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
