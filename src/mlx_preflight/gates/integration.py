"""Gate 5: every test in the acceptance folder."""

from __future__ import annotations

from mlx_preflight.core.errors import ResultError
from mlx_preflight.gates import pytest_run
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context


def gather(session: Session, context: Context) -> pytest_run.Tests:
    """Run the acceptance tests once, under coverage.

    Raises:
        ResultError: The project has no such folder.
    """
    folder = context.project / context.settings.acceptance
    if not folder.is_dir():
        raise ResultError(
            f"{context.settings.acceptance}: no such folder, so no acceptance test ran",
            hint="name the folder with `acceptance` in [tool.mlx-preflight]",
        )
    context.note(f"{session.id}: running the acceptance tests")
    return pytest_run.measure(context, session.id)


CHECKS = {register.GATE5: pytest_run.judge}
