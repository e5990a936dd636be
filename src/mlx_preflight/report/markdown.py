"""Render a report as Markdown: verdict, findings with remedies, every row, environment.

Everything that came from outside is escaped, and the whole is capped, so that it can be
posted in a pull request or a step summary as it is.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MAX_BYTES = 64_000
"""GitHub refuses a comment over 65,536 characters and drops a step summary over 1 MiB."""

MAX_CELL = 300

MAX_MEASUREMENTS = 8
"""Measurements shown per check; the rest is in report.json."""

MEGA = 1_000_000

MARKS = {"PASS": "✅", "FAIL": "❌", "ERROR": "⚠️", "BLOCKED": "⛔"}

HEADLINES = {
    "ready_for_integrator": "every required check of the plan passed",
    "needs_adapt": "not everything required passed",
    "partial": "everything required of this group passed; the rest of the plan did not run",
}

_TERMINAL = re.compile(
    # CSI, then OSC and its relatives with their terminator, then two-character escapes.
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x80-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
_CODE = re.compile(r"`([^`<>&|\\\n]+)`")
_MARKUP = re.compile(r"([\\`*_\[\]#|~$])")


def render(report: Mapping[str, Any]) -> str:
    """Return the Markdown text of a report document, at most `MAX_BYTES` long."""
    body = "\n".join(_lines(report)) + "\n"
    end = "\n".join(_environment(report)) + "\n"
    if len(body.encode()) + len(end.encode()) <= MAX_BYTES:
        return body + end
    note = "\n\n*Cut here: the report is longer; the whole is in report.json.*\n\n"
    end = _first(end, MAX_BYTES // 8)
    return _first(body, MAX_BYTES - len((note + end).encode())) + note + end


def without_report(error: Exception) -> str:
    """Return the Markdown text for a run that left no report to show."""
    return f"# Preflight: no verdict\n\n**{MARKS['ERROR']} ERROR**: {escape(error)}\n"


def _first(text: str, size: int) -> str:
    """Return the whole lines of a text that take at most `size` bytes."""
    raw = text.encode()
    return text if len(raw) <= size else raw[:size].decode(errors="ignore").rpartition("\n")[0]


def plain(value: object, limit: int = MAX_CELL) -> str:
    """Return foreign text as one line without control characters and terminal escapes.

    What is longer than `limit` is cut, and ends in `…` to say so.
    """
    # Escapes and blanks shrink the text, so more than the limit is looked at.
    text = _TERMINAL.sub("", str(value)[: 20 * limit])
    kept = (char if unicodedata.category(char)[0] != "C" else _blank(char) for char in text)
    text = " ".join("".join(kept).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def escape(value: object, limit: int = MAX_CELL) -> str:
    """Return foreign text as one line of harmless Markdown.

    Control characters go, line breaks become spaces, and whatever Markdown or HTML could
    read as markup, a link or a mention is escaped.
    """
    return _escaped(plain(value, limit))


def code_or_text(value: object, limit: int = MAX_CELL) -> str:
    """Return foreign text escaped, with its plain `code spans` left as such."""
    parts = _CODE.split(plain(value, limit))
    return "".join(f"`{part}`" if n % 2 else _escaped(part) for n, part in enumerate(parts))


def grouped(findings: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return findings with their ids; neighbours of one session and reason become one.

    A session that did not run would otherwise say so once for every check.
    """
    keys = ("session", "status", "required", "reason", "remedy")
    for _, same in itertools.groupby(findings, key=lambda row: [row[key] for key in keys]):
        rows = list(same)
        first, last = rows[0]["id"], rows[-1]["id"]
        yield (str(first) if len(rows) == 1 else f"{first} to {last}"), rows[0]


def topic(ids: str, row: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """Return what a finding is about: the check's title, or for several the session's."""
    if ids == row["id"]:
        return str(row["title"])
    titles = {item["id"]: str(item["title"]) for item in report["planned"]}
    return titles.get(row["session"], "").partition(": ")[2]


def _escaped(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _MARKUP.sub(r"\\\1", text).replace("://", ":&#47;&#47;")
    text = re.sub(r"\bwww\.", r"www\.", text, flags=re.IGNORECASE)
    # GitHub looks for mentions after Markdown is rendered: a joiner breaks the name.
    return re.sub(r"@(?=\w)", "@\N{WORD JOINER}", text)


def render_value(value: float | str, unit: str) -> str:
    """Return a value for a reader: bytes in GB or MB, sensible digits, the unit behind."""
    if isinstance(value, str):
        return value[:12] if unit == "sha256" else value
    if unit == "bytes":
        giga = abs(value) >= 1e8  # noqa: PLR2004
        return f"{value / 1e9:.3f} GB" if giga else f"{value / 1e6:.2f} MB"
    number = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    return number if unit in {"count", "text", "ratio"} else f"{number} {unit}"


def render_limit(limit: str, unit: str) -> str:
    """Return a limit for a reader: bytes as in `render_value`, all else as it stands."""
    sign, _, number = limit.rpartition(" ")
    if unit == "bytes" and number.isascii() and number.isdigit() and int(number) >= MEGA:
        return f"{sign} {render_value(int(number), unit)}"
    return limit


def _blank(char: str) -> str:
    return " " if char in "\n\r\t\v\f\x85" else ""


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    counts = report["counts"]
    # In this order also after the report was read from its file, whose keys are sorted.
    shown = ", ".join(f"{counts[name]} {name}" for name in MARKS if counts.get(name))
    yield f"# Preflight: {escape(report['verdict'])}"
    yield ""
    yield (
        f"**{MARKS[report['status']]} {report['status']}**: "
        f"{HEADLINES.get(report['verdict'], '')}. {shown or 'Nothing'} of "
        f"{sum(counts.values())} checks."
    )
    yield ""
    yield f"It holds for {escape(report['holds_for'])}."
    yield ""
    yield from _findings(report)
    yield from _sessions(report)


def _findings(report: Mapping[str, Any]) -> Iterator[str]:
    findings = report["findings"]
    if not findings:
        return
    yield "## Findings"
    yield ""
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
    yield f"## {escape(title)}"
    yield ""
    took = f"{result['duration_s']:.1f} s" if result else "no usable result of this run"
    yield f"`{session}`, {took}"
    yield ""
    yield "| check | status | evidence | what was seen | measured |"
    yield "|---|---|---|---|---|"


def _measured(items: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for item in items[:MAX_MEASUREMENTS]:
        shown = escape(render_value(item["value"], item["unit"]), 80)
        limit = render_limit(item["limit"], item["unit"]) if item["limit"] else ""
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
    if report["stale"]:
        yield f"results of other runs, not used: {', '.join(report['stale'])}"


def _environment(report: Mapping[str, Any]) -> Iterator[str]:
    yield "## Environment"
    yield ""
    for fact in environment_facts(report):
        yield f"- {escape(fact)}"


def _machine(env: Mapping[str, Any]) -> str:
    memory = env.get("memory_bytes")
    size = f"{memory / 1e9:.1f} GB RAM" if isinstance(memory, int | float) else "RAM unknown"
    names = ("processor", "cpu_count", "system", "release", "machine", "python")
    known = {name: env.get(name) or "unknown" for name in names}
    return (
        "{processor}, {cpu_count} cores, {size}; {system} {release} {machine}; "
        "Python {python}".format(size=size, **known)
    )
