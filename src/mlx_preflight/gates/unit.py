"""Gate 4: every test outside the acceptance folder that the setting `tests-select` chooses."""

from __future__ import annotations

from mlx_preflight.gates import pytest_run
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context


def gather(session: Session, context: Context) -> pytest_run.Tests:
    """Run the tests once, under coverage."""
    context.note(f"{session.id}: running the tests")
    return pytest_run.measure(context, session.id)


CHECKS = {register.GATE4: pytest_run.judge}
