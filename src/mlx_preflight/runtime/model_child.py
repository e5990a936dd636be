"""Child that builds the classes and the tokenizer of a model: `python -m … JOB ANSWER`.

In a process of its own: a tokenizer's files are untrusted, and take any time and memory. No
weight is read, and no code of a folder is run.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_lm import tokenizer_utils
from mlx_lm.utils import _get_classes

from mlx_preflight.core.child_main import run_job
from mlx_preflight.core.errors import PreflightError
from mlx_preflight.core.text import one_line
from mlx_preflight.memory import validation
from mlx_preflight.memory.settings import Settings
from mlx_preflight.runtime import round_trip
from mlx_preflight.runtime.foreign import attempt

SHORTEST = Settings(max_seq_length=2)
"""Settings that every model's length allows: only its architecture is asked for."""


def look(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return what mlx_lm makes of a config and of a tokenizer as JSON data.

    Args:
        job: `config` of a model, and `tokenizer`, the folder with one; None leaves it out.
            With `ends` (`eos_token_id` and `vocab_size`) its chat template is rendered.
    """
    config, folder = job["config"], job["tokenizer"]
    return {
        "architecture": None if config is None else _architecture(config),
        "tokenizer": None if folder is None else _tokenizer(Path(folder), config, job.get("ends")),
    }


def _architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    def found() -> str:
        validation.check_config(config, SHORTEST)
        return str(_get_classes(dict(config))[0].__module__)

    # Whatever a config makes mlx_lm raise, its trainer would raise, too.
    module = attempt(found)
    if isinstance(module, Exception):
        return {"problem": _said(module)}
    return {"problem": "", "module": module}


def _tokenizer(
    folder: Path, config: Mapping[str, Any] | None, told: Mapping[str, Any] | None
) -> dict[str, Any]:
    refused, ends = {"trust_remote_code": False}, (told or config or {}).get("eos_token_id")

    def facts() -> dict[str, Any]:
        loaded = tokenizer_utils.load(folder, refused, eos_token_ids=ends)
        end = loaded.eos_token_id
        return {
            "problem": "",
            "tokens": len(loaded.get_vocab()),
            "end": None if end is None else int(end),
            "ends": sorted(map(int, loaded.eos_token_ids)),
            "template": [] if told is None else _template_faults(loaded, told),
        }

    found = attempt(facts)
    return {"problem": _said(found)} if isinstance(found, Exception) else found


def _template_faults(tokenizer: Any, config: Mapping[str, Any]) -> list[str]:
    found = round_trip.template_fault(tokenizer, config), round_trip.turn_end_fault(tokenizer)
    return [one_line(fault) for fault in found if fault]


def _said(error: Exception) -> str:
    text = one_line((str(error).strip().splitlines() or ["no message"])[0])
    return text if isinstance(error, PreflightError) else f"{type(error).__name__}: {text}"


if __name__ == "__main__":
    sys.exit(run_job(look, sys.argv[1:]))
