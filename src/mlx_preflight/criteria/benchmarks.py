"""Benchmarks 1 and 2: the figure, the plan's target beside it, the trend.

The target is not enforced (the plan says so), and it was set for an M1 Max and the 7B
model: a figure of another machine or model is recorded for its own trend only.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.core import environment
from mlx_preflight.core.errors import BlockedError, ResultError
from mlx_preflight.core.json_file import parse_json, write_text
from mlx_preflight.core.result import Evidence, Measurement, Outcome, Status
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.criteria import sources
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context

SOURCES = {
    register.BENCH_LOAD: (
        register.AC4_LOADING,
        register.AC4_2,
        "warm_load_s",
        "< 30 s on an M1 Max",
    ),
    register.BENCH_INFERENCE: (
        register.AC5_INFERENCE,
        register.AC5_5,
        "decode_tokens_per_s",
        "> 10 tokens/s on an M1 Max",
    ),
}

KEPT_LINES = 2000
"""Lines kept in the trend file; one run adds two."""


@dataclass(frozen=True, slots=True)
class BenchmarkFacts:
    """Figure of this run, and those of earlier runs on this machine and model."""

    figure: Measurement
    evidence: Evidence
    target: str
    earlier: tuple[float, ...]


def gather(session: Session, context: Context) -> BenchmarkFacts:
    """Read the figure from this run's result and append it to the trend, once per run.

    Raises:
        BlockedError: This run has not measured it.
        ResultError: It is no time and no rate.
    """
    source, check_id, name, target = SOURCES[session.id]
    found = sources.read_this_run(context, source)
    check = sources.find_check(found, check_id)
    figure = next((item for item in check.measurements if item.name == name), None)
    if figure is None or isinstance(figure.value, str) or check.status is not Status.PASS:
        reason = f"{check_id} has no {name} to record: {check.status}, {check.reason}"
        raise BlockedError(reason, hint=f"nox -s {source}")
    if not (math.isfinite(figure.value) and figure.value > 0):
        raise ResultError(
            f"{check_id}: {name} is {figure.value} {figure.unit}, which nothing takes",
            hint=f"measure again: `nox -s {source}`",
        )
    line = {
        "run_id": context.run_id,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "benchmark": session.id,
        "value": figure.value,
        "unit": figure.unit,
        "model": context.model,
        # The name of a folder says nothing about what is in it today.
        "fingerprint": str(found.model.get("fingerprint", "")),
        "processor": environment.capture()["processor"],
    }
    earlier = _append(Workspace(context.state).benchmarks, line)
    return BenchmarkFacts(figure, check.evidence, target, earlier)


def _judge(facts: BenchmarkFacts) -> Outcome:
    value, unit = float(facts.figure.value), facts.figure.unit
    trend = "first run on this machine and model"
    values = [Measurement(facts.figure.name, value, unit, samples=facts.figure.samples)]
    values.append(Measurement("target", f"{facts.target}, not enforced", "text"))
    if facts.earlier:
        median = statistics.median(facts.earlier)
        trend = f"median of {len(facts.earlier)} earlier runs {median:.4g} {unit}"
        values.append(Measurement("earlier_median", median, unit, samples=facts.earlier))
        if median:
            values.append(Measurement("ratio_to_earlier", value / median, "ratio"))
    reason = f"{value:.4g} {unit}; {trend}; target {facts.target}, not enforced"
    return Outcome(Status.PASS, reason, facts.evidence, tuple(values))


def _append(path: Path, line: dict[str, Any]) -> tuple[float, ...]:
    """Append a figure unless its run is there already; return comparable earlier ones."""
    lines = _read(path)
    same = ("benchmark", "model", "fingerprint", "processor", "unit")
    earlier = [
        item
        for item in lines
        if item.get("run_id") != line["run_id"] and all(item.get(k) == line[k] for k in same)
    ]
    mine = [item for item in lines if item.get("run_id") == line["run_id"]]
    if not any(item.get("benchmark") == line["benchmark"] for item in mine):
        kept = [*lines, line][-KEPT_LINES:]
        write_text(path, "".join(json.dumps(item, sort_keys=True) + "\n" for item in kept))
    return tuple(float(item["value"]) for item in earlier)


def _read(path: Path) -> list[dict[str, Any]]:
    """Return the lines of the trend file.

    Raises:
        BlockedError: A line is not what this module writes; it is never overwritten.
    """
    if not path.is_file():
        return []
    try:
        lines = [parse_json(text) for text in path.read_text(encoding="utf-8").splitlines()]
        return [{**item, "value": float(item["value"])} for item in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = f"move {path} away; the next run starts a new one"
        raise BlockedError(f"{path.name}: cannot be read: {error!r}", hint=hint) from error


CHECKS = {register.BENCH1: _judge, register.BENCH2: _judge}
