"""Hold what a plan is made of: checks, sessions, groups and profiles.

This register is the only place that names sessions. The noxfile, the command line and
the report read it. It must import nothing beyond the standard library, because the
noxfile imports it before anything is installed.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mlx_preflight import table
from mlx_preflight.errors import UsageError
from mlx_preflight.result import Evidence

if TYPE_CHECKING:
    from mlx_preflight.project_table import Settings

suggest = table.suggest

Stack = Literal["tool", "tests", "model"]
"""What a session's venv holds: the harness and a tool, all that tests need, or the model stack."""


@dataclass(frozen=True, slots=True)
class Check:
    """Name one check.

    Attributes:
        id: The plan's row, such as `AC4.3`; its function is `ac4_3`.
        title: What holds when it passes.
        remedy: What to do when it does not.
        blocked: Why it cannot be answered yet; empty when it has a function.
    """

    id: str
    title: str
    remedy: str
    blocked: str = ""

    @property
    def function(self) -> str:
        """Return the name of the function that answers the check."""
        return self.id.lower().replace(".", "_").replace("-", "_")


@dataclass(frozen=True, slots=True)
class Session:
    """Name one nox session.

    Attributes:
        module: Module under `mlx_preflight` with `gather(context)` and the check functions.
        requirements: Tools installed beside the harness, with bounds.
        stack: What else its venv holds.
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
    requirements: tuple[str, ...] = ()
    stack: Stack = "tool"
    parallel: bool = True
    required: bool = True
    runs_model: bool = False


GROUPS = {
    "gates": ("gates",),
    "ac": ("ac",),
    "e2e": ("e2e",),
    "selftest": ("selftest",),
    "preflight": ("gates", "ac", "integration", "regression", "bench"),
}
"""Group → tags or sessions that it runs, in the order of `SESSIONS`; two are one session."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Name a model and what passing on it may claim.

    Attributes:
        model: `embedded`, a folder, a hub id, or `synthetic:NAME`.
        evidence: Tier of what is measured on this model.
        parameters: Expected parameter count, or None when the plan expects none.
        budget_gb: Memory budget, 10^9 bytes.
        sign_off: Whether a person must have read the answers (the plan's manual validation).
    """

    name: str
    title: str
    model: str
    evidence: Evidence
    parameters: int | None = None
    budget_gb: float = 16.0
    sign_off: bool = False


EMBEDDED = "embedded"

SYNTHETIC_PREFIX = "synthetic:"
"""Before the built-in name of a model whose shapes are wanted with random weights."""

PROFILES = {
    profile.name: profile
    for profile in (
        Profile(EMBEDDED, "the embedded model", EMBEDDED, Evidence.EMBEDDED),
        Profile(
            "qwen2.5-coder-7b",
            "Qwen2.5-Coder-7B-Instruct",
            "Qwen/Qwen2.5-Coder-7B-Instruct",
            Evidence.TARGET,
            # Exact, from the shapes of the published config.json (28 layers, untied head).
            parameters=7_615_616_512,
            sign_off=True,
        ),
        Profile(
            "qwen2.5-coder-7b-synthetic",
            "random 4-bit weights of the shapes of Qwen2.5-Coder-7B-Instruct",
            f"{SYNTHETIC_PREFIX}qwen2.5-coder-7b",
            Evidence.SYNTHETIC,
            parameters=7_615_616_512,
        ),
    )
}


def find_profile(name: str) -> Profile:
    """Return a profile by name.

    Raises:
        UsageError: No profile has that name; the message suggests the nearest one.
    """
    try:
        return PROFILES[name]
    except KeyError:
        raise UsageError(f"unknown profile {name!r}{suggest(name, PROFILES)}") from None


def choose(
    settings: Settings,
    *,
    profile: str | None = None,
    model: str | None = None,
    budget_gb: float | None = None,
) -> Profile:
    """Return the profile that the command line and the project's table ask for together.

    A model of one's own without a named profile becomes the profile `custom`: what is
    measured on it is `target` evidence, and no parameter count is expected.

    Raises:
        UsageError: Unknown profile, an empty model, or a budget that is not above 0.
    """
    base = find_profile(settings.profile if profile is None else profile)
    if model is None and profile is None:
        model = settings.model
    if model is not None and not model.strip():
        # Such as that of a variable which is not set: the default would be judged instead.
        raise UsageError("the model's name is empty", hint="leave --model out, or name one")
    if model is not None and model != base.model:
        if base.name == EMBEDDED:
            base = Profile("custom", model, model, Evidence.TARGET)
        base = dataclasses.replace(base, model=model)
        if model.startswith(SYNTHETIC_PREFIX):
            title = f"random 4-bit weights of the shapes of {model.removeprefix(SYNTHETIC_PREFIX)}"
            base = dataclasses.replace(
                base, title=title, evidence=Evidence.SYNTHETIC, parameters=None, sign_off=False
            )
    budget = budget_gb if budget_gb is not None else settings.budget_gb or base.budget_gb
    if not (math.isfinite(budget) and budget > 0):
        raise UsageError(f"budget {budget!r} GB: expected a number above 0")
    return dataclasses.replace(base, budget_gb=budget)
