"""Context of one run, and how the command line and the project choose it.

Standard library only: the noxfile imports this before anything is installed.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from mlx_preflight.core import judged_environment
from mlx_preflight.core.errors import ResultError, UsageError
from mlx_preflight.core.judged_environment import Environment
from mlx_preflight.core.result import Evidence
from mlx_preflight.core.units import GIGA
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.plan.options import MOST_GB, FinishRequest, RunOptions, TrainingRequest
from mlx_preflight.plan.profiles import EMBEDDED, SYNTHETIC_PREFIX, Profile, find_profile
from mlx_preflight.plan.settings import ProjectSettings

RUN_ID_VARIABLE = "PREFLIGHT_RUN_ID"


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that a check may read.

    Attributes:
        project: Root of the project that is judged.
        state: Its `.preflight` folder.
        model: Folder or hub id to load; `models.locate` resolves `embedded`.
        evidence: Tier of what is measured on that model.
        budget_bytes: Memory budget.
        python: Interpreter of the environment that is judged; the harness may have another.
        note: Shows progress to the user; called with one line.
        training: Training run to judge; None where the project has none.
        finish: Adapter to judge; None without one.
        shared: What the sessions of one command have found already, by what it depends on.
    """

    project: Path
    state: Path
    run_id: str
    profile: Profile
    settings: ProjectSettings
    model: str
    evidence: Evidence
    budget_bytes: int
    note: Callable[[str], None] = print
    python: Path = Path(sys.executable)
    training: TrainingRequest | None = None
    finish: FinishRequest | None = None
    shared: dict[object, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        project: Path,
        settings: ProjectSettings,
        profile: Profile | None = None,
        *,
        run_id: str = "",
        workspace: Workspace | None = None,
        python: Path = Path(sys.executable),
        note: Callable[[str], None] = print,
        training: TrainingRequest | None = None,
        finish: FinishRequest | None = None,
    ) -> Self:
        """Build the context in which a project is judged.

        Args:
            project: Its root, resolved.
            settings: Its table.
            profile: What it is judged with; None takes the table's.
            run_id: Run that the results belong to; empty takes the environment's, or a new one.
            workspace: Where the results go; None takes the project's.
            python: Interpreter of the environment that is judged.
            note: Shows progress to the user; called with one line.
            training: Training run to judge; None where the project has none.
            finish: Adapter to judge; None without one.
        """
        chosen = profile or choose(settings)
        return cls(
            project=project,
            state=(workspace or Workspace.of(project)).folder,
            run_id=run_id or new_run_id(),
            profile=chosen,
            settings=settings,
            model=chosen.model,
            evidence=chosen.evidence,
            budget_bytes=int(chosen.budget_gb * GIGA),
            note=note,
            python=python,
            training=training,
            finish=finish,
        )

    @property
    def environment(self) -> Environment:
        """Return what is installed for the interpreter that is judged.

        Raises:
            ChildError: It gives no usable answer.
        """
        return judged_environment.inspect(self.python)

    @property
    def results(self) -> Path:
        """Return the folder of the result files."""
        return Workspace(self.state).results

    def scratch(self, session_id: str) -> Path:
        """Return a session's own folder for what it produces, created if need be."""
        folder = Workspace(self.state).require_own().artifacts(session_id)
        if folder.is_symlink():
            raise ResultError(f"{folder} is a link", hint="replace it by a folder")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResultError(
                f"cannot create {folder}: {error.strerror or error}",
                hint="free disk space or make the folder writable",
            ) from error
        return folder


def new_run_id(*, inherit: bool = True) -> str:
    """Return the run id of the environment, or a new one: UTC time and four random bytes."""
    given = os.environ.get(RUN_ID_VARIABLE, "") if inherit else ""
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    return given or f"{stamp}-{secrets.token_hex(4)}"


def training_request(settings: ProjectSettings, options: RunOptions) -> TrainingRequest | None:
    """Return the training run that the command line or the project's table names."""
    config = options.config or settings.run
    if config is None:
        return None
    asked = options.budget_gb if options.budget_gb is not None else settings.budget_gb
    return TrainingRequest(("--config", config), None if asked is None else int(asked * GIGA))


def choose(
    settings: ProjectSettings,
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
    if not 0 < budget < MOST_GB:  # (refuses NaN as well)
        raise UsageError(f"budget {budget!r} GB: expected a number above 0 and below a million")
    return dataclasses.replace(base, budget_gb=budget)
