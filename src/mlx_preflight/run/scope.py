"""What a verdict says something about: a model or none, and the commit of the project."""

from __future__ import annotations

from collections.abc import Sequence

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.result import Evidence, SessionResult
from mlx_preflight.core.units import format_parameters
from mlx_preflight.plan import register
from mlx_preflight.plan.profiles import PROFILES, Profile
from mlx_preflight.plan.spec import Session
from mlx_preflight.run import tree


def holds_for(
    profile: Profile,
    found: Sequence[tuple[Session, SessionResult | ResultError | None]],
    run_id: str,
    parameters: int | None,
) -> str:
    """Return what a verdict holds for, and what not, as a part of a sentence.

    Args:
        profile: Profile of the run.
        found: Planned sessions with what is there of each.
        run_id: Only results of this run count.
        parameters: Size of the model, or None when no session counted.
    """
    mine = [
        (session, item)
        for session, item in found
        if isinstance(item, SessionResult) and item.run_id == run_id
    ]
    models = any(session.runs_model for session, _ in found)
    about = of_model(profile, parameters) if models else _training_run([i for _, i in mine])
    commit = tree.describe(item.git for session, item in mine if register.needs_project(session))
    return "; ".join(filter(None, (about or "this repository; no model was run", commit)))


def machine(found: SessionResult) -> str:
    """Return the kind of machine and the Python that made a result; empty where it lacks one."""
    kind = [found.environment.get(key) for key in ("system", "machine")]
    version = str(found.environment.get("python") or "").rpartition(".")[0]
    return f"{'/'.join(map(str, kind))} with Python {version}" if all(kind) and version else ""


def of_model(profile: Profile, parameters: int | None) -> str:
    """Return which model a verdict says something about, and which not."""
    size = "" if parameters is None else f"{format_parameters(parameters)} parameters"
    if profile.evidence is Evidence.EMBEDDED:
        others = [item.title for item in PROFILES.values() if item.evidence is Evidence.TARGET]
        return (
            f"{profile.title} that ships in the package{f' ({size})' if size else ''}; it says "
            f"nothing about {' or '.join([*others, 'any other model'])}"
        )
    if profile.evidence is Evidence.SYNTHETIC:
        return f"{profile.title}{f' ({size})' if size else ''}; it says nothing about any answer"
    about = ", ".join(filter(None, (profile.model if profile.model != profile.title else "", size)))
    return f"{profile.title}{f' ({about})' if about else ''} and no other model"


def _training_run(mine: Sequence[SessionResult]) -> str:
    """Return the training run that was judged, as its sessions name it, or an empty text."""
    named = (item.model.get("training_run") for item in mine)
    return next((f"the training run of {text}" for text in named if isinstance(text, str)), "")
