"""Turn `nox --list --json` on stdin into the chunks of the CI matrix, one line of JSON.

With `--planned` it prints the ids of the sessions instead, for the job that judges.

A chunk is a list of sessions that run on one machine, because some read what others
left there: gate 6 the coverage of gates 4 and 5, the regression rows their gates, AC8 the
audit, the benchmarks AC4 and AC5. Every session of the plan is in exactly one chunk.

Usage: `python -m nox --list --json -t TAG… | python scripts/ci_matrix.py [--planned]`
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

CHUNKS = {
    "gates": "gates",
    "regression": "gates",
    "ac": "criteria",
    "bench": "criteria",
    "integration": "integration",
}
"""Tag of a session → chunk that runs it."""

MOVED = {"ac8-dependencies": "gates"}
"""Session → chunk, where it reads another chunk's result: AC8.8 reads gate 8's."""


def chunks(listed: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return one `{"name", "sessions"}` per chunk, sessions separated by spaces.

    Args:
        listed: What `nox --list --json` printed.

    Raises:
        ValueError: A chunk would be empty, or a session has a tag that no chunk runs.
    """
    members: dict[str, list[str]] = {name: [] for name in CHUNKS.values()}
    for item in listed:
        for tag in item["tags"]:
            if tag not in CHUNKS:
                raise ValueError(f"{item['session']}: no chunk runs the tag {tag!r}")
            members[MOVED.get(item["session"], CHUNKS[tag])].append(item["session"])
    empty = [name for name, sessions in members.items() if not sessions]
    if empty:
        raise ValueError(f"chunk {empty[0]!r} has no session: is this the plan's noxfile?")
    return [{"name": name, "sessions": " ".join(ids)} for name, ids in members.items()]


def planned(made: list[dict[str, str]]) -> list[str]:
    """Return every session that some chunk runs, sorted."""
    return sorted(name for chunk in made for name in chunk["sessions"].split())


def main() -> None:
    """Print the chunks or the planned sessions, or end with a message and code 1."""
    parser = argparse.ArgumentParser(description="Compute the matrix of the CI workflow.")
    parser.add_argument("--planned", action="store_true", help="print the session ids instead")
    only_planned = parser.parse_args().planned
    try:
        made = chunks(json.load(sys.stdin))
        print(json.dumps(planned(made) if only_planned else made))
    except (ValueError, KeyError, TypeError) as error:
        sys.exit(f"no matrix: {error!r}")


if __name__ == "__main__":
    main()
