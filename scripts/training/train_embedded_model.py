"""Train the small Qwen2 chat model that ships in `mlx_preflight/models/embedded`.

The result is a fixture: a real checkpoint in the Hugging Face layout that exercises the
very code path of a 7B model in seconds. Everything is generated from a seed; nothing is
downloaded.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import embedded_tasks as tasks
import mlx.core as mx
import mlx.optimizers as optim
import mlx_lm
import numpy as np
from mlx import nn
from mlx.utils import tree_flatten, tree_unflatten
from mlx_lm.models.qwen2 import Model, ModelArgs
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm import tqdm

from mlx_preflight.criteria import coherence
from mlx_preflight.runtime import sandbox

ROOT = Path(__file__).resolve().parents[2]
EMBEDDED = ROOT / "src" / "mlx_preflight" / "models" / "embedded"
MAX_BYTES = 4_000_000

VOCAB_SIZE = 1024
END_OF_TEXT, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL = (END_OF_TEXT, IM_START, IM_END)
# Qwen2's own split: letters with what precedes them, digits one by one.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
MODEL: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "intermediate_size": 384,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
    "use_sliding_window": False,
    "use_cache": True,
    "dtype": "float32",
}
"""Every width is a multiple of 64, so that each layer quantizes with groups of 64."""

BLOCK = 16
"""Batches that are drawn together, so that pairs of one length share a batch."""
STEP_OF_LENGTH = 16
"""Batches are padded to multiples of this many tokens."""
MAX_ANSWER_TOKENS = 128
MIN_QUALIFYING_TOKENS = 20


@dataclass(frozen=True, slots=True)
class Settings:
    """Hold everything that decides the weights.

    Attributes:
        steps: Optimizer steps of the whole run; the learning rate falls over them.
        seed: Seed of the weights, the pairs and their order.
        batch: Pairs in one batch.
        peak: Highest learning rate.
    """

    steps: int = 2000
    seed: int = 11
    batch: int = 32
    peak: float = 3e-3


# --- tokenizer ---------------------------------------------------------------------------


def build_tokenizer(seed: int) -> Tokenizer:
    """Train the byte-level BPE tokenizer on training pairs only.

    Raises:
        ValueError: The text gave another number of tokens than the model's vocabulary.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pairs = tasks.training_pairs(seed, -1, 20_000)
    chat = ("system\n", "user\n", "assistant\n") * 1000
    texts = (text for pair in pairs for text in (pair.prompt, pair.answer))
    tokenizer.train_from_iterator((*texts, *chat), trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in SPECIAL])
    if tokenizer.get_vocab_size() != VOCAB_SIZE:
        raise ValueError(f"{tokenizer.get_vocab_size()} tokens instead of {VOCAB_SIZE}")
    return tokenizer


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """Return the numbers of the special tokens, which come last in the vocabulary."""
    vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    return {text: vocabulary[text] for text in SPECIAL}


def chat_prompt(prompt: str) -> str:
    """Return a prompt as the chat template writes it, up to where the answer begins."""
    return f"{IM_START}user\n{prompt}{IM_END}\n{IM_START}assistant\n"


# --- batches -----------------------------------------------------------------------------


