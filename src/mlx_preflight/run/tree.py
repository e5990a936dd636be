"""State of a project's tree: what a run judged, and whether that is what is here now.

Standard library only: the noxfile records it before anything is installed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlx_preflight.core import environment, workspace
from mlx_preflight.core.errors import PreflightError
from mlx_preflight.plan import settings

SHOWN = 12
"""Characters of a commit that are shown."""


def state(project: Path) -> dict[str, Any]:
    """Return commit and dirtiness of a project, and a digest of what it changes beyond both.

    Unknown is None: no git, or no checkout.
    """
    known = environment.git(project)
    if not known["commit"]:
        return known
    return {**known, "tree": environment.changes(project, _written_by_runs(project))}


def after(before: Mapping[str, Any], project: Path) -> dict[str, Any]:
    """Return the state that a session examined: where a commit came meanwhile, both of them."""
    now = environment.git(project)["commit"]
    return {**before, "moved": now} if now != before["commit"] else dict(before)


def difference(
    judged: Iterable[Mapping[str, Any]], now: Mapping[str, Any], *, commits_only: bool = False
) -> str:
    """Return how the tree differs from what was judged; empty where it does not, or none knows.

    Args:
        judged: State that each session recorded.
        now: The present state.
        commits_only: Whether uncommitted changes do not count.
    """
    for item in judged:
        commit, here = item.get("commit"), now.get("commit")
        if not isinstance(commit, str) or not here:
            continue
        if commit != here:
            return f"commit {commit[:SHOWN]} was judged, and {here[:SHOWN]} is here now"
        if not commits_only and item.get("tree", now["tree"]) != now["tree"]:
            return (
                f"commit {commit[:SHOWN]} was judged with other uncommitted changes than are here "
                "now; what a run itself writes belongs into .gitignore"
            )
    return ""


def describe(judged: Iterable[Mapping[str, Any]]) -> str:
    """Return the commit that a run judged, and whether it was all; empty where none is known."""
    known = [item for item in judged if isinstance(item.get("commit"), str)]
    if not known:
        return ""
    clean = all(item.get("dirty") is False for item in known)
    more = "" if clean else " with uncommitted changes"
    return f"commit {known[0]['commit'][:SHOWN]}{more}"


def _written_by_runs(project: Path) -> tuple[str, ...]:
    """Return the paths of a project that a run, or its summary, writes."""
    own = (workspace.NAME, ".nox")
    try:
        handoff = settings.load_settings(project, required=False).handoff
    except PreflightError:
        return own  # (whoever runs a session is told what is wrong with the table)
    return own if handoff is None else (*own, handoff.report_path, handoff.queue, handoff.log)
