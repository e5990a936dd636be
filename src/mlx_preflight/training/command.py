"""The command of a training run: what somebody typed, and what starts it."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlx_preflight.core.errors import PreflightError, UsageError
from mlx_preflight.memory import methods
from mlx_preflight.models import catalog
from mlx_preflight.plan.options import TrainingRequest
from mlx_preflight.plan.profiles import EMBEDDED as EMBEDDED_MODEL
from mlx_preflight.run.context import Context
from mlx_preflight.training.training_run import read_run

PROGRAMS = (("mlx_lm.lora",), ("mlx_lm", "lora"), ("-m", "mlx_lm.lora"), ("-m", "mlx_lm", "lora"))
"""Ways to start the trainer (mlx-lm 0.32), less the interpreter."""

EMBEDDED = (
    *("--train", "--iters", "50", "--batch-size", "4", "--num-layers", "-1"),
    *("--max-seq-length", "256", "--learning-rate", "1e-4"),
)
"""The run that is judged where none is named; it takes seconds on two cores."""


LAUNCHER = "mlx.launch"


def request_of(
    typed: Sequence[str],
    budget_bytes: int | None,
    *,
    ranks: int | None = None,
    hostfile: Path | None = None,
) -> TrainingRequest:
    """Return the training run that somebody means, one process of it or several.

    Args:
        typed: As of `arguments_of`, or a command of mlx.launch that starts the trainer.
        budget_bytes: Memory that was asked to suffice.
        ranks: Processes on this machine; None where that was not asked.
        hostfile: Hosts of mlx.launch; None likewise.

    Raises:
        UsageError: mlx.launch refuses its arguments, or the processes are named twice.
    """
    launched = bool(typed) and Path(typed[0]).name == LAUNCHER
    asked = [*(["-n", str(ranks)] if ranks else []), *_hosts(hostfile)]
    if (launched and asked) or (ranks and hostfile):
        raise UsageError(
            "the processes are named twice",
            hint="name them with --ranks, with --hostfile, or with mlx.launch",
        )
    if asked:
        typed = (LAUNCHER, *asked, "mlx_lm.lora", *arguments_of(typed))
    elif not launched:
        return TrainingRequest(arguments_of(typed), budget_bytes)
    from mlx_preflight.runtime import launcher  # noqa: PLC0415  (it imports mlx)

    words = launcher.read(typed[1:]).words
    return TrainingRequest(arguments_of(words), budget_bytes, tuple(_with_folders(typed)))


def _hosts(hostfile: Path | None) -> list[str]:
    if hostfile is None:
        return []
    if not hostfile.is_file():
        there = "not a file" if hostfile.exists() else "no such file"
        raise UsageError(f"{hostfile}: {there}", hint="name a hostfile of mlx.launch")
    return ["--hostfile", str(hostfile)]


def arguments_of(typed: Sequence[str]) -> tuple[str, ...]:
    """Return the arguments of `mlx_lm.lora` that somebody means.

    Args:
        typed: A config, options of the trainer, its complete command, or nothing, which is the
            embedded model on the embedded rows.

    Raises:
        UsageError: The command is that of another program, or names a method of another trainer.
    """
    methods.refuse_command(typed)
    words = [*_with_folders(typed)]
    if words and Path(words[0]).name.startswith(("python", "mlx_lm")):
        # A program may be named with its folder; an interpreter is followed by its module.
        words[:1] = [Path(words[0]).name] if words[0].endswith(("mlx_lm", "mlx_lm.lora")) else []
    for program in PROGRAMS:
        if words[: len(program)] == list(program):
            return tuple(words[len(program) :])
    if not words:
        rows = ("--model", str(catalog.EMBEDDED_FOLDER), "--data", str(catalog.EMBEDDED_ROWS))
        return (*rows, *EMBEDDED)
    if not words[0].startswith("-"):
        _require_config(words[0])
        return ("--config", *words)
    # Options alone name a run that is meant to train; a config says itself what it does.
    named = {word.partition("=")[0] for word in words}
    says = named & {"-c", "--config", "--train", "--test"}
    return tuple(words) if says else (*words, "--train")


def _require_config(word: str) -> None:
    """Refuse a program, such as `ls`, which would be taken for a config otherwise."""
    is_yaml = Path(word).suffix in {".yaml", ".yml"}
    if not is_yaml and not Path(word).exists() and shutil.which(word):
        raise UsageError(
            f"{word}: a program, and neither mlx_lm.lora nor a config of it",
            hint="`mlx-preflight qualify -- mlx_lm.lora -c lora_config.yaml --train`",
        )


def _with_folders(typed: Sequence[str]) -> Iterator[str]:
    """Yield the words, with the folder of the embedded model where mlx_lm would need it."""
    for before, word in zip(("", *typed), typed, strict=False):
        known = word == EMBEDDED_MODEL and before == "--model"
        yield str(catalog.EMBEDDED_FOLDER) if known else word


def command_line(arguments: Sequence[str], context: Context) -> str:
    """Return the command that starts the run.

    Args:
        arguments: Those of `mlx_lm.lora`.
        context: Context in which the run was judged.
    """
    with contextlib.suppress(PreflightError):  # one that cannot be read is started by nobody
        run = read_run(context)
        if run.foreign and run.config is not None:
            return shlex.join(["axolotl", "train", os.path.relpath(run.config, run.folder)])
    if context.training is not None and context.training.launch:
        return shlex.join(context.training.launch)
    # Sleep pauses a run on a Mac; the display may sleep (`-d` would have steps killed, mlx#3267).
    awake = ("caffeinate", "-is") if sys.platform == "darwin" else ()
    return shlex.join([*awake, "mlx_lm.lora", *arguments])
