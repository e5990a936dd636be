"""Figures of all cases: a row for every check, the sums, and every case that did not end well."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mlx_preflight.core import environment
from mlx_preflight.plan import register as plan
from mlx_preflight.selftest.injection import known
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
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "machine": _machine(),
        "figures": figures(cases, ends),
        "tracebacks": found.tracebacks,
        "orphans": found.orphans,
        "bare_reasons": [trial.case for trial in found.trials if trial.bare],
        "kills": kills,
        "checks": [row for row in _rows(cases, ends) if row["planted"] or row["clean"]],
        "cases": [_case(case, ends[case.id]) for case in cases],
    }


def _machine() -> dict[str, Any]:
    found = environment.capture()
    names = ("system", "machine", "processor", "python", "packages")
    return {name: found[name] for name in names if name in found}


def figures(cases: Sequence[Case], ends: Mapping[str, Trial]) -> dict[str, Any]:
    """Return the sums over all cases."""
    defects = [case for case in cases if case.check]
    counted = Counter(ends[case.id].outcome for case in cases)
    return {
        "planted": len(defects),
        "planted_in_answers": sum(case.answer for case in defects),
        "caught": counted[CAUGHT] + counted[ELSEWHERE],
        "caught_exactly": counted[CAUGHT],
        "caught_elsewhere": counted[ELSEWHERE],
        "missed": counted[MISSED],
        "clean": len(cases) - len(defects),
        "false_alarms": counted[ALARM],
        "not_planted": counted[UNPLANTED],
        "died": counted[DIED],
        "known_open": sum(case.id in known.OPEN for case in cases),
    }


def _rows(cases: Sequence[Case], ends: Mapping[str, Trial]) -> list[dict[str, Any]]:
    near = neighbours(cases)
    rows = []
    for session in plan.SESSIONS:
        for check in session.checks:
            mine = [ends[case.id].outcome for case in cases if case.check == check.id]
            clean = [ends[case.id].outcome for case in near[check.id]]
            rows.append(
                {
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
            )
    return rows


def _case(case: Case, trial: Trial) -> dict[str, Any]:
    return {
        "case": case.id,
        "check": case.check,
        "outcome": trial.outcome,
        "changed": "answer" if case.answer else "input",
        "open": known.OPEN.get(case.id, ""),
        "red": trial.red,
        "seconds": trial.seconds,
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
    said += [f"traceback: {line}" for line in result["tracebacks"]]
    said += [f"left behind: {name}" for name in result["orphans"]]
    if result["kills"]:
        said += [f"lost: {line}" for line in result["kills"]["lost"]]
    return said
