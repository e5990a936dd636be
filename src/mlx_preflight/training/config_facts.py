"""Facts of a training configuration, and what the installed mlx-lm makes of it; it imports mlx."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mlx_preflight.core.errors import BlockedError, CheckpointError, PreflightError
from mlx_preflight.core.text import one_line
from mlx_preflight.memory import methods
from mlx_preflight.models import catalog
from mlx_preflight.plan import register
from mlx_preflight.run.context import Context
from mlx_preflight.runtime import lora_settings
from mlx_preflight.training import adapters, config_values, resume
from mlx_preflight.training.config_values import Problem
from mlx_preflight.training.training_run import CONFIG, TrainingRun, read_run
from mlx_preflight.training.unread import unread_keys

if TYPE_CHECKING:
    from mlx_preflight.memory.adapters import Adapters


@dataclass(frozen=True, slots=True)
class ConfigFacts:
    """Facts of the configuration.

    Attributes:
        run: The settings, or why they cannot be read.
        unread: Keys that mlx-lm never reads.
        wrong: Values of a wrong type or out of range.
        contradictions: Settings that contradict each other or have no effect.
        adapters: What is trained, or why nothing can be.
        optimizer: Why optimizer or schedule cannot be made or used, or an empty text.
        resume: Why the resumed adapters do not fit; None where nothing is resumed.
        saved: Files of an earlier run that would be overwritten.
        reporters: Services that mlx-lm can report to.
    """

    run: TrainingRun | PreflightError
    unread: tuple[Problem, ...] = ()
    wrong: tuple[Problem, ...] = ()
    contradictions: tuple[Problem, ...] = ()
    adapters: Adapters | PreflightError | None = None
    optimizer: str | PreflightError = ""
    resume: tuple[str, ...] | PreflightError | None = None
    saved: tuple[str, ...] | PreflightError = ()
    reporters: frozenset[str] = field(default_factory=frozenset)

    @property
    def model(self) -> dict[str, str]:
        """Return what the result says that it is about."""
        if isinstance(self.run, PreflightError):
            return {}
        values = self.run.settings
        data = values["data"] if not values.get("hf_dataset") else "hf_dataset"
        own = {
            str(catalog.EMBEDDED_FOLDER): "the embedded model",
            str(catalog.EMBEDDED_ROWS): "the embedded rows",
        }
        model, rows = (own.get(str(name), str(name)) for name in (values["model"], data))
        return {"training_run": one_line(f"{model} on {rows}")}

    def settings(self) -> TrainingRun:
        """Return the run, or block what cannot be judged without it."""
        if isinstance(self.run, PreflightError):
            hint = self.run.hint or f"see {register.RUN1_1}"
            raise BlockedError(f"{register.RUN1_1}: {self.run}", hint=hint)
        return self.run

    def usable(self) -> TrainingRun:
        """Return the run, or block what cannot be judged with values of a wrong type."""
        run = self.settings()
        if self.wrong:
            text = f"{register.RUN1_3} fails: {self.wrong[0][0]}: {self.wrong[0][1]}"
            raise BlockedError(text, hint=f"see {register.RUN1_3}")
        return run


def read(context: Context) -> ConfigFacts:
    """Read the configuration, and ask the installed mlx-lm about it."""
    try:
        run = read_run(context)
    except CheckpointError as error:
        return ConfigFacts(error)
    foreign = methods.named(run.settings)
    wrong = [*foreign.items()]
    wrong += [
        (name, text)
        for name, origin in run.origins.items()
        if origin == CONFIG and name in run.known and name not in foreign
        if (text := lora_settings.refusal(name, run.settings[name]))
    ]
    wrong += _more_wrong(run, {name for name, _ in wrong})
    facts = ConfigFacts(
        run,
        unread=tuple(unread_keys(run, lora_settings.nested_keys())),
        wrong=tuple(wrong),
        saved=_attempt(lambda: tuple(resume.saved_adapters(run))),
        reporters=lora_settings.reporters(),
    )
    if wrong:
        return facts
    trained = _attempt(lambda: adapters.of_run(run)) if run.settings["train"] else None
    updates = max(config_values.updates(run.settings), 1)
    return replace(
        facts,
        contradictions=tuple(config_values.contradictions(run)),
        adapters=trained,
        optimizer=_attempt(lambda: lora_settings.optimizer_problem(run.settings, updates)),
        resume=_resumed(run, trained),
    )


def usable_run(context: Context) -> TrainingRun:
    """Return a run whose settings other sessions can compute with.

    Raises:
        BlockedError: The configuration cannot be read, or a value is of a wrong type.
        UsageError: No run is named.
    """
    return read(context).usable()


def _attempt(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except PreflightError as error:
        return error


def _more_wrong(run: TrainingRun, known: set[str]) -> list[Problem]:
    """Return values out of range, and mappings that are none."""
    found = [item for item in config_values.out_of_range(run.settings) if item[0] not in known]
    settings = run.settings
    if settings["fine_tune_type"] != "full":
        found += config_values.lora_values(settings["lora_parameters"])
    for name in ("optimizer_config", "lr_schedule"):
        value = settings[name]
        if value is not None and not isinstance(value, dict):
            found.append((name, f"{value!r}; expected a mapping"))
    return found


def _resumed(run: TrainingRun, trained: object) -> tuple[str, ...] | PreflightError | None:
    if not run.settings["resume_adapter_file"]:
        return None
    if isinstance(trained, PreflightError):
        return BlockedError(f"{register.RUN1_6}: {trained}")
    shapes = getattr(trained, "shapes", {})
    found: tuple[str, ...] | PreflightError = _attempt(lambda: tuple(resume.problems(run, shapes)))
    return found
