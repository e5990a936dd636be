"""Read a run's results from disk, have them judged, and write the reports.

It must not decide: `verdict.judge` does. Importing it must stay as light as the noxfile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_preflight import manifest, plan, project_table, register, verdict
from mlx_preflight.errors import NothingRanError, ResultError, UsageError
from mlx_preflight.json_file import write_json, write_text
from mlx_preflight.manifest import Manifest
from mlx_preflight.result import SessionResult, read_result
from mlx_preflight.verdict import Verdict

REPORTS = ("report.json", "report.md", "report.html", "junit.xml", "report.sarif")
"""What `write_reports` leaves in the state folder."""

Results = Mapping[str, SessionResult | ResultError]


def summarize(state: Path, run_id: str, *, only: bool = False) -> tuple[Verdict, dict[str, Any]]:
    """Judge a run and write its reports into `state`.

    The run is the given one when its manifest or any of its results is there; otherwise
    the last one that a group session started, and without one that of the newest result.
    Without a manifest the whole plan is expected.

    Args:
        state: The project's `.preflight` folder.
        run_id: Run that is asked about.
        only: Whether no other run may take its place.

    Raises:
        NothingRanError: There is neither a run nor a result.
        ResultError: The manifest cannot be used or is of another run, or the reports cannot
            be written.
    """
    remove_reports(state)
    last = manifest.read(state)
    if only and (last is None or last.run_id != run_id):
        raise ResultError(
            f"{state / 'run.json'} is of {last.run_id if last else 'no run'}, not of {run_id}: "
            "another run began before this one ended",
            hint="run `nox` again, one run at a time",
        )
    results = read_results(state / "results")
    return write_reports(state, _run(last, results, run_id), results)


def write_reports(
    state: Path, run: Manifest, results: Results, refused: Sequence[str] = ()
) -> tuple[Verdict, dict[str, Any]]:
    """Judge a run by its results and write `REPORTS`.

    Args:
        state: The project's `.preflight` folder.
        run: What was planned.
        results: What was left, by session id.
        refused: Why files were not taken as results, each with its name.

    Raises:
        ResultError: The manifest cannot be used, or the reports cannot be written.
    """
    # Deferred, so that the noxfile can import this module without the renderers.
    from mlx_preflight.report import document, html, junit, markdown, sarif  # noqa: PLC0415

    judged = verdict.judge(
        _planned(run),
        results,
        run_id=run.run_id,
        group=run.group,
        profile=_profile(run),
        off=off_in(state.parent),
        refused=refused,
    )
    report = document.build(judged, results, run)
    write_json(state / "report.json", report)
    write_text(state / "report.md", markdown.render(report))
    write_text(state / "report.html", html.render(report))
    write_text(state / "junit.xml", junit.render(report))
    write_text(state / "report.sarif", sarif.render(report))
    return judged, report


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
    for name in REPORTS:
        # What cannot be removed cannot be replaced either, and that is an error below.
        with contextlib.suppress(OSError):
            (state / name).unlink(missing_ok=True)


def _run(last: Manifest | None, results: Results, run_id: str) -> Manifest:
    """Return the run to judge."""
    if last is not None and last.run_id == run_id:
        return last
    readable = [item for item in results.values() if isinstance(item, SessionResult)]
    if own := [item for item in readable if item.run_id == run_id]:
        return run_of(run_id, own)
    if last is not None:
        return last
    if readable:
        newest = max(readable, key=lambda item: item.started).run_id
        return run_of(newest, [item for item in readable if item.run_id == newest])
    if any(session.id in results for session in register.SESSIONS):
        return run_of(run_id, [])
    raise NothingRanError("no run was started here yet", hint="run `nox`, or `nox -s gates`")


def run_of(run_id: str, own: list[SessionResult]) -> Manifest:
    """Return a run without a manifest: the whole plan, for what its first session ran for.

    Args:
        run_id: Its id.
        own: Its results.
    """
    first = min(own, key=lambda item: item.started, default=None)
    return Manifest(
        run_id=run_id,
        group=verdict.WHOLE_PLAN,
        planned=tuple(item.id for item in register.sessions()),
        started=first.started if first else "unknown",
        profile=first.profile if first else plan.EMBEDDED,
        model=str(first.model.get("requested", "")) if first else plan.EMBEDDED,
        git=first.git if first else {},
    )


def _planned(run: Manifest) -> tuple[plan.Session, ...]:
    """Return the sessions of the run's group, which the manifest must agree with."""
    again = f"run `nox -s {run.group if run.group in plan.GROUPS else verdict.WHOLE_PLAN}` again"
    try:
        sessions = register.sessions(run.group)
    except UsageError as error:
        raise ResultError(f"run.json: {error}", hint=again) from error
    if run.planned != tuple(item.id for item in sessions):
        # A shorter list would let a part pass for the whole.
        raise ResultError(
            f"run.json: the planned sessions are not those of group {run.group}; "
            "another version of the plan wrote it",
            hint=again,
        )
    return sessions


def off_in(project: Path) -> dict[str, str]:
    """Return what the project turned off; results without their project turn nothing off."""
    if not (project / "pyproject.toml").is_file():
        return {}
    return register.off(project_table.load_settings(project))


def _profile(run: Manifest) -> plan.Profile:
    named = run.profile if run.profile in plan.PROFILES else None
    return plan.choose(project_table.Settings(), profile=named, model=run.model or None)
