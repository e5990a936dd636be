"""Compare the parts of a checkpoint with each other, and name everything that is wrong."""

from __future__ import annotations

from dataclasses import dataclass

from mlx_preflight.errors import CheckpointError
from mlx_preflight.model import checkpoint
from mlx_preflight.model.checkpoint import Checkpoint, ValueCheck

SHOWN = 5
"""Problems that a reason names; a wrong config disagrees with every tensor."""


@dataclass(frozen=True, slots=True)
class Soundness:
    """Hold what the checks of one checkpoint found.

    Attributes:
        problems: What is wrong, in the reader's words; none where all agrees.
        notes: What could not be compared, and why.
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

    def demand(self, cp: Checkpoint) -> None:
        """Raise CheckpointError unless nothing is wrong."""
        if self.problems:
            raise CheckpointError(
                f"{cp.folder}: {self.summary()}",
                hint="download the checkpoint again, all of it from one repository and revision",
            )


def examine(cp: Checkpoint, *, chat: bool = True) -> Soundness:
    """Check shapes, types, vocabulary, values, index and chat template of a checkpoint.

    Args:
        cp: A checkpoint from `checkpoint.inspect`; every weight is read once.
        chat: Whether it must have a chat template; a base model answers without one.

    Raises:
        CheckpointError: A file cannot be read.
    """
    shapes, values = checkpoint.check_shapes(cp), checkpoint.check_values(cp)
    vocabulary = checkpoint.check_vocabulary(cp)
    notes = [line for line in vocabulary if line.startswith("Not checked")]
    problems = [*shapes.problems, *checkpoint.check_dtypes(cp)]
    problems += [line for line in vocabulary if line not in notes]
    if not shapes.checked:
        notes.append(f"shapes were compared by loading only: {shapes.reason}")
    problems += [
        f"{name}: {bad} values are NaN or infinite" for name, bad in values.nonfinite.items()
    ]
    problems += [f"{name}: every value is zero" for name in values.all_zero]
    problems += [f"{name}: not named by the index, yet loaded" for name in cp.unreferenced]
    if chat and not cp.has_chat_template:
        problems.append("there is no chat template")
    if not values.tensors:
        problems.append("no float tensor was found to scan")
    return Soundness(tuple(problems), tuple(notes), values)
