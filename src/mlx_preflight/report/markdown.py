"""Report as Markdown: verdict, findings with remedies, every row, environment.

Everything that came from outside is escaped, and the text is capped, so that it can be
posted in a pull request or a step summary as it is.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlx_preflight.core.markdown_text import code_or_text, escape
from mlx_preflight.core.units import format_bytes, format_limit, format_measurement, format_seconds

MAX_BYTES = 64_000
"""GitHub refuses a comment over 65,536 characters and drops a step summary over 1 MiB."""

MAX_FACT = 8000
"""Characters of a line on the environment: one names every package of a venv."""

MAX_MEASUREMENTS = 8
"""Measurements shown per check; the rest is in report.json."""

MARKS = {"PASS": "✅", "FAIL": "❌", "ERROR": "⚠️", "BLOCKED": "⛔"}

HEADLINES = {
    "ready_for_integrator": "every required check of the plan passed",
    "needs_adapt": "not everything required passed",
    "partial": "everything required of this group passed; the rest of the plan did not run",
}


def render(report: Mapping[str, Any]) -> str:
    """Return the Markdown text of a report document, at most `MAX_BYTES` long."""
    body = "\n".join(_lines(report)) + "\n"
    end = "\n".join(_environment(report)) + "\n"
    if len(body.encode()) + len(end.encode()) <= MAX_BYTES:
        return body + end
    note = "\n\n*Cut here: the complete report is in report.json.*\n\n"
    end = _first(end, MAX_BYTES // 8)
    return _first(body, MAX_BYTES - len((note + end).encode())) + note + end


def without_report(error: Exception) -> str:
    """Return the Markdown text for a run that left no report to show."""
    return f"# Preflight: no verdict\n\n**{MARKS['ERROR']} ERROR**: {escape(error)}\n"


def _first(text: str, size: int) -> str:
    """Return the whole lines of a text that take at most `size` bytes."""
    raw = text.encode()
    return text if len(raw) <= size else raw[:size].decode(errors="ignore").rpartition("\n")[0]


def grouped(findings: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return findings with their ids; neighbours of one session and reason become one.

    A session that did not run would otherwise say so once for every check.
    """
    keys = ("session", "status", "required", "reason", "remedy")
    for _, same in itertools.groupby(findings, key=lambda row: [row[key] for key in keys]):
        rows = list(same)
        yield _spans([str(row["id"]) for row in rows]), rows[0]


def _spans(ids: Sequence[str]) -> str:
    """Return ids in a row as `AC4.1 to AC4.3, AC4.6`: what is between them was judged apart."""
    spans: list[tuple[str, str]] = []
    for name in ids:
        if spans and _place(name) == (_place(spans[-1][1])[0], _place(spans[-1][1])[1] + 1):
            spans[-1] = (spans[-1][0], name)
        else:
            spans.append((name, name))
    return ", ".join(first if first == last else f"{first} to {last}" for first, last in spans)


def _place(name: str) -> tuple[str, int]:
    """Return what a check's id begins with, and its number; -1 where it has none."""
    found = re.fullmatch(r"(.*?)(\d+)", name)
    return (found[1], int(found[2])) if found else (name, -1)


