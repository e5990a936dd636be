"""Session run1-config: the configuration of a training run says what is meant."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_preflight.core.diagnostic import Diagnostic
from mlx_preflight.core.errors import CheckpointError, PreflightError
from mlx_preflight.core.result import Evidence, Measurement, Outcome, Status
from mlx_preflight.core.text import join_findings, one_line
from mlx_preflight.core.units import format_bytes
from mlx_preflight.models import hub_cache
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context
from mlx_preflight.training import config_values
from mlx_preflight.training.adapters import AdapterError
from mlx_preflight.training.config_values import Problem
from mlx_preflight.training.training_run import DEFAULT, TrainingRun

if TYPE_CHECKING:
    from mlx_preflight.memory.adapters import Adapters
    from mlx_preflight.training.config_facts import ConfigFacts

SHOWN = 4
"""Problems that a reason names; the diagnostics hold all."""


def gather(_: Session, context: Context) -> ConfigFacts:
    """Read the configuration, and ask the installed mlx-lm about it."""
    from mlx_preflight.training import config_facts  # noqa: PLC0415  (it imports mlx_lm)

    return config_facts.read(context)


def run1_1(facts: ConfigFacts) -> Outcome:
    """Judge that the file is YAML of one mapping, and the command one of mlx_lm.lora."""
    if isinstance(facts.run, PreflightError):
        return Outcome(Status.FAIL, str(facts.run), remedy=facts.run.hint)
    run = facts.run
    if run.repeated:
        return _failed(run, [(name, "there twice: the last one counts") for name in run.repeated])
    place = "the command line" if run.config is None else run.config.name
    given = [name for name, origin in run.origins.items() if origin != DEFAULT]
    return Outcome(Status.PASS, f"{len(given)} settings from {place}, the rest by default")


def run1_2(facts: ConfigFacts) -> Outcome:
    """Judge that no key is ignored."""
    run = facts.settings()
    if facts.unread:
        return _failed(run, facts.unread, "rename or remove them")
    return Outcome(Status.PASS, f"mlx-lm reads every key; it knows {len(run.known)}")


def run1_3(facts: ConfigFacts) -> Outcome:
    """Judge types and ranges by mlx-lm's parser and the trainer's arithmetic."""
    run = facts.settings()
    if facts.wrong:
        return _failed(run, facts.wrong)
    return Outcome(Status.PASS, f"{len(run.settings)} values are of their type and in range")


def run1_4(facts: ConfigFacts) -> Outcome:
    """Judge that no setting contradicts another or has no effect."""
    run = facts.usable()
    if facts.contradictions:
        return _failed(run, facts.contradictions)
    settings = run.settings
    iters, every = int(settings["iters"]), int(settings["save_every"])
    counts = {
        "iterations": iters,
        "updates": config_values.updates(settings),
        "validations": config_values.validations(settings),
        "saves": iters // every + 1,
    }
    words = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    measured = tuple(Measurement(name, count, "count") for name, count in counts.items())
    return Outcome(Status.PASS, words, measurements=measured)


def run1_5(facts: ConfigFacts) -> Outcome:
    """Judge that neither model nor data is a default of mlx-lm's that nobody asked for."""
    run = facts.settings()
    wrong = [
        (name, f"not named: the default {run.settings[name]} would be used")
        for name in ("model", "data")
        if run.origins[name] == DEFAULT and not (name == "data" and run.settings.get("hf_dataset"))
    ]
    for name in ("model", "data"):
        value = str(run.settings[name])
        asked = run.origins[name] != DEFAULT
        if asked and not run.path(name).exists() and not hub_cache.is_hub_id(value):
            wrong.append((name, f"{value}: no such folder, and no hub id"))
    if wrong:
        return _failed(run, wrong)
    data = run.settings.get("hf_dataset") or run.settings["data"]
    names = data if isinstance(data, str) else "hf_dataset"
    return Outcome(Status.PASS, f"model {run.settings['model']}, data {names}")


def run1_6(facts: ConfigFacts) -> Outcome:
    """Judge that mlx-lm can make the adapters, and that they hold parameters."""
    run = facts.usable()
    found = facts.adapters
    if isinstance(found, AdapterError):
        return Outcome(Status.FAIL, str(found), remedy=found.hint)
    if isinstance(found, PreflightError):
        raise found
    if found is None:
        return Outcome(Status.PASS, "train is not set: nothing is trained")
    problem = _untrained(run, found)
    if problem:
        return Outcome(Status.FAIL, problem)
    lora = run.settings["lora_parameters"] if run.settings["fine_tune_type"] != "full" else None
    shape = f"rank {lora['rank']}, scale {lora['scale']}, " if lora else ""
    layers = run.settings["num_layers"]
    blocks = found.layers if layers <= 0 else layers
    return Outcome(
        Status.PASS,
        f"{run.settings['fine_tune_type']}, {shape}{blocks} of {found.layers} blocks: "
        f"{found.line}; {format_bytes(found.nbytes)} for each file",
        Evidence.STATIC,
        (
            Measurement("trainable_parameters", found.trainable_parameters, "count"),
            Measurement("total_parameters", found.total_parameters, "count"),
            Measurement("adapter_file_bytes", found.nbytes, "bytes"),
        ),
    )


