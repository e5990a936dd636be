"""Tests of the one table of exit codes."""

from __future__ import annotations

import pytest

from mlx_preflight.core import errors
from mlx_preflight.core.errors import ExitCode
from mlx_preflight.core.result import Status


@pytest.mark.parametrize(
    ("status", "code"),
    [(Status.PASS, 0), (Status.FAIL, 1), (Status.ERROR, 3), (Status.BLOCKED, 3)],
)
def test_every_status_has_its_exit_code(status: Status, code: int) -> None:
    """Scripts and CI rely on the numbers."""
    assert status.exit_code == code


def test_the_numbers_stay() -> None:
    """Usage, unjudged, nothing ran and interrupted are told apart."""
    assert [code.value for code in ExitCode] == [0, 1, 2, 3, 4, 130]
    assert (errors.UsageError.exit_code, errors.PreflightError.exit_code) == (2, 3)
    assert errors.NothingRanError.exit_code == 4
    assert (ExitCode.of(True), ExitCode.of(False)) == (0, 1)
