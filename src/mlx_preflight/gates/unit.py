"""Gate 4: every test outside the acceptance folder."""

from __future__ import annotations

from mlx_preflight.gates import pytest_run
from mlx_preflight.plan import Session
from mlx_preflight.result import Outcome
from mlx_preflight.runner import Context


def gather(session: Session, context: Context) -> pytest_run.Tests:
    """Run the tests once, under coverage."""
    context.note(f"{session.id}: running the tests")
    return pytest_run.measure(context, session.id)


def gate4(tests: pytest_run.Tests) -> Outcome:
    """Prove that every test passes, and that enough of them ran."""
    return pytest_run.judge(tests)
