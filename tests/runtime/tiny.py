"""Write a tiny random Qwen2 checkpoint with a real byte-level tokenizer, without mlx."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HIDDEN, INNER, LAYERS, HEADS, KEYS = 64, 128, 2, 4, 32


def tokenizer(*, merges: int = 0, first: int = 0) -> Tokenizer:
    """Return a byte-level tokenizer; `first` shifts ids, as another model's would."""
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + merges,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[f"<|filler{i}|>" for i in range(first)],
        show_progress=False,
    )
    made.train_from_iterator(["def add(a, b):\n    return a + b\n" * 9], trainer)
    made.add_special_tokens(list(SPECIAL))
    return made


def write_tokenizer(folder: Path, made: Tokenizer) -> None:
    """Write a tokenizer with its chat template."""
    made.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": SPECIAL[2],
        "pad_token": SPECIAL[0],
        "chat_template": TEMPLATE,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def build(folder: Path, *, scale: float = 0.05, broken: bool = False) -> Path:
    """Write the checkpoint; `broken` puts one NaN into it."""
    folder.mkdir(parents=True, exist_ok=True)
    made = tokenizer()
    write_tokenizer(folder, made)
    rows = made.get_vocab_size()
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "intermediate_size": INNER,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS * KEYS // HIDDEN,
        "rms_norm_eps": 1e-6,
        "vocab_size": rows,
        "max_position_embeddings": 256,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "dtype": "float32",
        "eos_token_id": made.token_to_id(SPECIAL[2]),
        "hidden_act": "silu",
    }
    (folder / "config.json").write_text(json.dumps(config))
    random = np.random.default_rng(0)
    tensors = {
        name: (
            np.ones(shape, np.float32)
            if name.endswith("norm.weight")
            else (random.standard_normal(shape) * scale).astype(np.float32)
        )
        for name, shape in _shapes(rows).items()
    }
    if broken:
        # Not in a matrix: quantizing a group that holds a NaN hides it.
        tensors["model.layers.1.input_layernorm.weight"][3] = np.nan
    write_safetensors(folder / "model.safetensors", tensors)
    return folder


def _shapes(rows: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (rows, HIDDEN),
        "model.norm.weight": (HIDDEN,),
    }
    for layer in range(LAYERS):
        for name, outputs, inputs in (
            ("self_attn.q_proj", HIDDEN, HIDDEN),
            ("self_attn.k_proj", KEYS, HIDDEN),
            ("self_attn.v_proj", KEYS, HIDDEN),
            ("self_attn.o_proj", HIDDEN, HIDDEN),
            ("mlp.gate_proj", INNER, HIDDEN),
            ("mlp.up_proj", INNER, HIDDEN),
            ("mlp.down_proj", HIDDEN, INNER),
        ):
            shapes[f"model.layers.{layer}.{name}.weight"] = (outputs, inputs)
            if name[-6] in "qkv":
                shapes[f"model.layers.{layer}.{name}.bias"] = (outputs,)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"model.layers.{layer}.{norm}.weight"] = (HIDDEN,)
    return shapes


def write_safetensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Write float32 tensors in the safetensors format."""
    header, offset = {}, 0
    for name, array in tensors.items():
        end = offset + array.nbytes
        header[name] = {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    raw = json.dumps({"__metadata__": {"format": "mlx"}, **header}).encode()
    raw += b" " * (-len(raw) % 8)
    body = b"".join(array.tobytes() for array in tensors.values())
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + body)