def topic(ids: str, row: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """Return what a finding is about: the check's title, or for several the session's."""
    if ids == row["id"]:
        return str(row["title"])
    titles = {item["id"]: str(item["title"]) for item in report["planned"]}
    return titles.get(row["session"], "").partition(": ")[2]


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    counts = report["counts"]
    # In this order also after the report was read from its file, whose keys are sorted.
    shown = ", ".join(f"{counts[name]} {name}" for name in MARKS if counts.get(name))
    yield from (f"# Preflight: {escape(report['verdict'])}", "")
    yield (
        f"**{MARKS[report['status']]} {report['status']}**: "
        f"{HEADLINES.get(report['verdict'], '')}. {shown or 'Nothing'} of "
        f"{sum(counts.values())} checks."
    )
    yield from ("", f"It holds for {escape(report['holds_for'])}.", "")
    yield from _findings(report)
    yield from _sessions(report)


def _findings(report: Mapping[str, Any]) -> Iterator[str]:
    findings = report["findings"]
    if not findings:
        return
    yield from ("## Findings", "")
    for ids, row in grouped(findings):
        optional = "" if row["required"] else " (not required)"
        title = escape(topic(ids, row, report))
        yield (
            f"- {MARKS[row['status']]} {row['status']} **{escape(ids)}** {title}{optional}: "
            f"{code_or_text(row['reason'])}"
        )
        if row["remedy"]:
            yield f"  - try: {code_or_text(row['remedy'])}"
    yield ""


def _sessions(report: Mapping[str, Any]) -> Iterator[str]:
    session, titles = None, {item["id"]: item["title"] for item in report["planned"]}
    for row in report["rows"]:
        if row["session"] != session:
            if session is not None:
                yield ""
            session = row["session"]
            title = titles.get(session, session)
            yield from _heading(session, title, report["sessions"].get(session))
        what = f"{escape(row['title'])}: {code_or_text(row['reason'])}"
        optional = "" if row["required"] else " (not required)"
        yield (
            f"| {escape(row['id'])} | {MARKS[row['status']]} {row['status']}{optional} "
            f"| {escape(row['evidence'])} | {what} | {_measured(row['measurements'])} |"
        )
    yield ""


def _heading(session: str, title: str, result: Mapping[str, Any] | None) -> Iterator[str]:
    yield from (f"## {escape(title)}", "")
    took = format_seconds(result["duration_s"]) if result else "no usable result of this run"
    yield from (f"`{session}`, {took}", "")
    yield from ("| check | status | evidence | what was seen | measured |", "|---|---|---|---|---|")


def _measured(items: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for item in items[:MAX_MEASUREMENTS]:
        shown = escape(format_measurement(item["value"], item["unit"]), 80)
        limit = format_limit(item["limit"], item["unit"]) if item["limit"] else ""
        limit = f" (limit {escape(limit, 80)})" if limit else ""
        parts.append(f"{escape(item['name'], 80)}: {shown}{limit}")
    if len(items) > MAX_MEASUREMENTS:
        parts.append(f"… {len(items) - MAX_MEASUREMENTS} more in report.json")
    return "<br>".join(parts)


def environment_facts(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a report says about its run, machine, versions and commit, unescaped."""
    env, git = report["environment"], report["git"]
    yield f"run {report['run_id']}, group {report['group']}"
    yield f"started {report['started']}, reported {report['generated']}"
    yield f"{report['tool']}, profile {report['profile']}"
    for name, value in sorted(report["model"].items()):
        # The digests of single files are in report.json.
        if value is not None and not isinstance(value, Mapping):
            yield f"model {name}: {value}"
    if env:
        yield _machine(env)
    packages = env.get("packages")
    if packages and isinstance(packages, Mapping):
        yield ", ".join(f"{name} {version}" for name, version in sorted(packages.items()))
    dirty = {True: ", with uncommitted changes", False: ""}
    state = ", cleanness unknown"
    if isinstance(git.get("dirty"), bool):
        state = dirty[git["dirty"]]
    yield f"commit {git.get('commit') or 'unknown'}{state}"
    yield from _judged(report["sessions"])
    if report["stale"]:
        yield f"results of other runs, not used: {', '.join(report['stale'])}"


def _judged(sessions: Mapping[str, Any]) -> Iterator[str]:
    groups: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for name, result in sessions.items():
        found = result.get("environment", {}).get("judged")
        if isinstance(found, Mapping) and isinstance(found.get("packages"), Mapping):
            groups.setdefault(f"{found.get('digest')}", []).append((name, found))
    for digest, members in groups.items():
        first = members[0][1]
        where = ", ".join(dict.fromkeys(str(found.get("path")) for _, found in members))
        packages = ", ".join(f"{name} {version}" for name, version in first["packages"].items())
        yield (
            f"{', '.join(name for name, _ in members)} judged {where} (Python "
            f"{first.get('python')}, {len(first['packages'])} packages, sha256 {digest[:12]}): "
            f"{packages or 'nothing is installed'}"
        )


def _environment(report: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## Environment", "")
    for fact in environment_facts(report):
        yield f"- {escape(fact, MAX_FACT)}"


def _machine(env: Mapping[str, Any]) -> str:
    memory = env.get("memory_bytes")
    size = f"{format_bytes(memory)} RAM" if isinstance(memory, int | float) else "RAM unknown"
    names = ("processor", "cpu_count", "system", "release", "machine", "python")
    known = {name: env.get(name) or "unknown" for name in names}
    return (
        "{processor}, {cpu_count} cores, {size}; {system} {release} {machine}; "
        "Python {python}".format(size=size, **known)
    )
