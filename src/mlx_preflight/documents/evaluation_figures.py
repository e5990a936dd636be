"""Figures, tables and plots of the evaluation, made from evidence on frameworks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mlx_preflight.core.markdown_text import escape
from mlx_preflight.core.units import (
    format_bytes,
    format_measurement,
    format_number,
    format_percent,
    format_seconds,
)
from mlx_preflight.documents import svg
from mlx_preflight.frameworks import measure, parity, scoring
from mlx_preflight.frameworks.framework import REFERENCE

Data = Mapping[str, Mapping[str, Any]]

CRITERIA = {
    "memory": "memory",
    "speed": "speed",
    "ease": "ease of use",
    "qlora": "QLoRA",
    "m1_max": "M1 Max",
}
"""Criterion → its name in the tables of scores."""

MEMORY, SPEED, LOSS = "frameworks_memory.svg", "frameworks_speed.svg", "frameworks_loss.svg"

REPEATS = {"tokens_per_s": measure.AGREE, "peak_rss_bytes": 0.03}
"""Relative difference of runs up to which one figure speaks for both."""


def values(data: Data, weights: Mapping[str, float]) -> dict[str, str]:
    """Return placeholder → text."""
    found = scoring.scores(data)
    sums = scoring.totals(found, weights)
    winner = next(iter(sums))
    filled = {
        f"{name}.{key}": text for name, item in data.items() for key, text in _figures(item).items()
    }
    return {
        **filled,
        "winner": str(data[winner]["title"]),
        "date": max(str(item["date"])[:10] for item in data.values()),
        "machine": _machine(data[REFERENCE]["machine"]),
        "measurements": "\n".join(_measurements(data)),
        "parity": "\n".join(_parity(data)),
        "scores": "\n".join(_scores(data, found, weights, sums)),
        "sensitivity": "\n".join(_sensitivity(data, found, weights)),
        "padding_counted": f"{data[REFERENCE]['probe']['padding_counted']:.4f}",
        "padding_left_out": f"{data[REFERENCE]['probe']['padding_left_out']:.4f}",
        "plots": "\n\n".join(
            f"![{alt}]({name})"
            for alt, name in (
                ("peak memory by framework", MEMORY),
                ("tokens per second by framework", SPEED),
                ("loss by step and framework", LOSS),
            )
        ),
    }


def plots(data: Data) -> dict[str, str]:
    """Return file name → SVG text."""
    titles = {name: str(item["title"]) for name, item in data.items()}
    memory = {titles[name]: scoring.memory(item) for name, item in data.items()}
    speed = {titles[name]: scoring.speed(item) for name, item in data.items()}
    loss = {titles[name]: item["train"][0]["loss"] for name, item in data.items()}
    return {
        MEMORY: svg.bars("Peak resident memory of the training", "bytes", memory),
        SPEED: svg.bars("Training speed on the CPU of this machine", "tokens/s", speed),
        LOSS: svg.lines("Training loss, same rows in the same order", "step", "nats", loss),
    }


def _figures(item: Mapping[str, Any]) -> dict[str, str]:
    ease = scoring.ease_figures(item)
    runs = item["train"]
    return {
        "version": str(item["version"]),
        "install_time": format_seconds(ease["install_s"]),
        "install_size": format_bytes(ease["install_bytes"]),
        "packages": f"{ease['packages']:.0f}",
        "import_time": format_seconds(ease["import_s"]),
        "config_lines": f"{ease['config_lines']:.0f}",
        "peak": format_bytes(scoring.memory(item)),
        "speed": format_measurement(scoring.speed(item), "tokens/s"),
        "first_step": format_seconds(min(run["first_step_s"] for run in runs)),
        "qlora": _qlora(item["qlora"]),
    }


def _measurements(data: Data) -> Iterator[str]:
    yield _row("what", (str(item["title"]) for item in data.values()))
    yield "|---|" + "---|" * len(data)
    for name, show in _ROWS.items():
        yield _row(name, (show(item) for item in data.values()))


def _spread(item: Mapping[str, Any], key: str) -> str:
    """Return one figure where two runs agree, else both."""
    found = [float(run[key]) for run in item["train"]]
    show = format_bytes if key.endswith("bytes") else format_number
    apart = (max(found) - min(found)) / min(found)
    if apart <= REPEATS[key]:
        return show(max(found))
    return f"{', '.join(map(show, found))} (the runs are {format_percent(100 * apart)} apart)"


def _qlora(found: Mapping[str, Any]) -> str:
    if found["runs"]:
        return "runs, " + " → ".join(f"{loss:.3f}" for loss in found["loss"])
    lines = [line for line in str(found["error"]).splitlines() if line.strip()]
    return f"fails: {lines[-1][:160]}" if lines else "fails without a word"


def _parity(data: Data) -> Iterator[str]:
    yield "| framework | first loss | off the reference | after mapping | finding |"
    yield "|---|---|---|---|---|"
    for name, item in data.items():
        found = parity.explain(name, item, data[REFERENCE])
        mapped = "not mapped" if found.mapped is None else f"{found.mapped:.1e}"
        first = f"{item['train'][0]['loss'][0]:.6f}"
        kind = found.text if found.kind == "agrees" else f"{found.kind}: {found.text}"
        yield _row(str(item["title"]), (first, f"{found.relative:.1e}", mapped, kind))


def _scores(
    data: Data,
    found: Mapping[str, Mapping[str, scoring.Score]],
    weights: Mapping[str, float],
    sums: Mapping[str, float],
) -> Iterator[str]:
    yield "| criterion | weight | framework | score | value | source |"
    yield "|---|---|---|---|---|---|"
    for criterion, scores in found.items():
        for name, score in scores.items():
            cells = (f"{weights[criterion]:g}", str(data[name]["title"]), f"{score.share:.2f}")
            yield _row(CRITERIA[criterion], (*cells, score.value, score.source))
    ranking = scoring.format_ranking(data, sums)
    yield from ("", f"Weighted means, best first: {ranking}.")


def _sensitivity(
    data: Data,
    found: Mapping[str, Mapping[str, scoring.Score]],
    weights: Mapping[str, float],
) -> Iterator[str]:
    yield from ("| weight changed | times | ranking |", "|---|---|---|")
    first = next(iter(scoring.totals(found, weights)))
    variations = scoring.sensitivity(found, weights)
    for item in variations:
        ranking = scoring.format_ranking(data, item.totals)
        yield _row(CRITERIA[item.criterion], (f"{item.factor:g}", ranking))
    same = sum(item.ranking[0] == first for item in variations)
    yield ""
    yield f"{data[first]['title']} comes first in {same} of {len(variations)} variations."


def _machine(found: Mapping[str, Any]) -> str:
    return (
        f"{found['processor']}, {found['cpu_count']} cores, {format_bytes(found['memory_bytes'])} "
        f"RAM, {found['system']} {found['machine']}, Python {found['python']}"
    )


def _row(first: str, cells: Iterable[str]) -> str:
    shown = (" ".join(escape(str(cell)).split()) for cell in cells)
    return f"| {first} | {' | '.join(shown)} |"


_ROWS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "version": lambda item: item["version"],
    "installation": lambda item: format_seconds(item["install"]["install_s"]),
    "size on disk": lambda item: format_bytes(item["install"]["bytes"]),
    "packages": lambda item: str(len(item["install"]["packages"])),
    "import, median of runs": lambda item: format_seconds(scoring.median(item["import_s"])),
    "lines of configuration and script": lambda item: str(item["config_lines"]),
    "peak RSS of the process tree": lambda item: _spread(item, "peak_rss_bytes"),
    "tokens/s, median of steady steps": lambda item: _spread(item, "tokens_per_s"),
    "tokens per CPU second": lambda item: ", ".join(
        format_number(run["tokens_per_cpu_s"]) for run in item["train"]
    ),
    "start to end of first step": lambda item: ", ".join(
        format_seconds(run["first_step_s"]) for run in item["train"]
    ),
    "first loss": lambda item: f"{item['train'][0]['loss'][0]:.6f}",
    "last loss": lambda item: f"{item['train'][0]['loss'][-1]:.6f}",
    "load of the machine before each run": lambda item: ", ".join(
        f"{run['load_before']:.1f}" for run in item["train"]
    ),
    "the runs have the same losses": lambda item: (
        "yes" if all(run["loss"] == item["train"][0]["loss"] for run in item["train"]) else "no"
    ),
    "adapter on disk": lambda item: format_bytes(item["adapter"]["bytes"]),
    "answers that the reloaded adapter changes": lambda item: (
        f"{item['adapter']['changed']} of {item['adapter']['questions']}"
    ),
    "QLoRA on this machine": lambda item: _qlora(item["qlora"]),
    "Apple silicon (static)": lambda item: (
        f"{item['apple']['text']} ({item['apple']['source']}, {item['apple']['version']})"
    ),
    "whole measurement": lambda item: format_seconds(item["duration_s"]),
}
"""Row of the table of measurements → its cell for one framework."""
