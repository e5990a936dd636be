"""Comparison of the parts of a checkpoint with each other; it names everything that is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.core.errors import CheckpointError
from mlx_preflight.models import checkpoint, hub_cache
from mlx_preflight.models.checkpoint import Checkpoint, ValueCheck
from mlx_preflight.plan import remedies

UNKNOWN = "Not checked"

NOTES = (UNKNOWN, "Noted")
"""How sentences begin that name no problem."""

NO_TEMPLATE = "there is no chat template"

ALL_AGAIN = "download the checkpoint again, all of it from one repository and revision"

SHOWN = 5
"""Problems that a reason names; a wrong config disagrees with every tensor."""


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """Findings of the checks of one checkpoint.

    Attributes:
        problems: What is wrong, in the reader's words; none where all agrees.
        notes: What could not be compared, and why; and what is unusual and right.
        values: Numbers that were scanned.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    values: ValueCheck

    def summary(self) -> str:
        """Return the first problems, and how many more there are."""
        shown = [item.rstrip(".") for item in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            shown.append(f"and {len(self.problems) - SHOWN} more")
        return "; ".join(shown)

    def raise_if_invalid(self, cp: Checkpoint) -> None:
        """Raise CheckpointError unless nothing is wrong."""
        if self.problems:
            damaged = any(item != NO_TEMPLATE for item in self.problems)
            raise CheckpointError(
                f"{cp.folder}: {self.summary()}",
                hint=ALL_AGAIN if damaged else remedies.OWN_TEMPLATE,
            )


def load_checkpoint_report(path: str | os.PathLike[str], *, chat: bool = True) -> ValidationReport:
    """Validate a checkpoint folder statically; nothing of it is loaded or executed.

    Args:
        path: The folder with config, weights and tokenizer.
        chat: Whether it must have a chat template; a base model answers without one.

    Returns:
        What is wrong, and what could not be compared.

    Raises:
        CheckpointError: A part is absent, damaged, or must not be loaded.
    """
    return validate(checkpoint.inspect(Path(path)), chat=chat)


def validate(
    cp: Checkpoint,
    *,
    chat: bool = True,
    scan: bool = True,
    digests: Mapping[str, str] | None = None,
) -> ValidationReport:
    """Check shapes, types, vocabulary, values, index and chat template of a checkpoint.

    Args:
        cp: A checkpoint from `checkpoint.inspect`.
        chat: Whether it must have a chat template; a base model answers without one.
        scan: Whether every weight is read once, for NaN; a note says where it is not.
        digests: What `checkpoint.digests` returned; None computes them where they are compared.

    Raises:
        CheckpointError: A file cannot be read.
    """
    shapes = checkpoint.check_shapes(cp)
    values = checkpoint.check_values(cp) if scan else ValueCheck(0, 0, {}, ())
    compared = [*checkpoint.check_dtypes(cp), *checkpoint.check_vocabulary(cp)]
    notes = [line for line in compared if line.startswith(NOTES)]
    problems = [*shapes.problems, *(line for line in compared if line not in notes)]
    if not shapes.checked:
        problems += checkpoint.layers_beyond(cp)
        notes.append(f"shapes were compared by loading only: {shapes.reason}")
    problems += [
        f"{name}: {bad} values are NaN or infinite" for name, bad in values.nonfinite.items()
    ]
    problems += [f"{name}: every value is zero" for name in values.all_zero]
    if scan and hub_cache.is_snapshot(cp.folder):
        problems += hub_cache.damaged(cp.folder, digests or checkpoint.digests(cp))
    problems += [f"{name}: not named by the index, yet loaded" for name in cp.unreferenced]
    if cp.stale_index:
        notes.append(
            f"the index names {len(cp.stale_index)} files that do not exist, and the others hold "
            "every tensor that it lists"
        )
    if chat and not cp.has_chat_template:
        problems.append(NO_TEMPLATE)
    if not scan:
        notes.append("values were not scanned for NaN")
    elif not values.tensors:
        problems.append("no float tensor was found to scan")
    return ValidationReport(tuple(problems), tuple(notes), values)
