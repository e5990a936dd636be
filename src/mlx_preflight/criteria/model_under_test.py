"""Model that a session judges: found, validated and fingerprinted before it is loaded.

Every session that runs a model starts here, so that none loads a folder which the static
validation refuses, and every result says which files exactly it holds for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlx_preflight.core.errors import BlockedError, ChildError, PreflightError, WorkerError
from mlx_preflight.core.result import Measurement, Outcome, Status
from mlx_preflight.memory import backend_limits
from mlx_preflight.models import checkpoint
from mlx_preflight.models.layout import Checkpoint
from mlx_preflight.run.context import Context
from mlx_preflight.runtime import workers


@dataclass(frozen=True, slots=True)
class ModelUnderTest:
    """Model of a session, or why there is none.

    Attributes:
        resolved: Where it is.
        checkpoint: What its files say.
        digests: SHA-256 by file name.
        failure: Why it cannot be loaded; None when it can.
    """

    resolved: workers.ResolvedModel | None = None
    checkpoint: Checkpoint | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    failure: PreflightError | None = None

    @property
    def ready(self) -> tuple[workers.ResolvedModel, Checkpoint]:
        """Return model and checkpoint.

        Raises:
            PreflightError: There is none; BlockedError when it is not on this machine.
        """
        if self.failure is not None:
            raise self.failure
        if self.resolved is None or self.checkpoint is None:
            raise BlockedError("no model was resolved")
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
                "quantization": self.checkpoint.config.get("quantization"),
                "fingerprint": self.fingerprint,
                "digests": dict(self.digests),
            }
        return known


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts about a model, gathered in a context."""

    context: Context
    subject: ModelUnderTest

    @property
    def model(self) -> dict[str, Any]:
        """Return the resolved model for the result file."""
        return self.subject.describe()


def find(context: Context) -> ModelUnderTest:
    """Find and inspect the model of a context; a failure is kept, not raised."""
    try:
        resolved = workers.resolve(context.model)
    except PreflightError as error:
        return ModelUnderTest(failure=error)
    try:
        inspected = checkpoint.inspect(resolved.path)
        return ModelUnderTest(resolved, inspected, checkpoint.digests(inspected))
    except PreflightError as error:
        return ModelUnderTest(resolved, failure=error)


def error_outcome(error: PreflightError) -> Outcome:
    """Return how a check ends for which an error is the answer, not an obstacle.

    A model that is not here, or that this backend of MLX cannot run, is BLOCKED. A child that
    was killed or ran out of time says nothing about the model: ERROR. All else is a model that
    does not work: FAIL.
    """
    status = Status.FAIL
    error = backend_limits.of_message(str(error)) or error
    if isinstance(error, BlockedError):
        status = Status.BLOCKED
    elif isinstance(error, ChildError) and not isinstance(error, WorkerError):
        status = Status.ERROR
    return Outcome(status, str(error), remedy=error.hint)


def text_measurement(name: str, value: object) -> Measurement:
    """Return a measurement of plain text."""
    return Measurement(name, str(value), "text")
