"""Answers to prompts inside a worker through `mlx_lm.stream_generate`; nothing is added per token.

Log-probabilities come from a second, untimed pass, so that the measured loop is MLX-LM's
own; `decode_tokens_per_s` is therefore what a user of MLX-LM gets.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import mlx.core as mx
from mlx_lm import stream_generate
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.sample_utils import make_sampler

from mlx_preflight.runtime import loaded, round_trip
from mlx_preflight.runtime.messages import Answer, Generation

NO_LOGPROB = -1e9
"""Stands for a log-probability that is not finite: JSON has no NaN, and it must fail."""


def run(model: loaded.LoadedModel, request: Mapping[str, Any]) -> Generation:
    """Answer the prompts of a request.

    Args:
        model: The model to ask.
        request: `prompts` (`[{"id", "prompt"}]`), `max_tokens`, `seed`, `temperature` (0 is
            greedy) and `warm_up`.
    """
    mx.reset_peak_memory()
    prompts = request["prompts"]
    warm_up = answer(model, prompts[0], request) if request["warm_up"] else None
    answers = [answer(model, prompt, request) for prompt in prompts]
    # Before the scoring pass, whose logits would add to the peak.
    memory = loaded.memory()
    scored = [score(model, prompt, item) for prompt, item in zip(prompts, answers, strict=True)]
    ends = set(round_trip.turn_ends(model.tokenizer).values())
    return Generation(
        seed=request["seed"],
        temperature=request["temperature"],
        max_tokens=request["max_tokens"],
        import_s=model.import_s,
        load_s=model.load_s,
        device=loaded.device(),
        memory=memory,
        warm_up=warm_up,
        answers=tuple(scored),
        notes=tuple(notes(model.tokenizer)),
        ran_on=tuple(
            item.id
            for item in answers
            if item.finish_reason != "stop" and ends & set(item.token_ids)
        ),
    )


def notes(tokenizer: Any) -> Iterator[str]:
    """Yield what makes the answers of a model worth little, whatever its weights."""
    if not tokenizer.has_chat_template:
        yield "there is no chat template, so the model was asked the bare prompt"
    elif fault := round_trip.turn_end_fault(tokenizer):
        yield fault


def render(tokenizer: Any, prompt: str) -> list[int]:
    """Return the token ids of a prompt in the model's chat template, or bare without one."""
    if tokenizer.has_chat_template:
        message = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        return list(tokenizer.encode(text, add_special_tokens=False))
    return list(tokenizer.encode(prompt))


def answer(
    model: loaded.LoadedModel, prompt: Mapping[str, str], request: Mapping[str, Any]
) -> Answer:
    """Answer one prompt and return text, tokens and times; the score is added later.

    The seed is set again for every prompt, so an answer does not depend on which prompts
    were asked before.
    """
    tokenizer, ids = model.tokenizer, render(model.tokenizer, prompt["prompt"])
    limit = min(request["max_tokens"], loaded.positions(model.config) - len(ids))
    if limit < 1:
        raise ValueError(f"prompt {prompt['id']}: {len(ids)} tokens leave no room for an answer")
    mx.random.seed(request["seed"])
    sampler = make_sampler(temp=request["temperature"])
    tokens, pieces, times, begin = [], [], [], time.perf_counter()
    for response in stream_generate(model.model, tokenizer, ids, max_tokens=limit, sampler=sampler):
        times.append(time.perf_counter())
        tokens.append(response.token)
        pieces.append(response.text)
    # Up to the last token: what MLX-LM does after it is no decoding.
    decode_s, intervals = times[-1] - times[0], len(times) - 1
    if response.finish_reason == "stop":
        tokens.pop()
    return Answer(
        id=prompt["id"],
        text="".join(pieces),
        token_ids=tuple(tokens),
        finish_reason=str(response.finish_reason),
        prompt_tokens=len(ids),
        first_token_s=times[0] - begin,
        prompt_tokens_per_s=response.prompt_tps,
        decode_s=decode_s,
        decode_tokens_per_s=intervals / decode_s if intervals > 0 and decode_s > 0 else None,
        mean_logprob=0.0,
    )


def score(model: loaded.LoadedModel, prompt: Mapping[str, str], item: Answer) -> Answer:
    """Add the mean log-probability of the chosen tokens, nats per token.

    One forward pass over prompt and answer at temperature 1; logits of the prompt are
    never materialised. An answer of no token scores like an even choice, the worst.
    """
    ids, chosen = render(model.tokenizer, prompt["prompt"]), list(item.token_ids)
    if not chosen:
        return dataclasses.replace(item, mean_logprob=-math.log(model.config["vocab_size"]))
    cache = make_prompt_cache(model.model)
    if len(ids) > 1:
        model.model(mx.array(ids[:-1])[None], cache=cache)
        mx.eval([layer.state for layer in cache])
    logits = model.model(mx.array([ids[-1], *chosen[:-1]])[None], cache=cache)[0]
    logprobs = _chosen(logits.astype(mx.float32), chosen)
    return dataclasses.replace(item, mean_logprob=sum(logprobs) / len(logprobs))


def _chosen(logits: mx.array, chosen: Sequence[int]) -> list[float]:
    """Return the log-probability of each chosen token; `logits` is (length, vocabulary)."""
    picked = mx.take_along_axis(logits, mx.array(list(chosen))[:, None], axis=-1)[:, 0]
    values: Any = (picked - mx.logsumexp(logits, axis=-1)).tolist()
    return [value if math.isfinite(value) else NO_LOGPROB for value in values]
