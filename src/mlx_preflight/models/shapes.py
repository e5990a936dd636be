"""Comparison of the names and shapes of a checkpoint's tensors with its config."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mlx_preflight.core.text import printable
from mlx_preflight.models.layout import Checkpoint

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "smollm3")
"""Model types whose tensors this module knows, read off `mlx_lm.models`."""

MAX_PROBLEMS = 50
"""A wrong config disagrees with every tensor; more lines would explain nothing more."""

_LAYER = re.compile(r"model\.layers\.(\d{1,9})\.")

_BLOCK = re.compile(
    r"(?:language_model\.)?(?:model|backbone|transformer)\.(?:language_model\.)?"
    r"(?:layers|h)\.(\d{1,9})\."
)
"""Begin of the names of a decoder's layers, in any family."""


@dataclass(frozen=True, slots=True)
class ShapeCheck:
    """Result of comparing shapes: whether it was possible, and what disagrees.

    Attributes:
        checked: False when nothing was compared; no problems then mean nothing.
        reason: Why nothing was compared; empty otherwise.
        problems: One sentence each.
    """

    checked: bool
    reason: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Sizes:
    """The numbers of a config that fix every shape."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int


@dataclass(slots=True)
class _Ledger:
    """Tensors that the config accounts for, and the problems found."""

    checkpoint: Checkpoint
    known: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def expect(self, name: str, shape: tuple[int, ...]) -> None:
        """Require one tensor of one shape."""
        self.known.add(name)
        tensor = self.checkpoint.tensors.get(name)
        if tensor is None:
            self.problems.append(f"{name} is missing; shape {list(shape)} is expected.")
        elif tensor.shape != shape:
            self.problems.append(
                f"{name} of {tensor.file} has shape {list(tensor.shape)}; config.json implies "
                f"{list(shape)}."
            )

    def expect_linear(self, module: str, rows: int, columns: int, *, bias: bool = False) -> None:
        """Require the tensors of a linear or embedding module, packed or not."""
        if bias:
            self.expect(f"{module}.bias", (rows,))
        if f"{module}.scales" in self.checkpoint.tensors:
            self._expect_packed(module, rows, columns)
        else:
            self.expect(f"{module}.weight", (rows, columns))

    def _expect_packed(self, module: str, rows: int, columns: int) -> None:
        """Require words of 32 bits along the columns, and one scale per group."""
        declared = self.checkpoint.quantization
        settings = declared.of(module) if declared else None
        self.known |= {f"{module}.{leaf}" for leaf in ("weight", "scales", "biases")}
        if settings is None:
            self.problems.append(
                f"{module} has scales, but config.json does not say that it is quantized."
            )
            return
        bits, group = settings.bits, settings.group_size
        if columns % group or columns * bits % 32:
            self.problems.append(
                f"{module}: {columns} columns cannot be quantized to {bits} bits in groups of "
                f"{group}."
            )
            return
        weight = self.checkpoint.tensors.get(f"{module}.weight")
        if weight is not None and weight.dtype != "U32":
            self.problems.append(
                f"{module}.weight is {weight.dtype}, but its module has scales: packed weights "
                "are U32."
            )
        self.expect(f"{module}.weight", (rows, columns * bits // 32))
        self.expect(f"{module}.scales", (rows, columns // group))
        if settings.mode == "affine":
            self.expect(f"{module}.biases", (rows, columns // group))


def check_shapes(cp: Checkpoint) -> ShapeCheck:
    """Compare every tensor's name and shape with what the config implies.

    Args:
        cp: A checkpoint from `inspect`.

    Returns:
        `checked` is False for a model type or a quantization that is not known here.
    """
    model_type = cp.config.get("model_type")
    if model_type not in FAMILIES:
        known = ", ".join(FAMILIES)
        return ShapeCheck(False, f"model_type {printable(model_type)} is not one of {known}.", ())
    if cp.foreign_quantization:
        method = cp.foreign_quantization  # (as it is printed)
        return ShapeCheck(False, f"quantized by {method}, whose shapes are not known.", ())
    problems: list[str] = []
    sizes = _sizes(cp.config, problems)
    if sizes is not None and sizes.layers > len(cp.tensors):
        problems.append(
            f"config.json says num_hidden_layers {sizes.layers}, but there are only "
            f"{len(cp.tensors)} tensors."
        )
    elif sizes is not None:
        problems += _compare(cp, sizes)
    if len(problems) > MAX_PROBLEMS:
        problems[MAX_PROBLEMS:] = [f"and {len(problems) - MAX_PROBLEMS} more."]
    return ShapeCheck(True, "", tuple(problems))


def layers_beyond(cp: Checkpoint) -> list[str]:
    """Return that the files hold more layers than the config counts, for any model type.

    mlx_lm drops those of some families without a word: it is right for layers that predict
    further tokens (GLM-4.5 and DeepSeek-V3 have one), and no others.
    """
    text = cp.config.get("text_config")
    config = text if isinstance(text, dict) and "num_hidden_layers" in text else cp.config
    layers, further = config.get("num_hidden_layers"), config.get("num_nextn_predict_layers", 1)
    if type(layers) is not int or type(further) is not int:
        return []
    beyond = {int(found[1]) for found in map(_BLOCK.match, cp.tensors) if found}
    beyond = {number for number in beyond if number >= layers}
    if len(beyond) <= max(further, 1):
        return []
    return [f"{len(beyond)} layers are beyond num_hidden_layers {layers}: they would be dropped"]


def _sizes(config: dict[str, Any], problems: list[str]) -> _Sizes | None:
    """Return the config's numbers, or None after saying which are absent or absurd."""

    def positive(key: str, default: int | None = None) -> int:
        value = config.get(key)
        value = default if value is None else value
        if type(value) is not int or value < 1:
            problems.append(
                f"config.json: {key} is {printable(value)}; a positive integer is expected."
            )
            return 1
        return value

    hidden, heads = positive("hidden_size"), positive("num_attention_heads")
    kv_heads = positive("num_key_value_heads", heads)
    # mlx_lm's Qwen2 derives the width of a head and ignores what the config says.
    derived = config.get("model_type") == "qwen2" or config.get("head_dim") is None
    head_dim = max(hidden // heads, 1) if derived else positive("head_dim")
    if derived and hidden % heads:
        problems.append(f"config.json: hidden_size {hidden} is no multiple of {heads} heads.")
    if heads % kv_heads:
        problems.append(
            f"config.json: {heads} attention heads cannot share {kv_heads} key-value heads."
        )
    intermediate, vocab = positive("intermediate_size"), positive("vocab_size")
    layers = positive("num_hidden_layers")
    if problems:
        return None
    return _Sizes(hidden, intermediate, layers, heads, kv_heads, head_dim, vocab)


def _compare(cp: Checkpoint, sizes: _Sizes) -> list[str]:
    """Return every disagreement between the tensors and the config's numbers."""
    ledger = _Ledger(cp)
    present = {int(match[1]) for match in map(_LAYER.match, cp.tensors) if match}
    ledger.expect_linear("model.embed_tokens", sizes.vocab, sizes.hidden)
    ledger.expect("model.norm.weight", (sizes.hidden,))
    if not cp.tied:
        ledger.expect_linear("lm_head", sizes.vocab, sizes.hidden)
    elif "lm_head.weight" in cp.tensors and "tie_word_embeddings" not in cp.config:
        ledger.problems.append(
            "config.json lacks tie_word_embeddings, which MLX-LM takes for true: it would drop "
            "lm_head.weight and answer with the embedding."
        )
    for layer in range(sizes.layers):
        if layer in present:
            _expect_layer(ledger, f"model.layers.{layer}", sizes)
        else:
            ledger.problems.append(
                f"layer {layer} of num_hidden_layers {sizes.layers} has no tensor."
            )
    return [*ledger.problems, *_extra(ledger, sizes.layers)]


def _expect_layer(ledger: _Ledger, prefix: str, sizes: _Sizes) -> None:
    """Require the tensors of one decoder layer."""
    config = ledger.checkpoint.config
    family = config["model_type"]
    llama = family not in {"qwen2", "qwen3"}
    qkv_bias = family == "qwen2" or (llama and config.get("attention_bias") is True)
    output_bias = llama and qkv_bias
    mlp_bias = llama and config.get("mlp_bias") is True
    queries, keys = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    ledger.expect_linear(f"{prefix}.self_attn.q_proj", queries, sizes.hidden, bias=qkv_bias)
    ledger.expect_linear(f"{prefix}.self_attn.k_proj", keys, sizes.hidden, bias=qkv_bias)
    ledger.expect_linear(f"{prefix}.self_attn.v_proj", keys, sizes.hidden, bias=qkv_bias)
    ledger.expect_linear(f"{prefix}.self_attn.o_proj", sizes.hidden, queries, bias=output_bias)
    for name in ("gate_proj", "up_proj"):
        ledger.expect_linear(
            f"{prefix}.mlp.{name}", sizes.intermediate, sizes.hidden, bias=mlp_bias
        )
    ledger.expect_linear(f"{prefix}.mlp.down_proj", sizes.hidden, sizes.intermediate, bias=mlp_bias)
    for name in ("input_layernorm", "post_attention_layernorm"):
        ledger.expect(f"{prefix}.{name}.weight", (sizes.hidden,))
    if family == "qwen3":
        for name in ("q_norm", "k_norm"):
            ledger.expect(f"{prefix}.self_attn.{name}.weight", (sizes.head_dim,))


def _extra(ledger: _Ledger, layers: int) -> Iterator[str]:
    """Yield one sentence for each layer or tensor that the config does not account for."""
    beyond: Counter[int] = Counter()
    for name in ledger.checkpoint.tensors:
        # mlx_lm's `sanitize` drops both.
        dropped = "rotary_emb.inv_freq" in name or (
            ledger.checkpoint.tied and name == "lm_head.weight"
        )
        if name in ledger.known or dropped:
            continue
        match = _LAYER.match(name)
        if match and int(match[1]) >= layers:
            beyond[int(match[1])] += 1
        else:
            yield f"{name} is not a tensor of model_type {ledger.checkpoint.config['model_type']}."
    for layer, count in sorted(beyond.items()):
        yield f"layer {layer} ({count} tensors) is beyond num_hidden_layers {layers}."
