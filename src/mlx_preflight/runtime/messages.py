"""Answers of a worker child: plain dataclasses, written and read as JSON.

Both sides import this module, so it must not import mlx.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory counters of one process; they measure different things and stay apart.

    Attributes:
        active_bytes: Allocated by MLX now.
        peak_bytes: Most that MLX had allocated since the counter was reset.
        cache_bytes: Kept by MLX's allocator for reuse, not in the peak.
        rss_bytes: Most memory that the process ever had resident; on macOS it omits
            Metal buffers.
        working_set_bytes: What Metal recommends to use at most; None without Metal.
    """

    active_bytes: int
    peak_bytes: int
    cache_bytes: int
    rss_bytes: int
    working_set_bytes: int | None


@dataclass(frozen=True, slots=True)
class TokenizerCheck:
    """One tokenizer check: what was tried, and what went wrong if anything did."""

    name: str
    fault: str


@dataclass(frozen=True, slots=True)
class LoadReport:
    """Result of loading a model with `mlx_lm.load`.

    Attributes:
        import_s: Time to import mlx_lm, not part of the loading time.
        load_s: From the call of `mlx_lm.load` until all parameters are evaluated.
        parameters: Logical count; packed 4-bit weights count unpacked.
        stored_parameters: Those in the files, without what mlx_lm drops of them; None where
            it repacks another library's words.
        architecture: `architectures[0]` of the config, else its `model_type`.
        layers: Transformer blocks.
        dtypes: Types of the loaded arrays.
        quantization: Bits and group size, or empty.
        device: MLX's default device.
        memory: Counters after loading.
        tokenizer: Class of the tokenizer.
        trips: Tokenizer checks; `load --json` prints the name of this field.
    """

    import_s: float
    load_s: float
    parameters: int
    stored_parameters: int | None
    architecture: str
    layers: int
    dtypes: tuple[str, ...]
    quantization: Mapping[str, Any]
    device: str
    memory: Memory
    tokenizer: str
    trips: tuple[TokenizerCheck, ...]

    @property
    def faults(self) -> list[str]:
        """Return what the tokenizer did wrong, each with what was tried."""
        return [f"{check.name}: {check.fault}" for check in self.trips if check.fault]

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> LoadReport:
        """Rebuild a report from a worker's answer."""
        values = dict(document)
        values["memory"] = Memory(**values["memory"])
        values["trips"] = tuple(TokenizerCheck(**item) for item in values["trips"])
        values["dtypes"] = tuple(values["dtypes"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Answer:
    """One generated answer with its raw times.

    Attributes:
        id: The prompt's id.
        text: Decoded answer without special tokens.
        token_ids: Its tokens without the end token.
        finish_reason: `stop` (end token) or `length`.
        prompt_tokens: Length of the rendered prompt.
        first_token_s: From the call until the first token, prefill included.
        prompt_tokens_per_s: As MLX-LM reports it.
        decode_s: From the first token until the last.
        decode_tokens_per_s: Intervals between tokens over `decode_s`; None under two tokens.
        mean_logprob: Nats per chosen token, from a separate pass after the measurement.
    """

    id: str
    text: str
    token_ids: tuple[int, ...]
    finish_reason: str
    prompt_tokens: int
    first_token_s: float
    prompt_tokens_per_s: float
    decode_s: float
    decode_tokens_per_s: float | None
    mean_logprob: float

    @property
    def total_s(self) -> float:
        """Return prefill and decode time together."""
        return self.first_token_s + self.decode_s


@dataclass(frozen=True, slots=True)
class Generation:
    """All answers of one child.

    Attributes:
        warm_up: The first generation, not mixed into any statistic; None when left out.
        memory: Counters after the last answer, reset after loading.
        notes: What was wrong with the asking: no chat template, or one whose end of a turn
            ends no answer.
        ran_on: Ids of the cut answers that hold the template's end of a turn and went on.
    """

    seed: int
    temperature: float
    max_tokens: int
    import_s: float
    load_s: float
    device: str
    memory: Memory
    warm_up: Answer | None
    answers: tuple[Answer, ...] = field(default_factory=tuple)
    notes: tuple[str, ...] = ()
    ran_on: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Generation:
        """Rebuild a generation from a worker's answer."""
        values = dict(document)
        values["memory"] = Memory(**values["memory"])
        values["answers"] = tuple(_answer(item) for item in values["answers"])
        values["warm_up"] = _answer(values["warm_up"]) if values["warm_up"] else None
        values |= {name: tuple(values[name]) for name in ("notes", "ran_on")}
        return cls(**values)


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """One QLoRA run through `mlx_lm.tuner.trainer.train`.

    Attributes:
        bits: Bits of the frozen weights while training; 0 when nothing could be quantized.
        group_size: Weights that share a scale.
        quantized_here: Whether this run quantized them in memory.
        batch_size: Rows of a batch.
        row_tokens: Length of every row, so that the first step is already the longest.
        layers: Blocks with adapters, counted from the last.
        rank: LoRA rank.
        trainable: Trainable parameters.
        losses: Per step; None for a loss that is not finite.
        step_s: Per step; the first one includes compilation.
        tokens_per_s: Per step.
        peak_bytes: High-water mark after each step.
        bad_adapters: Names of adapter tensors with NaN or infinity.
        memory: Counters at the end; the peak was reset after quantization.
    """

    bits: int
    group_size: int
    quantized_here: bool
    batch_size: int
    row_tokens: int
    layers: int
    rank: int
    trainable: int
    losses: tuple[float | None, ...]
    step_s: tuple[float, ...]
    tokens_per_s: tuple[float, ...]
    peak_bytes: tuple[int, ...]
    bad_adapters: tuple[str, ...]
    memory: Memory
    device: str

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> TrainingReport:
        """Rebuild a report from a worker's answer."""
        lists = ("losses", "step_s", "tokens_per_s", "peak_bytes", "bad_adapters")
        values = {**document, **{name: tuple(document[name]) for name in lists}}
        return cls(**{**values, "memory": Memory(**values["memory"])})


def _answer(document: Mapping[str, Any]) -> Answer:
    return Answer(**{**document, "token_ids": tuple(document["token_ids"])})