def batches(tokenizer: Tokenizer, settings: Settings, start: int) -> Iterator[tuple[Any, ...]]:
    """Yield each batch from step `start` on, as the arguments of `loss_of`.

    A batch depends on the seed and its number alone, so a resumed run sees the same ones.
    """
    pad = special_ids(tokenizer)[END_OF_TEXT]
    for block in range(start // BLOCK, math.ceil(settings.steps / BLOCK)):
        pairs = tasks.training_pairs(settings.seed, block, BLOCK * settings.batch)
        rows = sorted((_encode(tokenizer, pair) for pair in pairs), key=lambda row: len(row[0]))
        order = np.random.default_rng([settings.seed, block]).permutation(BLOCK)
        for offset, which in enumerate(order):
            step = block * BLOCK + offset
            if start <= step < settings.steps:
                first = int(which) * settings.batch
                yield _pad(rows[first : first + settings.batch], pad)


def _encode(tokenizer: Tokenizer, pair: tasks.Pair) -> tuple[list[int], int]:
    """Return a pair's tokens and how many of them are the prompt."""
    prompt = tokenizer.encode(chat_prompt(pair.prompt)).ids
    return prompt + tokenizer.encode(pair.answer + IM_END).ids, len(prompt)


def _pad(rows: Sequence[tuple[list[int], int]], pad: int) -> tuple[Any, Any, Any]:
    """Return the padded input, the flat positions that predict answers, and what they predict."""
    longest = max(len(ids) for ids, _ in rows)
    width = math.ceil((longest - 1) / STEP_OF_LENGTH) * STEP_OF_LENGTH + 1
    tokens = np.full((len(rows), width), pad, dtype=np.int32)
    answer = np.zeros((len(rows), width), dtype=bool)
    for row, (ids, prompt) in enumerate(rows):
        tokens[row, : len(ids)] = ids
        answer[row, prompt : len(ids)] = True
    positions = np.flatnonzero(answer[:, 1:]).astype(np.int32)
    targets = tokens[:, 1:].reshape(-1)[positions]
    return mx.array(tokens[:, :-1]), mx.array(positions), mx.array(targets)


# --- training ----------------------------------------------------------------------------


def new_model(seed: int) -> Any:
    """Return a model with fresh weights."""
    mx.random.seed(seed)
    model = Model(ModelArgs.from_dict({**MODEL, "vocab_size": VOCAB_SIZE}))
    # MLX's own embedding starts too wide for a head that shares its weights.
    model.model.embed_tokens.weight = 0.02 * mx.random.normal((VOCAB_SIZE, MODEL["hidden_size"]))
    return model


def loss_of(model: Any, tokens: Any, positions: Any, targets: Any) -> Any:
    """Return the mean cross-entropy of the answers' tokens; the prompts' do not count.

    Only the positions that count go through the head, which is a third of the time.
    """
    hidden = model.model(tokens)
    chosen = hidden.reshape(-1, hidden.shape[-1])[positions]
    logits = model.model.embed_tokens.as_linear(chosen)
    return nn.losses.cross_entropy(logits, targets, reduction="mean")


def learning_rate(settings: Settings, step: int) -> float:
    """Return the learning rate of a step: a linear warm-up, then half a cosine."""
    warmup = max(1, min(100, settings.steps // 10))
    if step < warmup:
        return settings.peak * (step + 1) / warmup
    done = (step - warmup) / max(1, settings.steps - warmup)
    return settings.peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def train(
    settings: Settings,
    tokenizer: Tokenizer,
    work: Path,
    *,
    resume: bool = False,
    stop_after: int | None = None,
    save_every: int = 100,
    progress: bool = True,
) -> tuple[Any, int, float]:
    """Train the model, leaving its state in `work` every `save_every` steps.

    Args:
        settings: What decides the weights.
        tokenizer: Tokenizer of the model.
        work: Folder of the training state.
        resume: Whether to go on from the state in `work`, if it has one.
        stop_after: Step after which to stop, as an interruption would.
        save_every: Steps between two states.
        progress: Whether to draw a progress bar.

    Returns:
        The model, the steps done and the seconds of training, earlier runs included.
    """
    model = new_model(settings.seed)
    optimizer = optim.AdamW(learning_rate=settings.peak, betas=[0.9, 0.98], weight_decay=0.05)
    optimizer.init(model.trainable_parameters())
    start, before = load_state(work, model, optimizer, settings) if resume else (0, 0.0)
    last = min(settings.steps, stop_after or settings.steps)
    begun = time.perf_counter()
    bar = tqdm(total=last, initial=start, desc="training", disable=not progress, unit="step")
    for step, batch in enumerate(batches(tokenizer, settings, start), start):
        if step >= last:
            break
        optimizer.learning_rate = learning_rate(settings, step)
        loss = take_step(model, optimizer, batch)
        bar.update()
        bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        if (step + 1) % save_every == 0 or step + 1 == last:
            seconds = before + time.perf_counter() - begun
            save_state(work, model, optimizer, settings, step + 1, seconds)
    bar.close()
    return model, max(start, last), before + time.perf_counter() - begun


def take_step(model: Any, optimizer: Any, batch: tuple[Any, ...]) -> float:
    """Change the weights by one batch and return its loss."""
    loss, gradients = nn.value_and_grad(model, loss_of)(model, *batch)
    gradients, _ = optim.clip_grad_norm(gradients, 1.0)
    optimizer.update(model, gradients)
    mx.eval(model.parameters(), optimizer.state, loss)
    return float(loss.item())


def save_state(
    work: Path, model: Any, optimizer: Any, settings: Settings, step: int, seconds: float
) -> None:
    """Save weights and optimizer state, with the step that also fixes all random numbers."""
    arrays = {f"model.{key}": value for key, value in tree_flatten(model.parameters())}
    arrays |= {f"optimizer.{key}": value for key, value in tree_flatten(optimizer.state)}
    facts = {"step": step, "seconds": seconds, "settings": asdict(settings)}
    save_arrays(work / "state.safetensors", arrays, {"facts": json.dumps(facts)})


def load_state(work: Path, model: Any, optimizer: Any, settings: Settings) -> tuple[int, float]:
    """Load a training state and return its step and seconds; (0, 0) if there is none.

    Raises:
        ValueError: The state belongs to other settings.
    """
    path = work / "state.safetensors"
    if not path.exists():
        return 0, 0.0
    arrays, metadata = load_arrays(path)
    facts = json.loads(metadata["facts"])
    if facts["settings"] != asdict(settings):
        raise ValueError(f"{path} was made with {facts['settings']}")
    parts: dict[str, list[tuple[str, Any]]] = {"model": [], "optimizer": []}
    for key, value in arrays.items():
        part, _, name = key.partition(".")
        parts[part].append((name, value))
    model.load_weights(parts["model"])
    optimizer.state = tree_unflatten(parts["optimizer"])
    return int(facts["step"]), float(facts["seconds"])


# --- files -------------------------------------------------------------------------------


def save_arrays(path: Path, arrays: dict[str, Any], metadata: dict[str, str]) -> None:
    """Write a safetensors file in one step, so that no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{os.getpid()}.safetensors")
    mx.save_safetensors(str(partial), arrays, metadata)
    os.replace(partial, path)


def load_arrays(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the arrays of a safetensors file and its metadata."""
    loaded: Any = mx.load(str(path), return_metadata=True)
    arrays, metadata = loaded
    return arrays, metadata


def save_text(path: Path, text: str) -> None:
    """Write a text file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def save_json(path: Path, value: Any) -> None:
    """Write a JSON file in one step."""
    save_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_checkpoint(
    model: Any, tokenizer: Tokenizer, out: Path, settings: Settings, seconds: float
) -> None:
    """Write the files that `mlx_lm.load` reads, with the training facts in the weights."""
    ids = special_ids(tokenizer)
    save_json(
        out / "config.json",
        {
            **MODEL,
            "vocab_size": VOCAB_SIZE,
            "bos_token_id": ids[END_OF_TEXT],
            "eos_token_id": ids[IM_END],
            "pad_token_id": ids[END_OF_TEXT],
        },
    )
    save_json(
        out / "generation_config.json",
        {
            "bos_token_id": ids[END_OF_TEXT],
            "pad_token_id": ids[END_OF_TEXT],
            "eos_token_id": [ids[IM_END], ids[END_OF_TEXT]],
            "do_sample": False,
            "max_new_tokens": MAX_ANSWER_TOKENS,
        },
    )
    save_json(out / "tokenizer_config.json", tokenizer_config(ids))
    save_text(out / "tokenizer.json", tokenizer.to_str() + "\n")
    weights = dict(tree_flatten(model.parameters()))
    facts = json.dumps({**asdict(settings), "seconds": round(seconds, 1)})
    save_arrays(out / "model.safetensors", weights, {"format": "mlx", "training": facts})


def check_size(out: Path) -> None:
    """Check that a checkpoint fits into the package.

    Raises:
        ValueError: It is larger than the package may carry.
    """
    size = sum(path.stat().st_size for path in out.iterdir())
    if size > MAX_BYTES:
        raise ValueError(f"the checkpoint has {size} bytes, more than {MAX_BYTES}")


def tokenizer_config(ids: dict[str, int]) -> dict[str, Any]:
    """Return the tokenizer's settings, with Qwen's special tokens and ChatML."""
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(number): {"content": text, **flags, "special": True} for text, number in ids.items()
        },
        "additional_special_tokens": [IM_START, IM_END],
        "bos_token": None,
        "eos_token": IM_END,
        "pad_token": END_OF_TEXT,
        "unk_token": None,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "model_max_length": MODEL["max_position_embeddings"],
        "split_special_tokens": False,
    }


def publish(staged: Path, out: Path) -> None:
    """Move a finished checkpoint's files to their place, each in one step."""
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(staged.iterdir()):
        os.replace(shutil.copy2(path, out / f".partial-{path.name}"), out / path.name)


# --- evaluation --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Result:
    """Hold one held-out prompt's answer and what became of it."""

    pair: tasks.Pair
    answer: str
    tokens: int
    parses: bool
    correct: bool


def answers(folder: Path, prompts: Sequence[str], *, progress: bool = True) -> Iterator[str]:
    """Yield the greedy answer to each prompt, through MLX-LM's own loading and generation."""
    model, tokenizer = mlx_lm.load(str(folder))
    for prompt in tqdm(prompts, desc="evaluating", disable=not progress, unit="prompt"):
        chat = [{"role": "user", "content": prompt}]
        ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        yield mlx_lm.generate(model, tokenizer, prompt=ids, max_tokens=MAX_ANSWER_TOKENS)


def evaluate(folder: Path, pairs: Sequence[tasks.Pair], *, progress: bool = True) -> list[Result]:
    """Answer held-out prompts, and run each function on its examples in the sandbox.

    Raises:
        FileNotFoundError: The folder holds no checkpoint. (MLX-LM would look for it online.)
    """
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"no checkpoint in {folder}")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    given = answers(folder, [pair.prompt for pair in pairs], progress=progress)
    return [
        judge(pair, answer, len(tokenizer.encode(answer).ids))
        for pair, answer in zip(pairs, given, strict=True)
    ]


def judge(pair: tasks.Pair, answer: str, tokens: int) -> Result:
    """Judge one answer: does it parse as the wanted function, and is that function right?"""
    code = coherence.extract_code(answer, pair.function)
    ran = sandbox.run_examples(code, pair.function, pair.examples) if code else None
    right = ran is not None and ran.passed == ran.total > 0
    return Result(pair, answer, tokens, parses=bool(code), correct=right)


def shares(results: Sequence[Result]) -> dict[str, Any]:
    """Return the number of results and the shares that parse and that are correct."""
    count = len(results)
    return {
        "n": count,
        "parse_share": round(sum(r.parses for r in results) / count, 4),
        "correct_share": round(sum(r.correct for r in results) / count, 4),
    }


def grouped(results: Sequence[Result], attribute: str) -> dict[str, Any]:
    """Return the shares by an attribute of the pairs."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(getattr(result.pair, attribute), []).append(result)
    return {name: shares(members) for name, members in sorted(groups.items())}


def report(folder: Path, results: Sequence[Result]) -> dict[str, Any]:
    """Return the report that `--json` prints, with the training facts from the weights."""
    weights, metadata = load_arrays(folder / "model.safetensors")
    facts = json.loads(metadata.get("training", "{}"))
    packages = ("mlx", "mlx-lm", "tokenizers", "transformers", "numpy")
    return {
        **{key: facts.get(key) for key in ("steps", "seconds", "seed", "batch", "peak")},
        "parameters": sum(array.size for array in weights.values()),
        "templates": len(tasks.TEMPLATES),
        **shares(results),
        "per_category": grouped(results, "category"),
        "per_kind": grouped(results, "kind"),
        "wrong": [r.pair.prompt for r in results if not r.correct],
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
    }


def qualification_prompts(results: Iterable[Result], count: int = 12) -> list[dict[str, Any]]:
    """Pick prompts with a correct answer of enough tokens, spread over the categories.

    Raises:
        ValueError: There are fewer than wanted.
    """
    fitting = [r for r in results if r.correct and r.tokens >= MIN_QUALIFYING_TOKENS]
    rank: dict[str, int] = {}
    order: list[tuple[int, Result]] = []
    # Longest answers first; a template counts once, and categories take turns.
    for result in sorted(fitting, key=lambda r: -r.tokens):
        if all(result.pair.template != other.pair.template for _, other in order):
            category = result.pair.category
            order.append((rank.setdefault(category, 0), result))
            rank[category] += 1
    chosen = [result for _, result in sorted(order, key=lambda item: item[0])][:count]
    if len(chosen) < count:
        raise ValueError(f"only {len(chosen)} prompts qualify, {count} are wanted")
    return [
        {
            "id": result.pair.template,
            "prompt": result.pair.prompt,
            "function": result.pair.function,
            "examples": result.pair.examples,
        }
        for result in chosen
    ]


# --- model card --------------------------------------------------------------------------

CARD = """\
---
license: mit
library_name: mlx
pipeline_tag: text-generation
language: en
tags:
- mlx
- qwen2
- fixture
- code
---

# The embedded model of mlx-preflight

A Qwen2-architecture chat model with {parameters:,} parameters in float32 that writes small
Python functions. It is a **fixture**: a real checkpoint in the ordinary Hugging Face layout
(safetensors, byte-level BPE tokenizer, ChatML template, Qwen's special tokens) that takes
the very code path of a 7B model through MLX-LM — loading, generation, 4-bit quantization,
LoRA — in seconds and without a download.

It is **not** a coding assistant. It knows {templates} tasks and the wordings that its
generator makes of them; on anything else it writes something that looks like one of them.
Nothing that passes on it says anything about another model.

## Figures as measured

Greedy decoding through `mlx_lm.load` and `mlx_lm.generate` on {n} held-out prompts:

| Prompts | n | Answers that parse | Functions that pass their examples |
|---|--:|--:|--:|
{rows}

An answer parses if it holds Python source that defines the function asked for. A function
is correct if it returns the expected value for every example when run in the package's
sandbox. The shares are over the whole held-out set; no prompt was left out.

## What is held out

Every prompt is an opener ("Write a Python function *name* that …") with a wording of what
the function does. Hashes, not persons, decided what is held back from training: one wording
of every template, {held_openers} of the {openers} openers, and one in {held_one_in}
combinations of function name and parameters (numbers, letters, words, argument names). Per
template there is one held-out prompt of each kind:

- `parameters`: a trained wording with a held-out combination;
- `wording`: a held-out wording and opener with a trained combination;
- `both`: both held out.

The tokenizer, too, was trained on training pairs only. The tasks themselves are the same in
training and evaluation: the figures measure new wordings and values, not new tasks.

The generator got more openers and more function names after a look at the held-out answers
of earlier runs with another seed. The present seed drew its combinations afresh, but the
held-out wordings are the same ones, so they are not wholly unseen by the authors.

`prompts.json` holds {qualification} prompts for the qualification of the package. They were
picked from those held-out prompts that this model answers correctly with at least
{min_tokens} tokens, one per task, so their success says nothing beyond the table above.

## How it was trained

```
python scripts/training/train_embedded_model.py --steps {steps} --seed {seed}
```

{steps} AdamW steps of {batch} generated pairs took {seconds:.0f} s on {machine}. Only the
answers' tokens count in the loss. Versions: {versions}.

| Field | Value |
|---|---|
{fields}

## Limits

- English prompts of the trained kind, one turn, no system prompt, answers under
  {max_tokens} tokens.
- It copies names and numbers from the prompt and sometimes misspells an unusual one.
- A wording that fits two tasks (a sum by loop or by recursion) may get either.
"""


def model_card(facts: dict[str, Any], qualification: int) -> str:
    """Return the model card with the figures of a report."""
    groups = {"all held out": facts, **{f"`{k}`": v for k, v in facts["per_kind"].items()}}
    groups |= facts["per_category"]
    rows = (
        f"| {name} | {g['n']} | {g['parse_share']:.1%} | {g['correct_share']:.1%} |"
        for name, g in groups.items()
    )
    shown = (
        *("hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads"),
        *("num_key_value_heads", "max_position_embeddings", "tie_word_embeddings"),
    )
    fields = [f"| `{key}` | {MODEL[key]} |" for key in shown]
    return CARD.format(
        **{key: facts[key] for key in ("parameters", "templates", "n", "steps", "seed", "batch")},
        rows="\n".join(rows),
        openers=len(tasks.OPENERS) + len(tasks.HELD_OPENERS),
        held_openers=len(tasks.HELD_OPENERS),
        held_one_in=tasks.HELD_ONE_IN,
        qualification=qualification,
        min_tokens=MIN_QUALIFYING_TOKENS,
        max_tokens=MAX_ANSWER_TOKENS,
        seconds=facts["seconds"],
        machine=f"a {os.cpu_count()}-core {platform.system()} {platform.machine()} machine",
        versions=", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
        fields="\n".join([*fields, f"| `vocab_size` | {VOCAB_SIZE} |"]),
    )


# --- command line ------------------------------------------------------------------------

EXAMPLES = """\
examples:
  python scripts/training/train_embedded_model.py
  python scripts/training/train_embedded_model.py --resume --json
  python scripts/training/train_embedded_model.py --steps 200 --out /tmp/model --work-dir /tmp/w
  python scripts/training/train_embedded_model.py --evaluate-only --json

On Linux, MLX multiplies float32 matrices with the system's BLAS. If that is the slow
reference BLAS, install OpenBLAS and set LD_PRELOAD to its libopenblas.so.0.
"""


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Train, evaluate and write the embedded model of mlx-preflight.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    plain = Settings()
    add = parser.add_argument
    add("--steps", type=int, default=plain.steps, help="optimizer steps (default: %(default)s)")
    add("--seed", type=int, default=plain.seed, help="seed of everything (default: %(default)s)")
    add("--out", type=Path, default=EMBEDDED, help="folder of the checkpoint")
    add(
        "--work-dir",
        type=Path,
        default=Path(tempfile.gettempdir(), "mlx-preflight-embedded"),
        help="folder of the training state (default: %(default)s)",
    )
    add("--resume", action="store_true", help="go on from the state in the work folder")
    add("--stop-after", type=int, metavar="STEP", help="stop after this step, without a checkpoint")
    add("--evaluate-only", action="store_true", help="only evaluate the checkpoint in --out")
    add("--json", action="store_true", help="print the report as one line of JSON at the end")
    options = parser.parse_args(arguments)
    if options.steps < 1 or (options.stop_after is not None and options.stop_after < 1):
        parser.error("--steps and --stop-after want a positive number")
    return options


def build(options: argparse.Namespace) -> dict[str, Any] | None:
    """Train and publish the checkpoint; return its report, or None if stopped before."""
    settings = Settings(steps=options.steps, seed=options.seed)
    tokenizer = build_tokenizer(settings.seed)
    model, step, seconds = train(
        settings, tokenizer, options.work_dir, resume=options.resume, stop_after=options.stop_after
    )
    if step < settings.steps:
        return None
    with tempfile.TemporaryDirectory(dir=options.work_dir) as folder:
        staged = Path(folder)
        write_checkpoint(model, tokenizer, staged, settings, seconds)
        results = evaluate(staged, tasks.held_out(settings.seed))
        facts = report(staged, results)
        prompts = qualification_prompts(results)
        save_json(staged / "prompts.json", prompts)
        save_text(staged / "README.md", model_card(facts, len(prompts)))
        check_size(staged)
        publish(staged, options.out)
    return facts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = parse_arguments(arguments)
    try:
        if options.evaluate_only:
            results = evaluate(options.out, tasks.held_out(options.seed))
            facts: dict[str, Any] | None = report(options.out, results)
        else:
            facts = build(options)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if facts is None:
        print(f"stopped; go on with --resume --work-dir {options.work_dir}")
        return 0
    print(
        f"{facts['n']} held-out prompts: {facts['parse_share']:.1%} parse, "
        f"{facts['correct_share']:.1%} correct; {facts['parameters']:,} parameters"
    )
    if options.json:
        print(json.dumps(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
