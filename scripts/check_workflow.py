"""Check what a schema cannot: that a workflow's jobs exist, and that nothing escapes its verdict.

GitHub counts a skipped required job as a success, so one job named `verdict` must wait for
every other one and run whatever became of them. A workflow of one job needs none.

Usage: `python scripts/check_workflow.py FILE…`; code 1 and a line per problem.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

VERDICT = "verdict"
ALWAYS = ("always()", "${{ always() }}")


def problems(document: object) -> Iterator[str]:
    """Yield what is wrong with the jobs of a parsed workflow."""
    jobs = document.get("jobs") if isinstance(document, Mapping) else None
    if not isinstance(jobs, Mapping) or not jobs:
        yield "no jobs"
        return
    broken = [name for name, job in jobs.items() if not isinstance(job, Mapping)]
    if broken:
        yield from (f"{name}: not a job" for name in broken)
        return
    for name, job in jobs.items():
        for target in needs(job):
            if target == name or target not in jobs:
                yield f"{name}: needs {target!r}, which is not another job"
        if job.get("continue-on-error"):
            yield f"{name}: continue-on-error makes its failure a success"
    if len(jobs) > 1:
        yield from _verdict(jobs)


def needs(job: Mapping[str, Any]) -> list[str]:
    """Return the jobs that a job waits for."""
    named = job.get("needs", [])
    return [named] if isinstance(named, str) else list(named)


def _verdict(jobs: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if VERDICT not in jobs:
        yield f"{len(jobs)} jobs and none is named {VERDICT!r}"
        return
    if jobs[VERDICT].get("if") not in ALWAYS:
        yield f"{VERDICT}: lacks `if: always()`, so a failed job would skip it"
    for missing in sorted(set(jobs) - {VERDICT} - set(needs(jobs[VERDICT]))):
        yield f"{VERDICT}: does not need {missing!r}"


def main() -> None:
    """Print the problems of every file that is named, and exit with 1 when there are any."""
    if len(sys.argv) == 1:
        sys.exit("name at least one workflow")
    found = 0
    for name in sys.argv[1:]:
        try:
            document = yaml.safe_load(Path(name).read_text(encoding="utf-8"))
            said = list(problems(document))
        except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError) as error:
            said = [f"unreadable: {error}"]
        for line in said:
            print(f"{name}: {line}")
        found += len(said)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
