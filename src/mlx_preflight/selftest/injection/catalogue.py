"""All cases, by session; a module of cases has a tuple `CASES`."""

from __future__ import annotations

import importlib
from functools import cache

from mlx_preflight.plan import register as plan
from mlx_preflight.selftest.injection.case import Case

CASES = "mlx_preflight.selftest.cases"

MODULES: dict[str, tuple[str, ...]] = {
    "gates": tuple(session.id for session in plan.GATES),
    "evaluation": (plan.AC1_EVALUATION, plan.AC2_SELECTION),
    "guide": (plan.AC7_GUIDE,),
    "installation": (plan.AC3_INSTALLATION,),
    "dependencies": (plan.AC8_DEPENDENCIES,),
    "loading": (plan.AC4_LOADING,),
    "answers": (plan.AC5_INFERENCE,),
    "peaks": (plan.AC6_MEMORY,),
    "workflow": ("e2e", "mcp"),
    "results": (
        *(plan.REGRESSION_TESTS, plan.REGRESSION_GATES, plan.BENCH_LOAD, plan.BENCH_INFERENCE),
        plan.SELFTEST,
    ),
    "configs": (plan.RUN1_CONFIG,),
    "machine": (plan.RUN2_MACHINE,),
    "checkpoints": (plan.RUN3_MODEL,),
    "rows": (plan.RUN4_DATA,),
    "training": (plan.RUN5_MEMORY, plan.RUN6_REHEARSAL, plan.RUN7_DURATION),
    "adapters": (plan.FINISH1_ADAPTER, plan.FINISH2_MODEL),
}
"""Module below `CASES` → sessions whose cases it has."""


@cache
def cases(session: str = "") -> tuple[Case, ...]:
    """Return the cases of a session, or all of them in the plan's order."""
    names = [item.id for item in plan.SESSIONS]
    found = [
        case
        for module, sessions in MODULES.items()
        if not session or session in sessions
        for case in importlib.import_module(f"{CASES}.{module}").CASES
        if not session or case.session == session
    ]
    return tuple(sorted(found, key=lambda case: names.index(case.session)))
