"""The parts of a plan: checks, sessions and groups.

Standard library only: the noxfile imports this before anything is installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Stack = Literal["harness", "runtime", "tests", "model"]
"""Environment that a session judges: none (the harness looks at files), the project's own at
run time, that with what its tests need, or that with the model stack, run from inside."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        id: The plan's row, such as `AC4.3`; its function is in `CHECKS` of the session's module.
        title: What holds when it passes.
        remedy: What to do when it does not; empty where only its reason says so.
    """

    id: str
    title: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """One nox session.

    Attributes:
        module: Module under `mlx_preflight` with `gather` and `CHECKS`.
        tools: What the harness needs for it, with bounds.
        requirements: What is resolved together with the project, with bounds.
        stack: Environment that it judges.
        parallel: Whether it may run beside others; measured sessions must not.
        required: Whether the verdict needs it to pass.
        runs_model: Whether its checks speak of the model; their evidence is then the
            profile's tier, else `static`.
    """

    id: str
    title: str
    tag: str
    module: str
    checks: tuple[Check, ...]
    tools: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    stack: Stack = "harness"
    parallel: bool = True
    required: bool = True
    runs_model: bool = False


def ids(prefix: str, count: int) -> tuple[str, ...]:
    """Return the ids of a session's checks: `AC4.1`, `AC4.2` and so on."""
    return tuple(f"{prefix}{number}" for number in range(1, count + 1))


WHOLE_PLAN = "preflight"
"""Group of the complete plan: the only one whose pass makes a model ready."""

GROUPS = {
    "gates": ("gates",),
    "ac": ("ac",),
    "e2e": ("e2e",),
    "selftest": ("selftest",),
    "run": ("run", "rehearsal"),
    "qualify": ("run",),
    "finish": ("finish",),
    WHOLE_PLAN: ("gates", "ac", "integration", "regression", "bench"),
}
"""Group → tags or sessions that it runs, in the order of `SESSIONS`; two are one session."""
