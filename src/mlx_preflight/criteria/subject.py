"""Find the model that a session judges, refuse what must not be loaded, and name it.

Every session that runs a model starts here, so that none loads a folder which the static
validation refuses, and every result says which files exactly it holds for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlx_preflight.errors import BlockedError, ChildError, PreflightError
from mlx_preflight.model import checkpoint, runtime
from mlx_preflight.model.layout import Checkpoint
from mlx_preflight.result import Measurement, Outcome, Status
from mlx_preflight.runner import Context


@dataclass(frozen=True, slots=True)
class Subject:
    """Hold the model of a session, or why there is none.

    Attributes:
        resolved: Where it is.
        checkpoint: What its files say.
        digests: SHA-256 by file name.
        failure: Why nothing can be loaded; None when it can.
    """

    resolved: runtime.ResolvedModel | None = None
    checkpoint: Checkpoint | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    failure: PreflightError | None = None

    @property
    def ready(self) -> tuple[runtime.ResolvedModel, Checkpoint]:
        """Return model and checkpoint.

        Raises:
            PreflightError: There is none; BlockedError when it is not on this machine.
        """
        if self.failure is not None:
            raise self.failure
        if self.resolved is None or self.checkpoint is None:
            raise BlockedError("no model was looked for")
        return self.resolved, self.checkpoint

    @property
    def fingerprint(self) -> str:
        """Return one digest for all files, or an empty text."""
        return checkpoint.fingerprint(self.digests) if self.digests else ""

    def describe(self) -> dict[str, Any]:
        """Return what a result file stores about the model."""
        known = dict(self.resolved.describe()) if self.resolved else {}
        if self.checkpoint is not None:
            known |= {
                "parameters": self.checkpoint.parameters,
                "quantization": self.checkpoint.quantization,
                "fingerprint": self.fingerprint,
                "digests": dict(self.digests),
            }
        return known


def find(context: Context) -> Subject:
    """Find and inspect the model of a context; a failure is kept, not raised."""
    try:
        resolved = runtime.resolve(context.model)
    except PreflightError as error:
        return Subject(failure=error)
    try:
        inspected = checkpoint.inspect(resolved.path)
        return Subject(resolved, inspected, checkpoint.digests(inspected))
    except PreflightError as error:
        return Subject(resolved, failure=error)


def failed(error: PreflightError) -> Outcome:
    """Return how a check ends for which an error is the answer, not an obstacle.

    A model that is not here is BLOCKED. A child that was killed or ran out of time says
    nothing about the model: ERROR. All else is a model that does not work: FAIL.
    """
    status = Status.FAIL
    if isinstance(error, BlockedError):
        status = Status.BLOCKED
    elif isinstance(error, ChildError) and not isinstance(error, runtime.WorkerError):
        status = Status.ERROR
    return Outcome(status, str(error), remedy=error.hint)


def text(name: str, value: object) -> Measurement:
    """Return a measurement of plain text."""
    return Measurement(name, str(value), "text")


def count_text(parameters: int) -> str:
    """Return a parameter count for people: `7.62B`, `0.86M`."""
    billions = parameters / 1e9
    return f"{billions:.2f}B" if billions >= 1 else f"{parameters / 1e6:.2f}M"


def gb(size_bytes: float) -> str:
    """Return a size in GB, 10^9 bytes; small ones keep their significant digits."""
    value = size_bytes / 1e9
    return f"{value:.2f} GB" if abs(value) >= 1 else f"{value:.4f} GB"
