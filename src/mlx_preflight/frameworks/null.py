"""The null framework: steps of a known length that train nothing, to weigh the harness.

A job's `behaviour` makes it fail as real ones do: `nan`, `hang`, or `changed` for a command
that no longer knows its options.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_preflight.frameworks.framework import Claim, Framework
from mlx_preflight.frameworks.recipe import Recipe
from mlx_preflight.frameworks.steps import Recorder

_NONE = Claim(0.0, "trains nothing", "this file", "none")

FRAMEWORK = Framework(
    name="null",
    title="null framework",
    requirements=(),
    distribution="pip",
    imports="json",
    config_file="null.yaml",
    apple=_NONE,
    apple_qlora=_NONE,
    candidate=False,
)

LOOPS = 400_000
"""Additions in one step; some ten milliseconds of one core."""


def config(recipe: Recipe) -> dict[str, Any]:
    """Return the file of a run that trains nothing."""
    return {"steps": recipe.steps, "adapter_path": "./adapters"}


def work() -> int:
    """Do the same work in every step."""
    total = 0
    for number in range(LOOPS):
        total += number
    return total


def train(job: Mapping[str, Any]) -> dict[str, Any]:
    """Work, record, and say how long the recording of each step took."""
    recorder = Recorder(job["steps_file"], job["started"])
    behaviour = job.get("behaviour", "")
    if behaviour == "changed":
        print("error: No such option: --launcher", file=sys.stderr)
        raise SystemExit(2)
    recording_s, steps_s = [], []
    for step in range(int(job["steps"])):
        begin = time.perf_counter()
        work()
        worked = time.perf_counter()
        if behaviour == "hang" and step:
            time.sleep(3600)
        recorder.step(float("nan") if behaviour == "nan" and step else 1.0 / (step + 1), 512)
        recording_s.append(time.perf_counter() - worked)
        steps_s.append(worked - begin)
    folder = Path("adapters")
    folder.mkdir(exist_ok=True)
    (folder / "adapters.safetensors").write_bytes(b"nothing")
    (folder / "adapter_config.json").write_text('{"lora_alpha": 160, "r": 8}', encoding="utf-8")
    return {"script_lines": 0, "recording_s": recording_s, "steps_s": steps_s}


def answers(job: Mapping[str, Any]) -> dict[str, Any]:
    """Answer with the number of the question; the adapter adds a mark."""
    said = [str(number) for number, _ in enumerate(job["questions"])]
    return {"without": said, "with": [f"{text}!" for text in said]}


def qlora(job: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse, as a framework without a 4-bit kernel does."""
    raise NotImplementedError("four bits of nothing")