def _untrained(run: TrainingRun, found: Adapters) -> str:
    """Return why nothing that matters is trained, or nothing."""
    if not found.trainable_parameters:
        keys = run.settings["lora_parameters"].get("keys")
        return (
            f"nothing is trained: keys {keys} name no module of a block; paths inside a block, "
            "such as self_attn.q_proj, do"
        )
    if not found.trains_matrices:
        return (
            f"only {found.trainable_parameters:,} numbers of norms and biases are trained: the "
            "weights are quantized, and fine_tune_type full cannot change them"
        )
    return ""


def run1_7(facts: ConfigFacts) -> Outcome:
    """Judge that optimizer and schedule can be made, by making them."""
    run = facts.usable()
    name = run.settings["optimizer"]
    if facts.optimizer:
        text = str(facts.optimizer)
        place = "lr_schedule" if run.settings["lr_schedule"] else "optimizer_config"
        return _failed(run, [(place, text)])
    schedule = run.settings["lr_schedule"]
    rate = f"schedule {schedule['name']}" if schedule else f"rate {run.settings['learning_rate']}"
    return Outcome(Status.PASS, f"{name} with {rate}")


def run1_8(facts: ConfigFacts) -> Outcome:
    """Judge that every array of the resumed file is one that is trained."""
    run = facts.usable()
    found = facts.resume
    if found is None:
        return Outcome(Status.PASS, "nothing is resumed")
    if isinstance(found, CheckpointError):
        return _failed(run, [("resume_adapter_file", str(found))])
    if isinstance(found, PreflightError):
        raise found
    if found:
        return _failed(run, [("resume_adapter_file", text) for text in found])
    text = "the adapters fit; optimizer state, step count and random state start anew"
    return Outcome(Status.PASS, text)


def run1_9(facts: ConfigFacts) -> Outcome:
    """Judge that the adapter folder holds no adapters."""
    run = facts.settings()
    if isinstance(facts.saved, PreflightError):
        raise facts.saved
    folder = run.settings["adapter_path"]
    if facts.saved and run.settings["train"]:
        names = ", ".join(facts.saved[:2])
        return _failed(run, [("adapter_path", f"{folder} holds {names}, which is overwritten")])
    return Outcome(Status.PASS, f"{folder} holds no adapters")


def run1_10(facts: ConfigFacts) -> Outcome:
    """Judge that the services that the run reports to exist and are installed."""
    run = facts.usable()
    text = run.settings["report_to"] or ""
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    wrong = [
        ("report_to", f"{name}: mlx-lm reports to {', '.join(sorted(facts.reporters))}")
        for name in names
        if name not in facts.reporters
    ]
    wrong += [
        ("report_to", f"{name} is not installed: ImportError before the model is loaded")
        for name in names
        if name in facts.reporters and importlib.util.find_spec(name) is None
    ]
    if wrong:
        return _failed(run, wrong, f"`pip install {' '.join(names)}`, or remove report_to")
    return Outcome(Status.PASS, f"reports to {', '.join(names)}" if names else "reports nowhere")


def _failed(run: TrainingRun, problems: Sequence[Problem], remedy: str = "") -> Outcome:
    """Return a failure that names every key, with its line where the config has it."""
    return Outcome(
        Status.FAIL,
        join_findings([one_line(f"{name}: {text}") for name, text in problems], SHOWN),
        remedy=remedy,
        diagnostics=tuple(_diagnostic(run, name, text) for name, text in problems),
    )


def _diagnostic(run: TrainingRun, name: str, text: str) -> Diagnostic:
    line = run.lines.get(name.partition(".")[0], 0)
    path = ""
    if line and run.config is not None:
        inside = run.config.is_relative_to(run.folder)
        path = (run.config.relative_to(run.folder) if inside else Path(run.config.name)).as_posix()
    return Diagnostic("mlx-lm", name, one_line(text), path, line)


CHECKS: dict[str, Callable[[ConfigFacts], Outcome]] = {
    register.RUN1_1: run1_1,
    register.RUN1_2: run1_2,
    register.RUN1_3: run1_3,
    register.RUN1_4: run1_4,
    register.RUN1_5: run1_5,
    register.RUN1_6: run1_6,
    register.RUN1_7: run1_7,
    register.RUN1_8: run1_8,
    register.RUN1_9: run1_9,
    register.RUN1_10: run1_10,
}
