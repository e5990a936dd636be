"""Stored answers of AC5, with the digest that a sign-off names.

The digest covers what a reader judges (model, prompts, answers, settings), not times or
the machine, so that running the same thing again does not expire a sign-off.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_preflight.core import environment
from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.json_file import read_json, write_json
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.criteria.coherence import Judgement
from mlx_preflight.runtime.messages import Answer, Generation


def canonical(
    model: str, generation: Generation, prompts: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the part that the digest covers.

    Args:
        model: Fingerprint of the weights.
        generation: Answers, in the order of `prompts`.
        prompts: What was asked.
    """
    return {
        "model": model,
        "seed": generation.seed,
        "temperature": generation.temperature,
        "max_tokens": generation.max_tokens,
        "answers": [
            {
                "id": answer.id,
                "prompt": prompt["prompt"],
                "answer": answer.text,
                "token_ids": list(answer.token_ids),
            }
            for prompt, answer in zip(prompts, generation.answers, strict=True)
        ],
    }


def digest(judged: Mapping[str, Any]) -> str:
    """Return the sha256 of a canonical part, over sorted and compact JSON."""
    text = json.dumps(judged, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def save(
    state: Path,
    judged: Mapping[str, Any],
    generation: Generation,
    judgements: Sequence[Judgement],
    model: Mapping[str, Any],
) -> Path:
    """Write the document and return its path."""
    path = Workspace(state).answers
    pairs = zip(generation.answers, judgements, strict=True)
    document = {
        "schema": 1,
        "digest": digest(judged),
        "judged": judged,
        "model": dict(model),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "environment": {**environment.capture(), "device": generation.device},
        "times": [_times(answer, judgement) for answer, judgement in pairs],
    }
    write_json(path, document)
    return path


def _times(answer: Answer, judgement: Judgement) -> dict[str, Any]:
    return {
        "id": answer.id,
        "finish_reason": answer.finish_reason,
        "prompt_tokens": answer.prompt_tokens,
        "tokens": len(answer.token_ids),
        "first_token_s": answer.first_token_s,
        "decode_s": answer.decode_s,
        "decode_tokens_per_s": answer.decode_tokens_per_s,
        "mean_logprob": answer.mean_logprob,
        "correct": judgement.correct,
        "executed": judgement.executed,
        "faults": list(judgement.faults),
    }


def read(state: Path) -> dict[str, Any]:
    """Read the document back, verifying its digest.

    Raises:
        ResultError: There is none, or its content does not match its digest.
    """
    path = Workspace(state).answers
    document = read_json(path)
    if not isinstance(document, dict) or not isinstance(document.get("judged"), dict):
        raise ResultError(f"{path}: not a document of answers")
    if digest(document["judged"]) != document.get("digest"):
        raise ResultError(
            f"{path}: its answers do not match its digest", hint="run the session again"
        )
    return document
