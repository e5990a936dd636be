"""What is planted: a sample, the steps that change it, and the check that must name the change."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlx_preflight.core.result import Status
from mlx_preflight.plan.options import FinishRequest, TrainingRequest
from mlx_preflight.plan.profiles import EMBEDDED, find_profile
from mlx_preflight.plan.settings import ProjectSettings
from mlx_preflight.run.context import Context

RUN_ID = "faults"

Step = Callable[["Sample"], None]
"""Builder: it changes a sample, and several make a case."""

Change = Callable[[Any], Any]
"""What makes other facts of a session's facts."""

CONFIG = "lora_config.yaml"

ALL = "*"
"""Stands for every other check of a session."""


@dataclass
class Sample:
    """Project in a folder of its own, and how it is judged.

    Attributes:
        folder: Its root.
        kept: Folder of what costs time to make and no case changes: venvs, trained adapters.
        settings: Fields of its table that are not the default.
        model: Folder or hub id; `profile` names the profile.
        budget_bytes: Memory budget; None takes the profile's.
        training: Arguments of mlx_lm.lora; None where nothing is trained.
        launch: Words of mlx.launch in front of them.
        finish: Adapter to judge, as fields of `FinishRequest`.
        python: Interpreter of the environment that is judged.
        environment: Variables that the session and its children see.
        changes: What is done to the facts that were gathered, in this order.
        facts: Makes the facts, where gathering them is not what is judged.
        replaced: Attributes of modules that differ while the case runs.
    """

    folder: Path
    kept: Path
    settings: dict[str, Any] = field(default_factory=dict)
    model: str = EMBEDDED
    profile: str = EMBEDDED
    budget_bytes: int | None = None
    training: tuple[str, ...] | None = None
    launch: tuple[str, ...] = ()
    finish: dict[str, str] = field(default_factory=dict)
    python: Path = Path(sys.executable)
    environment: dict[str, str] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    facts: Callable[[], Any] | None = None
    replaced: list[tuple[Any, str, Any]] = field(default_factory=list)

    def path(self, name: str) -> Path:
        """Return a path in the project, its folder made."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def context(self) -> Context:
        """Return the context in which the sample is judged."""
        asked = None
        if self.training is not None:
            asked = TrainingRequest(self.training, self.budget_bytes, self.launch)
        profile = dataclasses.replace(find_profile(self.profile), model=self.model)
        made = Context.of(
            self.folder,
            ProjectSettings(**self.settings),
            profile,
            run_id=RUN_ID,
            python=self.python,
            note=lambda _: None,
            training=asked,
            finish=FinishRequest(**self.finish) if self.finish else None,
        )
        budget = made.budget_bytes if self.budget_bytes is None else self.budget_bytes
        return dataclasses.replace(made, budget_bytes=budget)


@dataclass(frozen=True)
class Case:
    """One defect, or one clean neighbour.

    Attributes:
        session: Session that is run.
        name: What was planted, in words.
        base: Builders of the clean sample.
        steps: Builders of the change.
        check: Check that must end in `status`; empty for a clean neighbour.
        status: How it must end.
        along: Other checks of the session that turn red with it, as its consequences; `ALL` are
            all of them.
        blocks: Whether every other check may end BLOCKED.
        near: Checks whose subject a clean neighbour varies; empty for all of its session.
        answer: Whether what a tool, a child or the machine answered was changed, and not the
            input: no battery and no dying child can be had at will.
        shared: Whether what costs time is measured once per process, on the base: the steps
            change or read again the rest. An answer that is changed needs no other.
    """

    session: str
    name: str
    base: tuple[Step, ...] = ()
    steps: tuple[Step, ...] = ()
    check: str = ""
    status: Status = Status.FAIL
    along: frozenset[str] = frozenset()
    blocks: bool = False
    near: frozenset[str] = frozenset()
    answer: bool = False
    shared: bool = False

    @property
    def id(self) -> str:
        """Return the case's id: session and name."""
        return f"{self.session}: {self.name}"


@dataclass(frozen=True)
class Kit:
    """Makers of a session's cases, on one base.

    Attributes:
        session: Its id.
        base: Builders of the clean sample.
    """

    session: str
    base: tuple[Step, ...]

    def defect(self, check: str, name: str, *steps: Step, **options: Any) -> Case:
        """Return a case whose check must turn red.

        Args:
            check: Its id.
            name: What is planted.
            steps: What plants it.
            options: Further fields; `along` may be any collection of ids.
        """
        along = frozenset(options.pop("along", ()))
        return Case(self.session, name, self.base, steps, check, along=along, **options)

    def clean(self, name: str, *steps: Step, near: str | tuple[str, ...] = (), **more: Any) -> Case:
        """Return a case in which every check must pass; `near` names those it comes close to."""
        ids = frozenset((near,) if isinstance(near, str) else near)
        return Case(self.session, name, self.base, steps, near=ids, **more)
