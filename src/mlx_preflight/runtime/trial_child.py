"""Child that tries one model: greedy answers, logits and held-out loss; `python -m … JOB ANSWER`.

A process per model, so that no two are in memory. All of them get the same tokens, so that only
weights make a difference. Logits go to a file, and nothing of an answer is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_unflatten
from mlx_lm import tokenizer_utils
from mlx_lm.generate import generate_step

from mlx_preflight.core.child_main import run_job
from mlx_preflight.memory.measure_child import guard
from mlx_preflight.runtime import generation, held_out, loaded
from mlx_preflight.runtime.foreign import attempt
from mlx_preflight.runtime.round_trip import TEXTS

POSITIONS = 64
"""Last positions of a sequence whose logits are compared; 150,000 words take 40 MB of them."""

CHATS: tuple[list[dict[str, str]], ...] = (
    [{"role": "user", "content": "Write a function."}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
    [
        {"role": "user", "content": "Write a function."},
        {"role": "assistant", "content": "Which one?"},
        {"role": "user", "content": "Any."},
    ],
)
"""Conversations that two chat templates must render alike."""


def run(job: Mapping[str, Any]) -> dict[str, Any]:
    """Load a model and try it.

    Args:
        job: `path` of the model, `adapter` (folder or None), `prompts` (texts, or token ids that
            an earlier child returned), `sequences` and `ends` (token ids of an earlier child, or
            None), `tokens` (longest answer), `held_out` (see `held_out.loss`, or None), `logits`
            (file to write), `fused_logits` (file for the logits after mlx_lm's own fusing, or
            None), `like` (folder whose tokenizer must be equal, or None), `memory_limit_bytes`.
    """
    guard(job["memory_limit_bytes"])
    model = loaded.load_model(job["path"], adapter=job["adapter"])
    model.model.eval()
    prompts = [_ids(model.tokenizer, prompt) for prompt in job["prompts"]]
    ends = job["ends"] or sorted(map(int, model.tokenizer.eos_token_ids))
    answers = [greedy(model.model, prompt, ends, job["tokens"]) for prompt in prompts]
    sequences = job["sequences"] or [p + a for p, a in zip(prompts, answers, strict=True)]
    dtype, vocabulary = _write_logits(model.model, sequences, job["logits"])
    held = job["held_out"]
    answer = {
        "prompts": prompts,
        "ends": ends,
        "answers": answers,
        "sequences": sequences,
        "dtype": dtype,
        "vocabulary": vocabulary,
        "held_out": held and held_out.loss(model.model, model.tokenizer, held),
        "tokenizer": job["like"] and tokenizer_difference(job["path"], job["like"]),
        "unfused": [],
    }
    if job["fused_logits"]:
        answer["unfused"] = fuse(model.model)
        _write_logits(model.model, sequences, job["fused_logits"])
    return answer


def _ids(tokenizer: Any, prompt: Any) -> list[int]:
    return generation.render(tokenizer, prompt) if isinstance(prompt, str) else list(prompt)


def greedy(model: Any, prompt: Sequence[int], ends: Collection[int], most: int) -> list[int]:
    """Return the most likely tokens after a prompt, up to an end token."""
    found: list[int] = []
    for token, _ in generate_step(mx.array(list(prompt)), model, max_tokens=most):
        if int(token) in ends:
            break
        found.append(int(token))
    return found


def _write_logits(model: Any, sequences: Sequence[Sequence[int]], path: str) -> tuple[str, int]:
    """Write the logits of the last positions, (positions, vocabulary); return dtype and width."""
    dtype, vocabulary = "", 0
    parts: dict[str, Any] = {}
    for number, tokens in enumerate(sequences):
        logits = model(mx.array(list(tokens))[None])[0, -POSITIONS:]
        dtype, vocabulary = str(logits.dtype).rpartition(".")[2], int(logits.shape[-1])
        parts[str(number)] = np.array(logits.astype(mx.float32))
    with Path(path).open("wb") as stream:
        np.savez(stream, **parts)
    return dtype, vocabulary


def fuse(model: Any) -> list[str]:
    """Fuse all adapters as `mlx_lm.fuse` does (fuse.py 0.32); return what has none of its own."""
    adapted = {name: module for name, module in model.named_modules() if "lora_a" in module}
    fused = [(name, module.fuse()) for name, module in adapted.items() if hasattr(module, "fuse")]
    if fused:
        model.update_modules(tree_unflatten(fused))
    return sorted({*adapted} - {name for name, _ in fused})


def tokenizer_difference(folder: str, like: str) -> str:
    """Return the first difference between the tokenizers of two folders, or an empty text."""
    refused = {"trust_remote_code": False}
    one, two = (tokenizer_utils.load(Path(path), refused) for path in (folder, like))
    if one.get_vocab() != two.get_vocab():
        return f"{len(one.get_vocab()):,} tokens, not the base's {len(two.get_vocab()):,}"
    if one.eos_token_id != two.eos_token_id:
        return f"end token {one.eos_token_id}, not {two.eos_token_id}"
    for name, text in TEXTS.items():
        if one.encode(text) != two.encode(text):
            return f"{name} is encoded in another way"
    return _template_difference(one, two)


def _template_difference(one: Any, two: Any) -> str:
    if one.chat_template == two.chat_template:
        return ""
    if bool(one.chat_template) != bool(two.chat_template):
        return "no chat template" if not one.chat_template else "a chat template, the base none"
    alike = all(
        _rendered(one, chat, opened) == _rendered(two, chat, opened)
        for chat in CHATS
        for opened in (False, True)
    )
    return "" if alike else "its chat template renders a conversation in another way"


def _rendered(tokenizer: Any, chat: list[dict[str, str]], opened: bool) -> str:
    """Return a rendering, or the kind of the error: a template may refuse a conversation."""
    text = attempt(
        lambda: tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=opened)
    )
    return type(text).__name__ if isinstance(text, Exception) else str(text)


if __name__ == "__main__":
    sys.exit(run_job(run, sys.argv[1:]))
