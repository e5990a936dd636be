"""Process that judges a few cases of one session: `python -m … JOB ANSWERS`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mlx_preflight.core.json_file import read_json
from mlx_preflight.selftest.injection import catalogue, trial


def main(job: Path, answers: Path) -> None:
    """Judge the cases of a job one after the other, each answer written before the next starts.

    Args:
        job: JSON file with the ids, the folder of the samples and that of what they share.
        answers: File that gets one JSON line for each case.
    """
    asked = read_json(job)
    cases = {case.id: case for case in catalogue.cases(asked["session"])}
    with answers.open("a", encoding="utf-8") as stream:
        for number, name in enumerate(asked["cases"]):
            folder = Path(asked["folder"]) / str(number)
            done = trial.run(cases[name], folder, Path(asked["kept"]))
            stream.write(json.dumps(done.to_json()) + "\n")
            stream.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
