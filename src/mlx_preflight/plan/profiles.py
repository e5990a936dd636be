"""Profiles: a model, and what passing on it may claim.

Standard library only: the noxfile imports this before anything is installed.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlx_preflight.core import toml_table
from mlx_preflight.core.errors import UsageError
from mlx_preflight.core.result import Evidence


@dataclass(frozen=True, slots=True)
class Profile:
    """A model, and what passing on it may claim.

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
        raise UsageError(f"unknown profile {name!r}{toml_table.suggest(name, PROFILES)}") from None
