"""Slices of a model: its first blocks between its real embedding and its real head.

Time and memory of a training are linear in how many blocks of each kind are frozen and
adapted. A model of few blocks costs seconds where the whole one may not even be there, and
the whole one's figure is a weighted sum of those of slices.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten

from mlx_preflight.core.errors import EstimateError
from mlx_preflight.memory import architecture, validation
from mlx_preflight.memory.settings import Settings

COUNTS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers")
"""Names under which configs of mlx_lm's models (0.32) have the number of blocks."""

SHARED = ("num_kv_shared_layers",)
"""Numbers of last blocks that are of another kind (gemma3n, gemma4); they shrink with the model."""

Features = Counter[tuple[str, str]]
"""What a training runs: how often each kind of block is `frozen` or `adapted`, and one `base`."""

BASE = ("base", "")


@dataclass(frozen=True, slots=True)
class Slice:
    """A model of the first blocks of another one.

    Attributes:
        blocks: How many.
        adapted: How many of them, from the last, get adapters.
        weight: Its share in the whole model's figure.
    """

    blocks: int
    adapted: int
    weight: float = 1.0

    def config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the slice's config."""
        return cut(config, self.blocks)

    def settings(self, settings: Settings) -> Settings:
        """Return the settings that adapt its blocks."""
        return replace(settings, num_layers=self.adapted)


def blocks_of(config: Mapping[str, Any]) -> int:
    """Return the number of blocks of a config.

    Raises:
        ValueError: No name of `COUNTS` is there.
    """
    for part in _parts(config):
        for name in COUNTS:
            if isinstance(part.get(name), int):
                return int(part[name])
    raise ValueError("the config does not say how many blocks the model has")


def cut(config: Mapping[str, Any], blocks: int) -> dict[str, Any]:
    """Return a config of the model's first blocks; lists with an entry per block are cut."""
    total = blocks_of(config)
    found = copy.deepcopy(dict(config))
    for part in _parts(found):
        for name, value in part.items():
            if isinstance(value, list) and len(value) == total:
                part[name] = value[:blocks]
            elif name in COUNTS and value == total:
                part[name] = blocks
            elif name in SHARED and isinstance(value, int):
                part[name] = value * blocks // total
    return found


def _parts(config: Mapping[str, Any]) -> Iterator[Any]:
    yield config
    if isinstance(config.get("text_config"), Mapping):
        yield config["text_config"]


def kinds(config: Mapping[str, Any], settings: Settings) -> list[str]:
    """Return the kind of every block: two of a kind have the same shapes and switches.

    Raises:
        EstimateError: mlx_lm refuses the config.
    """
    model = validation.built(lambda: architecture.build(config, settings), config)
    return [_kind(block) for block in model.layers]


