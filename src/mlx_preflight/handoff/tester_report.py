"""Tester report: a finished report in the words of builder, integrator and task queue.

It reads the report document and nothing else: no file, and no judgement of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlx_preflight.core.markdown_text import escape
from mlx_preflight.core.result import Status
from mlx_preflight.plan import register
from mlx_preflight.plan.handoff_settings import Handoff
from mlx_preflight.report.markdown import HEADLINES, MARKS

READY = "ready_for_integrator"

Document = Mapping[str, Any]

_PARTS = (
    ("Acceptance criteria", "ac"),
    ("Integration, regression and benchmarks", "integration regression bench"),
)


def task_status(document: Document, handoff: Handoff) -> str | None:
    """Return the status that a run gives the task; None when it cannot give one.

    Only a run of the whole plan that passed, for the profile that the task is about, makes
    it ready: a smaller group or another model says nothing about the rest.
    """
    passed = document["status"] == Status.PASS.value and document["exit_code"] == 0
    if not passed or document["verdict"] == "needs_adapt":
        return "needs_adapt"
    whole = document["verdict"] == READY and document["group"] == "preflight"
    whole = whole and document["profile"] == handoff.profile
    return READY if whole else None


def queue_members(document: Document, handoff: Handoff) -> dict[str, Any]:
    """Return what the task's object in the queue receives."""
    return {
        "status": task_status(document, handoff),
        "test_results": {
            "run_id": document["run_id"],
            "group": document["group"],
            "judged": document["generated"],
            "by": handoff.agent,
            "holds_for": document["holds_for"],
            "commit": commit(document),
            "counts": dict(document["counts"]),
            "sessions": {name: status for name, status, _, _ in sessions(document)},
            "findings": [row["id"] for row in document["findings"]],
            "report": handoff.report_path,
        },
    }


def render(document: Document, handoff: Handoff) -> str:
    """Return the tester report as Markdown."""
    return "\n".join(_lines(document, handoff)) + "\n"


def sessions(document: Document, tags: str = "") -> Iterator[tuple[str, str, int, int]]:
    """Yield id, status, passed and all checks of every planned session with one of the tags."""
    for session in register.SESSIONS:
        rows = [row for row in document["rows"] if row["session"] == session.id]
        if rows and (not tags or session.tag in tags.split()):
            found = [Status(row["status"]) for row in rows]
            yield session.id, Status.worst(found).value, found.count(Status.PASS), len(found)


def tally(document: Document, tags: str) -> str:
    """Return how many sessions passed, such as `7 of 8`, or `not run`."""
    found = [status for _, status, _, _ in sessions(document, tags)]
    return f"{found.count(Status.PASS.value)} of {len(found)}" if found else "not run"


def commit(document: Document) -> str:
    """Return the commit that was tested, marked when the work tree differed from it."""
    git = document["git"]
    note = {True: " with uncommitted changes", False: ""}.get(git.get("dirty"), ", state unknown")
    return f"{git['commit']}{note}" if git.get("commit") else "unknown"


def _lines(document: Document, handoff: Handoff) -> Iterator[str]:
    headline = HEADLINES.get(document["verdict"], escape(document["verdict"]))
    yield from (f"# Tester report {handoff.subtask}", "")
    yield f"**Status: {task_status(document, handoff) or 'unchanged'}** ({headline})"
    yield from ("", f"- Task: {handoff.task}, tester: {handoff.agent}")
    yield f"- Judged: {escape(document['generated'])}, run {escape(document['run_id'])}"
    yield f"- Scope: {escape(document['group'])}; it holds for {escape(document['holds_for'])}"
    yield from (f"- Commit: {escape(commit(document))}", "", "## Test execution summary", "")
    for title, tags in _PARTS:
        yield from (f"### {title}: {tally(document, tags)} passed", "")
        yield from _table(document, tags)
    yield from (f"## Quality gates status: {tally(document, 'gates')} passed", "")
    yield from _table(document, "gates")
    yield from _issues(document["findings"])
    yield from _recommendations(document["findings"])
    yield from _notes(document, handoff)


def _table(document: Document, tags: str) -> Iterator[str]:
    found = list(sessions(document, tags))
    if not found:
        yield from ("Not part of this run.", "")
        return
    yield from ("| session | status | checks passed | how it knows |", "|---|---|---|---|")
    for name, status, passed, total in found:
        rows = [row for row in document["rows"] if row["session"] == name]
        evidence = ", ".join(sorted({escape(row["evidence"]) for row in rows}))
        yield f"| `{name}` | {MARKS[status]} {status} | {passed} of {total} | {evidence} |"
    yield ""


def _issues(findings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from ("## Issues found", "")
    for row in findings:
        optional = "" if row["required"] else ", not required"
        yield (
            f"- **{escape(row['id'])}** ({escape(row['status'])}{optional}) "
            f"{escape(row['title'])}: {escape(row['reason'])}"
        )
    if not findings:
        yield "None."
    yield ""


def _recommendations(findings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from ("## Recommendations for the builder", "")
    by_remedy: dict[str, list[str]] = {}
    for row in findings:
        by_remedy.setdefault(escape(row["remedy"]) or "see the reason above", []).append(row["id"])
    for remedy, ids in by_remedy.items():
        yield f"- {', '.join(escape(name) for name in ids)}: {remedy}"
    if not findings:
        yield "None."
    yield ""


def _notes(document: Document, handoff: Handoff) -> Iterator[str]:
    yield from ("## Hand-off notes for the integrator", "")
    if task_status(document, handoff) != READY:
        yield "Not ready: nothing to integrate until a run of the whole plan passes."
        return
    yield f"- Integrate commit {escape(commit(document))}; it is the one that was tested."
    if document["git"].get("dirty") is not False:
        yield "- The work tree is not known to equal that commit: commit it and run the plan again."
    yield f"- The verdict holds for {escape(document['holds_for'])}."
    for row in document["findings"]:
        yield f"- Not required, and not passed: {escape(row['id'])} {escape(row['title'])}."
    yield "- Evidence of every check: `.preflight/report.json` of this run."
