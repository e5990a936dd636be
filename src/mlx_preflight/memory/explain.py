"""Prices of what a run could be changed to: the bytes that each change saves, and their share.

What changes the model's graph is predicted; what replaces a part of it is read off the moments
of the run's own prediction: the peak that is left without the part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlx_preflight.memory import architecture
from mlx_preflight.memory.predict import Prediction, predict

OTHER_TRAINER = "another trainer"
SORTED_FILE = "rows sorted by length in the file, as the trainer keeps its order"


@dataclass(frozen=True, slots=True)
class Alternative:
    """A change of a run and what it buys.

    Attributes:
        name: The change.
        peak_bytes: Predicted peak with it.
        saved_bytes: Bytes less than without it.
        share: Of the peak without it.
        needs: What it takes beside another setting; may be empty.
    """

    name: str
    peak_bytes: int
    saved_bytes: int
    share: float
    needs: str = ""


def alternatives(config: Mapping[str, Any], found: Prediction) -> tuple[Alternative, ...]:
    """Return what each change of a training buys, the largest first.

    Args:
        config: The model's config.json.
        found: Prediction of the training.
    """
    priced = [*_predicted(config, found), *_without(found)]
    # The widest batch has the peak, whatever the order; a packed row is as long as the limit.
    priced += [("sorted rows: less padding, the same peak", found.peak_bytes, SORTED_FILE)]
    priced += [("packed rows: fewer steps, the same peak", found.peak_bytes, OTHER_TRAINER)]
    made = [
        Alternative(
            name, peak, found.peak_bytes - peak, (found.peak_bytes - peak) / found.peak_bytes, needs
        )
        for name, peak, needs in priced
    ]
    return tuple(sorted(made, key=lambda item: -item.saved_bytes))


def _predicted(config: Mapping[str, Any], found: Prediction) -> Iterator[tuple[str, int, str]]:
    """Yield the changes of settings, each with its own prediction."""
    settings = found.settings
    if settings.fine_tune_type == "full":
        return
    if settings.rank > 1:
        half = replace(settings, rank=settings.rank // 2)
        yield f"rank {half.rank}", predict(config, half).peak_bytes, ""
    keys = architecture.attention_keys(config, settings) if settings.keys is None else ()
    if keys:
        chosen = replace(settings, keys=keys)
        yield "adapters of the attention only", predict(config, chosen).peak_bytes, ""


PARTS = {
    "logits and loss": "a fused loss, which never holds all logits",
    "attention scores": "attention with a fused backward, which never holds all scores",
}
"""Category of a prediction → the kernel that does without it (mlx-train-perf 0.9 has both)."""


def _without(found: Prediction) -> Iterator[tuple[str, int, str]]:
    """Yield the kernels that leave a category out, and the highest moment that is left."""
    for part, name in PARTS.items():
        left = [sum(moment.values()) - moment.get(part, 0) for moment in found.timeline]
        yield name, min(max(left), found.peak_bytes), OTHER_TRAINER