def _kind(block: Any) -> str:
    """Return a digest of a block's parameters and of the plain attributes of its modules."""
    shapes = [(name, list(array.shape)) for name, array in tree_flatten(block.parameters())]
    switches = [
        (name, type(module).__name__, key, value)
        for name, module in block.named_modules()
        for key, value in sorted(vars(module).items())
        if isinstance(value, bool | int | float | str) and "idx" not in key
    ]
    text = json.dumps([sorted(shapes), sorted(switches, key=str)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def features(kinds_: Sequence[str], adapted: int) -> Features:
    """Return what a training of blocks of these kinds runs.

    Args:
        kinds_: Kind of every block.
        adapted: Blocks with adapters from the last one; 0 and less for all.
    """
    first = 0 if adapted <= 0 else max(len(kinds_) - adapted, 0)
    parts = [("frozen", kind) for kind in kinds_[:first]]
    parts += [("adapted", kind) for kind in kinds_[first:]]
    return Counter([BASE, *parts])


def choose(config: Mapping[str, Any], settings: Settings, most: int) -> tuple[Slice, ...]:
    """Return slices whose weighted sum is the whole training, with little noise.

    Args:
        config: The model's config.json.
        settings: The training.
        most: Blocks of the largest slice.

    Returns:
        As few slices as there are unknowns. Where the model has no more blocks than `most`, it
        is the one slice.

    Raises:
        ValueError: Slices of that size do not hold every kind of block.
    """
    whole = kinds(config, settings)
    wanted = features(whole, settings.num_layers)
    total, adapted = len(whole), _adapted(whole, settings)
    if total <= most:
        return (Slice(total, adapted),)
    candidates, rows = [], []
    for blocks in range(1, most + 1):
        try:
            found = kinds(cut(config, blocks), settings)
        except EstimateError:
            continue  # (the model's own code, of fewer blocks than it knows)
        for count in range(1, blocks + 1):
            row = features(found, count)
            if set(row) <= set(wanted):
                candidates.append(Slice(blocks, count))
                rows.append(row)
    if not rows:
        raise ValueError("no slice of that size can be built")
    names = sorted(wanted)
    matrix = np.array([[row[name] for name in names] for row in rows], dtype=float)
    weights = _weights(matrix, np.array([wanted[name] for name in names], dtype=float))
    return tuple(
        replace(one, weight=float(weight))
        for one, weight in zip(candidates, weights, strict=True)
        if weight
    )


def _adapted(whole: Sequence[str], settings: Settings) -> int:
    return len(whole) if settings.num_layers <= 0 else min(settings.num_layers, len(whole))


NONE = 1e-3
"""Weights below it count as none."""

NOISIER = 1.2
"""How much larger the sum of the weights' sizes may become for fewer slices."""


def _weights(matrix: Any, wanted: Any) -> Any:
    """Return few weights with a small sum of sizes: the noise of the sum grows with them.

    Args:
        matrix: (slices, features).
        wanted: (features,).

    Raises:
        ValueError: No weights give what is wanted.
    """
    weights = _least(matrix, wanted)
    if weights is None:
        raise ValueError("slices of that size do not hold every kind of block")
    most = NOISIER * np.abs(weights).sum()
    for index in np.argsort(np.abs(weights)):
        without = matrix.copy()
        without[[*np.flatnonzero(weights == 0), index]] = 0
        fewer = _least(without, wanted)
        if fewer is not None and np.abs(fewer).sum() <= most:
            weights = fewer
    return weights


def _least(matrix: Any, wanted: Any) -> Any:
    """Return weights of the least absolute sum, by iteratively reweighted least squares."""
    size = np.ones(len(matrix))
    for _ in range(50):
        found = size * np.linalg.lstsq(matrix.T * size, wanted, rcond=None)[0]
        size = np.sqrt(np.abs(found) + 1e-9)
    found[np.abs(found) < NONE] = 0
    kept = found != 0
    found[kept] = np.linalg.lstsq(matrix[kept].T, wanted, rcond=None)[0]
    exact = np.allclose(matrix.T @ found, wanted, rtol=1e-6, atol=1e-6)
    return found if exact and kept.any() else None


def draw(model: Any) -> None:
    """Give a lazy model random weights of its own shapes and formats, one array at a time.

    Quantized ones are drawn as they are stored; quantizing real numbers would take longer than
    the steps that are measured.
    """
    drawn = []
    for name, array in tree_flatten(model.parameters()):
        made = _drawn(array)
        mx.eval(made)
        drawn.append((name, made))
    model.update(tree_unflatten(drawn))


PACKED = 2**31 - 1
"""Highest word of drawn quantized weights."""

EXPONENTS = (118, 124)
"""Range of the 8-bit exponents that scale a block of mxfp4 and mxfp8: 2**-9 to 2**-4."""


def _drawn(array: Any) -> Any:
    if array.dtype == mx.uint32:
        return mx.random.randint(0, PACKED, array.shape, mx.uint32)
    if array.dtype == mx.uint8:
        exponents: Any = mx.random.randint(*EXPONENTS, array.shape)
        return exponents.astype(mx.uint8)
    if mx.issubdtype(array.dtype, mx.floating):
        return (mx.random.normal(array.shape) * 0.02).astype(array.dtype)
    return mx.zeros(array.shape, array.dtype)
