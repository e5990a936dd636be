"""Nox sessions of the register: `noxfile.py` imports this and calls `define`.

Imported by nox before anything else is installed, so beside nox only the standard
library and the standard-library part of this package may be imported.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import nox
from nox.command import CommandFailed

from mlx_preflight.core import parent_watch
from mlx_preflight.core.errors import PreflightError
from mlx_preflight.core.result import CheckResult, Evidence, SessionResult, Status, write_result
from mlx_preflight.core.toml_table import suggest
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.frameworks import framework
from mlx_preflight.plan import profiles, register
from mlx_preflight.plan import settings as project_table
from mlx_preflight.plan import spec as plan
from mlx_preflight.plan.options import RunOptions
from mlx_preflight.run import context, start, tree
from mlx_preflight.run.context import RUN_ID_VARIABLE, new_run_id
from mlx_preflight.sessions import venv

_GROUP_VARIABLE = "PREFLIGHT_GROUP"
"""Set in the sessions that a group started: the group writes their summary."""

# Long enough for a check to kill its own children after Ctrl-C; nox waits 0.3 s and 0.2 s.
_INTERRUPT_S, _TERMINATE_S = 10.0, 5.0

_CHECK = ("-P", "-m", "mlx_preflight", "check")
"""`-P`: no module of the project's root is taken for one of the harness."""


def define(project: Path | None = None) -> None:
    """Define every session of the plan, the groups and the summary.

    Args:
        project: Root of the project; None is the noxfile's folder, where nox works (nox 2026.8,
            `tasks.load_nox_module`).
    """
    project = project or Path.cwd()
    # Children of this process (nox -j, nested nox) inherit the id and so share one run.
    os.environ.setdefault(RUN_ID_VARIABLE, new_run_id())
    # A signal that reaches one nox alone, as from a CI runner, would leave its children running:
    # nox ends them by SIGTERM, which ends a nox of theirs before it can do the same.
    parent_watch.interrupt_on(signal.SIGTERM, signal.SIGHUP)
    parent_watch.end_with_parent()
    off, default = _table(project)
    for spec in register.SESSIONS:
        if spec.id in off:
            _define_off(spec, off[spec.id])
        else:
            _define_session(spec, project, default=spec.id == default)
    for group in plan.GROUPS:
        if group not in {spec.id for spec in register.SESSIONS}:
            _define_group(group, project, off, default=group == default)

    @nox.session(name="summary", venv_backend="none", default=False)
    def summary(session: nox.Session) -> None:
        """Write the report of the last run and exit with its verdict."""
        # Where a group asks, its own run is judged, and never the one that took its place.
        only = ["--run-id", os.environ[RUN_ID_VARIABLE]] if _GROUP_VARIABLE in os.environ else []
        _harness(session, "summary", *only)

    @nox.session(name="merge", venv_backend="none", default=False)
    def merge(session: nox.Session) -> None:
        """Judge the result files of several CI jobs: `nox -s merge -- FOLDER --planned FILE`."""
        _harness(session, "merge", *session.posargs)

    _define_compare(project)


def _table(project: Path) -> tuple[dict[str, str], str]:
    """Return what the project turned off, and its default group.

    A table that cannot be read turns nothing off: every session then says what is wrong.
    """
    try:
        settings = project_table.load_settings(project)
        return register.off(settings), settings.default_group
    except PreflightError:
        return {}, "preflight"


def _define_off(spec: plan.Session, reason: str) -> None:
    def body(session: nox.Session) -> None:
        # Skipped, not failed: a CI job for it is no failure, and a verdict still shows it.
        session.skip(f"off in this project: {reason}")

    body.__doc__ = f"Off in this project: {reason}"
    nox.session(name=spec.id, tags=[spec.tag], venv_backend="none", default=False)(body)


def _define_session(spec: plan.Session, project: Path, *, default: bool) -> None:
    # Some sessions are also a group of their own, unless another group started them.
    alone = spec.id in plan.GROUPS and _GROUP_VARIABLE not in os.environ

    def body(session: nox.Session) -> None:
        with _one_message(session):
            options, profile = _parse_posargs(session, project)
            arguments = options.arguments()
            if not alone:
                _judge(session, spec, project, arguments, profile)
                return
            with start.start_run(spec.id, project, profile):
                try:
                    _judge(session, spec, project, arguments, profile)
                except (CommandFailed, PreflightError) as error:
                    session.log("not everything passed; the summary judges: %s", error)
                _nox(session, spec.id, project, "-s", "summary")

    body.__doc__ = spec.title
    # Set here and not in nox.options: the sessions that a project has of its own stay as they are.
    backend = "none" if spec.stack == "harness" else "uv|virtualenv"
    nox.session(
        name=spec.id,
        tags=[spec.tag],
        venv_backend=backend,
        reuse_venv=True,
        default=default,
        allow_parallel=spec.parallel and not alone,
    )(body)


def _judge(
    session: nox.Session,
    spec: plan.Session,
    project: Path,
    arguments: list[str],
    profile: profiles.Profile,
) -> None:
    """Install what a session of the plan needs, and run its checks."""
    try:
        driver = venv.harness(session)
        settings = project_table.load_settings(project)
        judges = register.judges_environment(spec, settings)
        python = venv.install(session, spec, project) if judges else None
    except PreflightError as error:
        _record_failed_install(spec, project, profile, error)
        raise
    judged = ["--python", str(python)] if python else []
    # A model is loaded by the stack that is judged, so its harness runs inside.
    inside = python if python and spec.stack == "model" else driver
    _run(
        session,
        str(inside),
        *_CHECK,
        spec.id,
        *judged,
        *arguments,
        env=_bytecode_variables(project),
    )


