"""Write docs/faults.md from the recorded result of `nox -s faults`.

Usage: `python scripts/document_faults.py`, or with `--check`: code 1 where the file differs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlx_preflight.plan import register

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "faults.json"
PAGE = ROOT / "docs" / "faults.md"

HEAD = """# Planted faults

Does every check turn red for its defect, and for nothing else? `nox -s faults` plants at least one
defect and one clean neighbour for each check of the plan, and runs the session that should name it.
A check without either fails a test.

```bash
python3 -m nox -s faults                          # all: it writes benchmarks/results/faults.json
python3 -m nox -s faults -- --session gate4-unit  # the part of one session, for a change of it
mlx-preflight selftest --all --session bench-load # the same in this environment
```

A case is a list of small builders, such as "copy the model, cut 1,000 bytes off its weights". It
stands in `src/mlx_preflight/selftest/cases/`, in the module of its topic. Most cases
change an input: a file, a setting, a package. Some change what a tool, a child or the machine
answered, because no dying battery can be had at will; these are counted apart.

This page is written by `python scripts/document_faults.py`; run the session instead of editing it.
"""

WORDS = {
    "planted": "defects planted",
    "planted_in_answers": "of these, in what a tool or the machine answered",
    "caught_exactly": "caught by exactly the right check",
    "caught_elsewhere": "caught, but not by that check alone",
    "missed": "missed",
    "clean": "clean neighbours",
    "false_alarms": "false alarms",
    "not_planted": "cases that could not be planted",
    "died": "cases whose process died",
    "bare_reasons": "reasons that are a bare exception without a remedy",
}


def page(found: Mapping[str, Any]) -> str:
    """Return the text of the page."""
    return "\n".join([HEAD, *_figures(found), *_kills(found), *_open(found), *_checks(found), ""])


def _figures(found: Mapping[str, Any]) -> Iterator[str]:
    machine, sessions = found["machine"], found["sessions"].values()
    seconds = sum(item["seconds"] for item in sessions)
    packages = machine["packages"]
    yield "## Figures\n"
    yield (
        f"Recorded on {min(item['date'] for item in sessions)[:10]} with mlx {packages['mlx']} and "
        f"mlx-lm {packages['mlx-lm']} on {machine['system']} with {machine['cpus']} CPUs. "
        f"The cases took {seconds:,.0f} s in all, one after the other.\n"
    )
    yield "| what | count |\n| --- | --- |"
    for name, words in WORDS.items():
        yield f"| {words} | {found['figures'][name]:,} |"
    for name, words in (("tracebacks", "tracebacks"), ("orphans", "processes left behind")):
        yield f"| {words} | {sum(len(item[name]) for item in sessions):,} |"
    if missing := [item.id for item in register.SESSIONS if item.id not in found["sessions"]]:
        names = ", ".join(f"`{name}`" for name in missing)
        yield f"\nNot in this record: {names}."
    yield ""


def _kills(found: Mapping[str, Any]) -> Iterator[str]:
    yield "## Random kills\n"
    kills = found["kills"]
    if not kills:
        yield "None were recorded.\n"
        return
    ends = ", ".join(f"{name} {count:,}" for name, count in sorted(kills["ends"].items()))
    yield (
        f"{kills['kills']:,} runs of small sessions got SIGKILL at a random moment. "
        f"Results that were lost or damaged: {len(kills['lost']):,}. How the runs ended: {ends}.\n"
    )


def _open(found: Mapping[str, Any]) -> Iterator[str]:
    bad = [item for item in found["cases"] if item["outcome"] not in {"caught", "clean"}]
    yield "## Cases that did not end well\n"
    if not bad:
        yield "None.\n"
        return
    yield "| case | check | outcome | known |\n| --- | --- | --- | --- |"
    for item in bad:
        yield (
            f"| {_cell(item['case'])} | {item['check'] or 'all'} | {item['outcome']} | "
            f"{_cell(item['open'])} |"
        )
    yield ""


def _checks(found: Mapping[str, Any]) -> Iterator[str]:
    yield "## Checks\n"
    columns = ("planted", "exactly", "elsewhere", "missed", "clean", "false_alarms")
    yield f"| check | what it proves | {' | '.join(columns).replace('_', ' ')} |"
    yield "| --- " * (len(columns) + 2) + "|"
    for row in found["checks"]:
        counts = " | ".join(f"{row[name]:,}" for name in columns)
        yield f"| {row['check']} | {_cell(row['title'])} | {counts} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """Write the page, or compare it."""
    text = page(json.loads(RESULT.read_text(encoding="utf-8")))
    if "--check" not in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != text:
        print(f"{PAGE} differs: run `python scripts/document_faults.py`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
