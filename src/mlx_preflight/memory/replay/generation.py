"""Traces of what `mlx_lm.generate` evaluates: the prompt in chunks, then token by token."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
from mlx_lm.generate import maybe_quantize_kv_cache
from mlx_lm.models.cache import make_prompt_cache

from mlx_preflight.memory.replay import sequential
from mlx_preflight.memory.replay.simulation import Step
from mlx_preflight.memory.replay.trace import export, kernels
from mlx_preflight.memory.replay.trees import fill, leaves
from mlx_preflight.memory.settings import QUANTIZED_START, Settings

PREFILL_TOKENS = 2048
"""mlx_lm/generate.py 0.32, `prefill_step_size`."""

KV_GROUP = 64
"""mlx_lm/generate.py 0.32, `kv_group_size`."""

CACHE_STEP = 256
"""mlx_lm/models/cache.py 0.32, `KVCache.step`: tokens by which the cache grows."""


def steps(model: Any, settings: Settings) -> list[Step]:
    """Trace the evaluations of a generation that can have the highest peak.

    These are the first and the last two chunks of the prompt, the first token, and the last
    token for which the cache grows.
    """
    model.eval()
    run = _Run(model, make_prompt_cache(model), settings)
    whole, rest = divmod(max(settings.prompt_tokens - 1, 0), PREFILL_TOKENS)
    chunks = [PREFILL_TOKENS] * min(whole, 4) + [rest] * (rest > 0)
    # One evaluation of all that lies between leaves the cache as many evaluations do.
    between = max(whole - 4, 0) * PREFILL_TOKENS
    for index, tokens in enumerate(chunks):
        if index == 1:
            run.advance(between, traced=False, sample=False)
        traced = index == 0 or index >= len(chunks) - 2
        run.advance(tokens, traced=traced, sample=False)
    run.advance(1, traced=True, sample=True)
    _answer(run, settings)
    return run.found


def _answer(run: _Run, settings: Settings) -> None:
    """Trace the last token for which the cache grows, or the last one where it does not."""
    last = settings.prompt_tokens + settings.generate_tokens - 1
    grown = last // CACHE_STEP * CACHE_STEP
    target = grown if grown >= run.seen else last
    # From a whole number of steps on, one evaluation of many tokens leaves the cache as many
    # evaluations of one do; from elsewhere it would grow to an odd length.
    whole = -(-run.seen // CACHE_STEP) * CACHE_STEP
    run.advance(min(whole, target) - run.seen, traced=False, sample=False)
    run.advance(target - run.seen, traced=False, sample=False)
    run.advance(int(target == run.seen and settings.generate_tokens > 0), traced=True, sample=True)


class _Run:
    """A model and its cache, both unevaluated, between evaluations."""

    def __init__(self, model: Any, cache: list[Any], settings: Settings) -> None:
        self.model, self.cache, self.settings = model, cache, settings
        self.found: list[Step] = []
        self.seen = 0
        self.parameters = list(leaves(model.state))

    def advance(self, tokens: int, *, traced: bool, sample: bool) -> None:
        """Run the model on tokens; with `traced`, record the evaluation."""
        if tokens <= 0:
            return
        self.seen += tokens
        if traced:
            self.found.append(self._trace(tokens, sample=sample))
        else:
            self._call([_tokens(tokens), *self.parameters, *self._states()], sample=False)
        self._forget()

    def _trace(self, tokens: int, *, sample: bool) -> Step:
        states = self._states()
        arguments = [_tokens(tokens), *self.parameters, *states]
        labels = ["temporaries", *["weights"] * len(self.parameters), *["KV cache"] * len(states)]
        with kernels(self.settings, gradient=False):
            graph = export(lambda *flat: self._call(flat, sample=sample), arguments, labels)
        fill(self.model.state, iter(self.parameters))
        results = 2 if sample else 0
        cached = graph.outputs[results:]
        return Step(
            graph=graph,
            wanted=graph.outputs,
            held=graph.inputs[: 1 + len(self.parameters)],
            outputs=dict.fromkeys(cached, "KV cache"),
            queries=tokens,
            keys=self.seen,
            compiled=False,
        )

    def _call(self, flat: Any, *, sample: bool) -> list[Any]:
        """Run the model as `generate_step` does; return token, probabilities and the cache."""
        values = iter(flat[1:])
        fill(self.model.state, values)
        fill(self._holders(), values)
        with sequential.over(flat[0].shape[1]):
            logits = self.model(flat[0], cache=self.cache)[:, -1, :]
        maybe_quantize_kv_cache(self.cache, QUANTIZED_START, KV_GROUP, self.settings.kv_bits)
        if not sample:
            return self._states()
        chances = logits - mx.logsumexp(logits, keepdims=True)
        return [mx.argmax(chances, axis=-1), chances.squeeze(0), *self._states()]

    def _holders(self) -> list[dict[str, Any]]:
        """Return the attributes of every cache; those of a list of caches are its own."""
        flat: list[Any] = []
        for cache in self.cache:
            flat += getattr(cache, "caches", [cache])
        return [vars(cache) for cache in flat]

    def _states(self) -> list[Any]:
        return list(leaves(self._holders()))

    def _forget(self) -> None:
        """Replace what the cache holds by arrays of the same shape that nothing made."""
        fresh = [mx.zeros(array.shape, array.dtype) for array in self._states()]
        fill(self._holders(), iter(fresh))


def _tokens(count: int) -> Any:

    return mx.zeros((1, count), mx.int32)
