"""Why the first loss of a framework is, or is not, the one of MLX-LM.

B is zero at the first step, so its loss is that of the base model on the first batch. The
reference recorded the loss of every target of that batch; what another framework reports
must be their mean over the targets that it keeps. Nothing is run here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mlx_preflight.core.errors import ResultError

TOLERANCE = 1e-3
"""Largest relative difference of two first losses that agree."""

Kind = Literal["agrees", "masking", "padding", "template", "scale", "unexplained"]


@dataclass(frozen=True, slots=True)
class ParityFinding:
    """Relation of a framework's first loss to the reference's.

    Attributes:
        kind: What differs; `agrees` when nothing does.
        text: Why, in one sentence with the values seen.
        relative: Difference of the losses as reported.
        mapped: Difference after the reference was averaged over the same targets; None
            where that cannot be done.
    """

    framework: str
    kind: Kind
    text: str
    relative: float
    mapped: float | None

    @property
    def holds(self) -> bool:
        """Return whether the losses agree once the conventions are mapped."""
        return self.kind != "scale" and self.mapped is not None and self.mapped <= TOLERANCE


def explain(name: str, figures: Mapping[str, Any], reference: Mapping[str, Any]) -> ParityFinding:
    """Return the finding on one framework.

    Raises:
        ResultError: The reference's own first loss is not the mean of what it recorded, or a
            figure is missing.
    """
    try:
        probe = reference["probe"]
        losses = [value for row in probe["losses"] for value in row]
        own = float(reference["train"][0]["loss"][0])
        loss = float(figures["train"][0]["loss"][0])
        scales = float(figures["adapter"]["scale"]), float(reference["adapter"]["scale"])
        batch = figures.get("first_batch") or {
            "tokens": probe["tokens"],
            "targets": [[True] * len(row) for row in probe["losses"]],
        }
        tokens, targets = batch["tokens"], batch["targets"]
    except (KeyError, IndexError, TypeError) as error:
        raise ResultError(f"{name}: the parity needs {error}") from error
    mean = sum(losses) / len(losses)
    if _apart(own, mean) > TOLERANCE:
        raise ResultError(
            f"the reference's first loss is {own:.6f}, its first batch gives {mean:.6f}: the "
            "rows did not come in the order that was asked for"
        )
    relative = _apart(loss, own)
    if scales[0] != scales[1]:
        text = f"B·A is multiplied by {scales[0]:g}, in the reference by {scales[1]:g}"
        return ParityFinding(name, "scale", text, relative, None)
    if difference := _tokens_differ(tokens, probe["tokens"]):
        return ParityFinding(name, "template", difference, relative, None)
    return _by_targets(name, loss, relative, targets, probe)


def _by_targets(
    name: str, loss: float, relative: float, targets: list[list[bool]], probe: Mapping[str, Any]
) -> ParityFinding:
    """Return the finding on a framework that saw the same tokens."""
    kept = [
        value
        for row, mask in zip(probe["losses"], targets, strict=True)
        for value, is_target in zip(row, mask, strict=False)
        if is_target
    ]
    total = sum(len(row) for row in probe["losses"])
    padded = sum(sum(mask[len(row) :]) for row, mask in zip(probe["losses"], targets, strict=True))
    if not kept:
        return ParityFinding(name, "unexplained", "it trains on no token", relative, None)
    mapped = _apart(loss, sum(kept) / len(kept))
    if padded:
        text = f"it counts {padded} padding tokens as targets, the reference none"
        return ParityFinding(name, "padding", text, relative, None)
    if mapped > TOLERANCE:
        text = f"same tokens and targets, but the losses are {mapped:.2g} apart"
        return ParityFinding(name, "unexplained", text, relative, mapped)
    if len(kept) == total:
        return ParityFinding(name, "agrees", f"same {total} targets, same loss", relative, mapped)
    text = (
        f"it trains on {len(kept)} of {total} targets and masks the rest; averaged over the same "
        f"targets the reference's loss is {sum(kept) / len(kept):.6f}, its own {loss:.6f}"
    )
    return ParityFinding(name, "masking", text, relative, mapped)


def _tokens_differ(tokens: list[list[int]], wanted: list[list[int]]) -> str:
    if len(tokens) != len(wanted):
        return f"its first batch has {len(tokens)} rows, the reference's {len(wanted)}"
    for number, (row, right) in enumerate(zip(tokens, wanted, strict=True), 1):
        if row[: len(right)] != right:
            place = next(
                (n for n, pair in enumerate(zip(row, right, strict=False)) if pair[0] != pair[1]),
                min(len(row), len(right)),
            )
            return f"row {number} of its first batch differs from token {place + 1} on"
    return ""


def _apart(left: float, right: float) -> float:
    return abs(left - right) / abs(right)
