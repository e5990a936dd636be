"""Results of a run, read from disk and judged. Standard library only.

It must not decide: `verdict.judge` does. `report.write` writes the reports.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import NothingRanError, ResultError, UsageError
from mlx_preflight.core.result import SessionResult, read_result
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.plan import profiles, register, settings, spec
from mlx_preflight.run import context, manifest, tree, verdict
from mlx_preflight.run.manifest import Manifest
from mlx_preflight.run.verdict import Verdict

Results = Mapping[str, SessionResult | ResultError]


@dataclass(frozen=True, slots=True)
class JudgedRun:
    """A run, its results, and the verdict on them.

    Attributes:
        run: What was planned.
        results: What was left, by session id.
        verdict: What `verdict.judge` says of both.
    """

    run: Manifest
    results: Results
    verdict: Verdict


def judge_last(state: Path, run_id: str, *, only: bool = False) -> JudgedRun:
    """Judge a run by its result files; earlier reports are removed first.

    The run is the given one when its manifest or any of its results is there; otherwise
    the last one that a group session started, and without one that of the newest result.
    Without a manifest the complete plan is expected.

    Args:
        state: The project's `.preflight` folder.
        run_id: Run that is asked about.
        only: Whether no other run may take its place.

    Raises:
        NothingRanError: There is neither a run nor a result.
        ResultError: The manifest cannot be used or is of another run.
    """
    Workspace(state).require_own()
    remove_reports(state)
    last = manifest.read(state)
    if only and (last is None or last.run_id != run_id):
        raise ResultError(
            f"{Workspace(state).manifest} is of {last.run_id if last else 'no run'}, "
            f"not of {run_id}: another run started before this one ended",
            hint="run `nox` again, one run at a time",
        )
    results = read_results(Workspace(state).results)
    run, project = _run(last, results, run_id), state.parent
    moved_on = tree.difference(judged_trees(run, results), tree.state(project))
    judged = judge(run, results, off=disabled_sessions(project), moved_on=moved_on)
    return JudgedRun(run, results, judged)


def judge(
    expected: Manifest,
    results: Results,
    *,
    off: Mapping[str, str] | None = None,
    refused: Sequence[str] = (),
    moved_on: str = "",
) -> Verdict:
    """Judge a run by its results; no file is read.

    Args:
        expected: The run: its id, group, planned sessions, profile and model.
        results: Session id → its result, or why that cannot be used; what is missing is an error.
        off: Session id → why it does not apply to the project; shown, and not required.
        refused: Why files were not taken as results, each with its name.
        moved_on: How the project's tree differs from what was judged.

    Returns:
        The decision, every check, and the findings.

    Raises:
        ResultError: The expected sessions are not those of the group.
        UsageError: An unknown profile, or an empty model.
    """
    return verdict.judge(
        _planned(expected),
        results,
        run_id=expected.run_id,
        group=expected.group,
        profile=_profile(expected),
        off=off,
        refused=refused,
        moved_on=moved_on,
    )


def judged_trees(run: Manifest, results: Results) -> list[Mapping[str, Any]]:
    """Return the state that each session of a run recorded, of those that judge a project."""
    judging = {item.id for item in register.SESSIONS if register.needs_project(item)}
    return [
        item.git
        for item in map(results.get, judging.intersection(run.planned))
        if isinstance(item, SessionResult) and item.run_id == run.run_id
    ]


def read_results(folder: Path) -> dict[str, SessionResult | ResultError]:
    """Read every result file; one that cannot be used is its error, never absent."""
    found: dict[str, SessionResult | ResultError] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            found[path.stem] = read_result(path)
        except ResultError as error:
            found[path.stem] = error
    return found


def remove_reports(state: Path) -> None:
    """Remove the last reports: when judging fails, theirs must not pass for this run's."""
    for path in Workspace(state).reports:
        # What cannot be removed cannot be replaced either, and that is an error below.
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _run(last: Manifest | None, results: Results, run_id: str) -> Manifest:
    if last is not None and last.run_id == run_id:
        return last
    readable = [item for item in results.values() if isinstance(item, SessionResult)]
    if own := [item for item in readable if item.run_id == run_id]:
        return run_without_manifest(run_id, own)
    if last is not None:
        return last
    if readable:
        newest = max(readable, key=lambda item: item.started).run_id
        return run_without_manifest(newest, [item for item in readable if item.run_id == newest])
    if any(session.id in results for session in register.SESSIONS):
        return run_without_manifest(run_id, [])
    raise NothingRanError("no run was started here yet", hint="run `nox`, or `nox -s gates`")


def run_without_manifest(run_id: str, own: list[SessionResult]) -> Manifest:
    """Return a run without a manifest: the complete plan, for what its first session ran for.

    Args:
        run_id: Its id.
        own: Its results.
    """
    first = min(own, key=lambda item: item.started, default=None)
    return Manifest(
        run_id=run_id,
        group=spec.WHOLE_PLAN,
        planned=tuple(item.id for item in register.sessions()),
        started=first.started if first else "unknown",
        profile=first.profile if first else profiles.EMBEDDED,
        model=str(first.model.get("requested", "")) if first else profiles.EMBEDDED,
        git=first.git if first else {},
    )


def _planned(run: Manifest) -> tuple[spec.Session, ...]:
    """Return the sessions of the run's group, which the manifest must agree with."""
    again = f"run `nox -s {run.group if run.group in spec.GROUPS else spec.WHOLE_PLAN}` again"
    try:
        training = register.RUN1_CONFIG in run.planned
        sessions = register.sessions(run.group, training=training)
    except UsageError as error:
        raise ResultError(f"run.json: {error}", hint=again) from error
    if run.planned != tuple(item.id for item in sessions):
        # A shorter list would let a part pass for the plan.
        raise ResultError(
            f"run.json: the planned sessions are not those of group {run.group}; "
            "another version of the plan wrote it",
            hint=again,
        )
    return sessions


def disabled_sessions(project: Path) -> dict[str, str]:
    """Return what the project turned off; results without their project turn nothing off."""
    if not (project / "pyproject.toml").is_file():
        return {}
    return register.off(settings.load_settings(project))


def trains(project: Path) -> bool:
    """Return whether a training run is part of a project's complete plan."""
    if not (project / "pyproject.toml").is_file():
        return False
    return settings.load_settings(project).run is not None


def _profile(run: Manifest) -> profiles.Profile:
    named = run.profile if run.profile in profiles.PROFILES else None
    return context.choose(settings.ProjectSettings(), profile=named, model=run.model or None)