def _harness(session: nox.Session, *arguments: str) -> None:
    """Run a command of this package in the venv of the harness."""
    with _one_message(session):
        _run(session, str(venv.harness(session)), "-P", "-m", "mlx_preflight", *arguments)


def _bytecode_variables(project: Path) -> dict[str, str | None]:
    """Keep compiled code beside the venvs where it may not be written beside the sources.

    Dozens of processes would compile the same packages.
    """
    if not os.environ.get("PYTHONDONTWRITEBYTECODE"):
        return {}
    prefix = str(project / ".nox" / "pycache")
    return {"PYTHONDONTWRITEBYTECODE": None, "PYTHONPYCACHEPREFIX": prefix}


def _define_compare(project: Path) -> None:
    """Define one session per framework; each is measured in the venv that nox made for it.

    The backend is pip's: uv would take the CUDA build of PyTorch on Linux.
    """
    choices = [nox.param(name, id=name) for name in framework.names()]

    def body(session: nox.Session, framework: str) -> None:
        python = Path(session.virtualenv.location) / "bin" / "python"
        command = (sys.executable, "-m", "mlx_preflight.frameworks", framework)
        where = ("--python", str(python), "--project", str(project))
        source = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        _run(session, *command, *where, *session.posargs, env=source)

    body.__doc__ = "Measure a training framework in its own venv (gigabytes); not in the default"
    made = nox.parametrize("framework", choices)(body)
    nox.session(
        name="compare",
        tags=["compare"],
        venv_backend="virtualenv",
        reuse_venv=True,
        default=False,
    )(made)


def _define_group(group: str, project: Path, off: dict[str, str], *, default: bool) -> None:
    def body(session: nox.Session) -> None:
        with _one_message(session):
            options, profile = _parse_posargs(session, project)
            training = bool(options.config or project_table.load_settings(project).run)
            with start.start_run(group, project, profile, training=training) as planned:
                chosen = [name for name in planned if name not in off]
                if not chosen:
                    session.error(f"every session of {group} is off in this project")
                for name, reason in off.items():
                    session.log("%s is off: %s", name, reason)
                jobs = (
                    [] if "NOX_PARALLEL" in os.environ else ["-j", str(min(os.cpu_count() or 1, 4))]
                )
                # Whatever they return, the summary judges: a failure must not hide the rest.
                try:
                    _nox(session, group, project, *jobs, "-s", *chosen, "--", *options.arguments())
                except CommandFailed:
                    session.log("not everything passed; the summary judges")
                _nox(session, group, project, "-s", "summary")

    body.__doc__ = {
        "gates": "Run the quality gates, then the summary",
        "ac": "Run the acceptance criteria, then the summary",
        "run": "Judge the training run of --config and rehearse it, then the summary",
        "qualify": "Judge the training run of --config, then the summary",
        "finish": "Judge the adapter of --adapter, then the summary",
        "preflight": "Run the whole plan, then the summary",
    }[group]
    nox.session(name=group, venv_backend="none", default=default)(body)


def _nox(session: nox.Session, group: str, project: Path, *arguments: str) -> None:
    command = (sys.executable, "-m", "nox", "-f", str(project / "noxfile.py"), *arguments)
    _run(session, *command, env={_GROUP_VARIABLE: group})


@contextmanager
def _one_message(session: nox.Session) -> Iterator[None]:
    """End a session with one message where nox would show a traceback."""
    try:
        yield
    except PreflightError as error:
        session.error(f"{error}; {error.hint}" if error.hint else str(error))


def _run(session: nox.Session, *command: str, env: Mapping[str, str | None] | None = None) -> None:
    """Run a command that is given time to kill its own children after Ctrl-C."""
    session.run(
        *command,
        env={**(env or {}), parent_watch.BOUND: "1"},
        external=True,
        interrupt_timeout=_INTERRUPT_S,
        terminate_timeout=_TERMINATE_S,
    )


def _record_failed_install(
    spec: plan.Session, project: Path, profile: profiles.Profile, error: PreflightError
) -> None:
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    checks = tuple(
        CheckResult(
            check.id,
            check.title,
            Status.ERROR,
            Evidence.STATIC,
            f"installation failed: {error}",
            error.hint or f"see the output of `nox -s {spec.id}`",
        )
        for check in spec.checks
    )
    write_result(
        Workspace.of(project).results,
        SessionResult(
            id=spec.id,
            title=spec.title,
            checks=checks,
            run_id=os.environ[RUN_ID_VARIABLE],
            started=now,
            duration_s=0.0,
            profile=profile.name,
            model={"requested": profile.model},
            git=tree.state(project),
        ),
    )


class _Parser(argparse.ArgumentParser):
    """Parser that raises instead of exiting, so that nox reports the session as failed."""

    def error(self, message: str) -> NoReturn:
        """Raise a usage error with argparse's message."""
        raise PreflightError(message)


def _parse_posargs(session: nox.Session, project: Path) -> tuple[RunOptions, profiles.Profile]:
    """Return the options after `--` that reach `check`, and the profile they choose."""
    parser = _Parser(prog="nox --", add_help=False, allow_abbrev=False)
    RunOptions.add_to(parser)
    settings = project_table.load_settings(project)
    register.off(settings)  # a misspelt session would be turned off in nobody's sight
    try:
        known, unknown = parser.parse_known_args(session.posargs)
        options = RunOptions.parsed(known)
        profile = context.choose(settings, **options.choice())
    except PreflightError as error:
        session.error(f"after `--`: {error}")
    if unknown:
        near = suggest(unknown[0], RunOptions.flags())
        session.error(f"after `--`: unknown argument {unknown[0]!r}{near}")
    return options, profile
