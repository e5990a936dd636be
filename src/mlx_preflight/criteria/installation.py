"""AC3: the framework is installed, imports, and conflicts with nothing.

Everything is asked in child processes: importing mlx_lm changes the process (it lowers
the limit of open files).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from mlx_preflight.core.child import run_child
from mlx_preflight.core.child_run import ChildRun
from mlx_preflight.core.result import Measurement, Outcome, Status
from mlx_preflight.criteria import clean_venv, guide
from mlx_preflight.criteria.clean_venv import Installation
from mlx_preflight.criteria.markdown.results import Found, load_document
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context

IMPORTS = {
    "mlx_lm": "generate",
    "mlx.core": "array",
    "transformers": "AutoTokenizer",
    "huggingface_hub": "snapshot_download",
}
"""Modules that the framework and this package import, each in a process of its own, and a name
that is used of it: a package without it is another one."""

IMPORTED = f"imported {secrets.token_hex(8)}"
"""What a child says at its end: one that exits before did not import, whatever it printed."""


@dataclass(frozen=True, slots=True)
class InstallationFacts:
    """Facts of the judged environment and of a clean one, and the installation guide."""

    versions: dict[str, str | None]
    prefix: str
    imports: dict[str, ChildRun]
    pip_check: ChildRun
    clean: Installation
    guide: Found


def gather(session: Session, context: Context) -> InstallationFacts:
    """Read versions, import every module in a child, run `pip check`, parse the guide."""

    def python(*arguments: str) -> ChildRun:
        return run_child(
            [str(context.python), *arguments],
            cwd=context.project,
            timeout_s=context.settings.timeout_s,
        )

    return InstallationFacts(
        versions={
            name: context.environment.version(name) for name in ("mlx-lm", "mlx", "transformers")
        },
        prefix=context.environment.prefix,
        imports={name: python("-W", "ignore", "-c", importing(name)) for name in IMPORTS},
        pip_check=python("-m", "pip", "--disable-pip-version-check", "check"),
        clean=clean_venv.from_wheel(context, session.id, register.MCP),
        guide=load_document(context.project / guide.PATH),
    )


def importing(name: str) -> str:
    """Return a program that imports a module, uses it, and says so at its end."""
    return f"import {name} as module\nmodule.{IMPORTS[name]}\nprint({IMPORTED!r})"


def _imported(done: ChildRun) -> bool:
    return done.returncode == 0 and done.stdout.rstrip().endswith(IMPORTED)


def ac3_4(facts: InstallationFacts) -> Outcome:
    """Prove that every module of the stack imports in a fresh process."""
    seconds = tuple(
        Measurement(f"import_{name.replace('.', '_')}_s", round(done.duration_s, 3), "s")
        for name, done in facts.imports.items()
    )
    failed = {name: done for name, done in facts.imports.items() if not _imported(done)}
    if failed:
        name, done = next(iter(failed.items()))
        ended = "" if done.returncode else "it ended before the import did"
        last = ended or done.signal_reason() or done.tail(1) or done.exit_reason()
        reason = f"{len(failed)} of {len(facts.imports)} imports failed; {name}: {last}"
        return Outcome(Status.FAIL, reason, measurements=seconds)
    return Outcome(Status.PASS, f"{', '.join(facts.imports)} import", measurements=seconds)


def ac3_5(facts: InstallationFacts) -> Outcome:
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


def ac3_6(facts: InstallationFacts) -> Outcome:
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


def _installed(facts: InstallationFacts, *, name: str) -> Outcome:
    version = facts.versions[name]
    if version is None:
        return Outcome(Status.FAIL, f"{name} is not installed in {facts.prefix}")
    measured = (Measurement("version", version, "text"),)
    return Outcome(Status.PASS, f"{name} {version} is installed", measurements=measured)


CHECKS: dict[str, Callable[[InstallationFacts], Outcome]] = {
    register.AC3_1: partial(_installed, name="mlx-lm"),
    register.AC3_2: partial(_installed, name="mlx"),
    register.AC3_3: partial(_installed, name="transformers"),
    register.AC3_4: ac3_4,
    register.AC3_5: ac3_5,
    register.AC3_6: ac3_6,
    register.AC3_7: lambda facts: guide.complete(facts.guide),
}
