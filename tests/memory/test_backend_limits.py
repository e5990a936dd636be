"""What a backend cannot run is a limit of the backend: BLOCKED with the remedy, never green."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mlx_preflight.core.errors import BlockedError, WorkerError
from mlx_preflight.core.result import Status
from mlx_preflight.criteria.model_under_test import error_outcome
from mlx_preflight.memory import backend_limits
from mlx_preflight.memory.measure import measure
from mlx_preflight.memory.predict import predict
from tests.memory.models import qwen, small

EXPERTS: dict[str, Any] = qwen(
    model_type="mixtral", num_local_experts=4, num_experts_per_tok=2, tie_word_embeddings=False
)
GENERATION = small(inference=True, prompt_tokens=8, generate_tokens=2, dtype="bfloat16")
MESSAGE = "RuntimeError: [GatherMM::eval] Currently only supports float32."


def test_bfloat16_experts_are_blocked_on_the_cpu() -> None:
    """The reason is the backend's, and the remedy is told."""
    with pytest.raises(BlockedError, match="a limit of this backend, not of the model") as caught:
        predict(EXPERTS, GENERATION)
    assert "--bits 4" in caught.value.hint


@pytest.mark.parametrize(
    "changes", [{"dtype": "float32"}, {"backend": "metal"}, {"bits": 4, "group_size": 64}]
)
def test_the_remedies_are_ones(changes: dict[str, Any]) -> None:
    """Each of them is predicted."""
    assert predict(EXPERTS, replace(GENERATION, **changes)).peak_bytes > 0


@pytest.mark.slow
def test_mlx_says_what_is_recognised() -> None:
    """A real run ends with the message that makes a check BLOCKED."""
    with pytest.raises(WorkerError) as caught:
        measure(EXPERTS, GENERATION)
    assert backend_limits.of_message(str(caught.value)) is not None


def test_a_check_that_meets_it_is_blocked() -> None:
    """Other faults of a model stay failures."""
    assert error_outcome(WorkerError(MESSAGE)).status is Status.BLOCKED
    assert "--dtype float32" in error_outcome(WorkerError(MESSAGE)).remedy
    assert error_outcome(WorkerError("ValueError: shapes")).status is Status.FAIL
