"""Figures of all cases: a row for every check, the sums, and every case that did not end well."""

from __future__ import annotations

import datetime as dt
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlx_preflight.core import environment
from mlx_preflight.plan import register as plan
from mlx_preflight.selftest.injection import catalogue, known
from mlx_preflight.selftest.injection.case import Case
from mlx_preflight.selftest.injection.pool import Found
from mlx_preflight.selftest.injection.trial import (
    ALARM,
    CAUGHT,
    CLEAN,
    DIED,
    ELSEWHERE,
    MISSED,
    UNPLANTED,
    Trial,
)

BAD = (ELSEWHERE, MISSED, ALARM, UNPLANTED, DIED)

Row = dict[str, Any]
"""One case in the result, or one check."""


def neighbours(cases: Sequence[Case]) -> dict[str, list[Case]]:
    """Return check id → clean cases that come close to it."""
    found: dict[str, list[Case]] = {check.id: [] for s in plan.SESSIONS for check in s.checks}
    for case in cases:
        if not case.check:
            session, _ = plan.find_session(case.session)
            for check in case.near or [check.id for check in session.checks]:
                found[check].append(case)
    return found


def document(
    cases: Sequence[Case], found: Found, seconds: float, kills: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the result of a run as JSON data.

    Args:
        cases: What was planted.
        found: How it ended.
        seconds: What it took.
        kills: Figures of the random kills; None where none were asked for.
    """
    ends = {trial.case: trial for trial in found.trials}
    rows = [_case(case, ends[case.id]) for case in cases]
    names = dict.fromkeys(case.session for case in cases)
    return {
        "seconds": round(seconds, 1),
        "load": round(os.getloadavg()[0], 1),
        "machine": _machine(),
        "sessions": {name: _session(name, found) for name in names},
        "kills": kills,
        **_counted(rows),
    }


def merged(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result whose sessions were partly run again.

    Args:
        before: The result that is there; cases that no longer exist leave it.
        now: The result of some sessions.
    """
    again = now["sessions"]
    rows = {item["case"]: item for item in now["cases"]}
    rows |= {
        item["case"]: {**item, "open": known.OPEN.get(item["case"], "")}
        for item in before["cases"]
        if item["session"] not in again
    }
    order = [case.id for case in catalogue.cases()]
    return {
        **before,
        "sessions": dict(sorted({**before["sessions"], **again}.items())),
        "kills": now["kills"] or before["kills"],
        **_counted([rows[name] for name in order if name in rows]),
    }


def _machine() -> dict[str, Any]:
    found = environment.capture()
    names = ("system", "machine", "processor", "python", "packages")
    return {name: found[name] for name in names if name in found} | {"cpus": os.cpu_count()}


def _session(name: str, found: Found) -> dict[str, Any]:
    mine = [trial for trial in found.trials if trial.case.startswith(f"{name}: ")]
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "seconds": round(sum(trial.seconds for trial in mine), 1),
        "tracebacks": found.tracebacks.get(name, []),
        "orphans": found.orphans.get(name, []),
    }


def _case(case: Case, trial: Trial) -> Row:
    return {
        "case": case.id,
        "session": case.session,
        "check": case.check,
        "outcome": trial.outcome,
        "changed": "answer" if case.answer else "input",
        "open": known.OPEN.get(case.id, ""),
        "red": trial.red,
        "bare": trial.bare,
        "seconds": trial.seconds,
    }


def _counted(rows: Sequence[Row]) -> dict[str, Any]:
    return {"figures": figures(rows), "checks": list(_checks(rows)), "cases": list(rows)}


def figures(rows: Sequence[Row]) -> dict[str, int]:
    """Return the sums over all cases."""
    defects = [row for row in rows if row["check"]]
    counted = Counter(row["outcome"] for row in rows)
    return {
        "planted": len(defects),
        "planted_in_answers": sum(row["changed"] == "answer" for row in defects),
        "caught": counted[CAUGHT] + counted[ELSEWHERE],
        "caught_exactly": counted[CAUGHT],
        "caught_elsewhere": counted[ELSEWHERE],
        "missed": counted[MISSED],
        "clean": len(rows) - len(defects),
        "false_alarms": counted[ALARM],
        "not_planted": counted[UNPLANTED],
        "died": counted[DIED],
        "bare_reasons": sum(row["bare"] for row in rows),
        "known_open": sum(bool(row["open"]) for row in rows),
    }


def _checks(rows: Sequence[Row]) -> Iterator[Row]:
    ends = {row["case"]: row["outcome"] for row in rows}
    near = neighbours(catalogue.cases())
    sessions = {row["session"] for row in rows}
    for session in plan.SESSIONS:
        for check in session.checks if session.id in sessions else ():
            mine = [row["outcome"] for row in rows if row["check"] == check.id]
            clean = [ends[case.id] for case in near[check.id] if case.id in ends]
            yield {
                "check": check.id,
                "session": session.id,
                "title": check.title,
                "planted": len(mine),
                "exactly": mine.count(CAUGHT),
                "elsewhere": mine.count(ELSEWHERE),
                "missed": mine.count(MISSED),
                "clean": len(clean),
                "false_alarms": len(clean) - clean.count(CLEAN),
            }


def problems(result: Mapping[str, Any]) -> list[str]:
    """Return every case that did not end well, and what else must not be."""
    said = [
        f"{item['outcome']}: {item['case']}"
        + (f" ({item['check']})" if item["check"] else "")
        + "".join(f"\n    {check} {text}" for check, text in item["red"].items())
        for item in result["cases"]
        if item["outcome"] in BAD
    ]
    for name, session in result["sessions"].items():
        said += [f"traceback: {name}: {line}" for line in session["tracebacks"]]
        said += [f"left behind: {name}: {line}" for line in session["orphans"]]
    if result["kills"]:
        said += [f"lost: {line}" for line in result["kills"]["lost"]]
    return said
