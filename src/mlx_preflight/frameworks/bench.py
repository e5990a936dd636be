"""Test bench that runs a framework's tasks in its venv, each in a fresh process."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.core import child, child_run
from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.heartbeat import heartbeat
from mlx_preflight.frameworks.footprint import MemorySampler
from mlx_preflight.frameworks.framework import Plugin

SHOW_S = 2.0
"""Seconds between two readings of the recorded steps."""


@dataclass(frozen=True, slots=True)
class TaskRun:
    """Answer of one task, and its time and memory.

    Attributes:
        answer: What its file returned.
        steps: Lines of its recorder.
        peak_rss_bytes: Of its process tree.
        duration_s: Wall time of the process.
    """

    answer: dict[str, Any]
    steps: tuple[dict[str, Any], ...]
    peak_rss_bytes: int
    duration_s: float


class Bench:
    """Test bench of one framework."""

    def __init__(
        self,
        plugin: Plugin,
        python: Path,
        folder: Path,
        timeout_s: float,
        note: Callable[[str], None],
    ) -> None:
        """Empty the working folder and put this package, alone, on the children's path.

        Raises:
            ResultError: The folder cannot be written.
        """
        self._plugin, self._python, self._folder = plugin, python, folder
        self._timeout_s, self._note = timeout_s, note
        try:
            shutil.rmtree(folder, ignore_errors=True)
            source = folder / "path"
            source.mkdir(parents=True)
            # A link: the folder that holds the package may be a site-packages full of others.
            (source / "mlx_preflight").symlink_to(Path(__file__).parents[1])
        except OSError as error:
            raise ResultError(f"cannot write {folder}: {error.strerror or error}") from error
        self._source = source

    @property
    def name(self) -> str:
        """Return the framework's name."""
        return self._plugin.FRAMEWORK.name

    def run_dir(self, what: str) -> Path:
        """Return the working folder of one run, created if need be."""
        folder = self._folder / what
        folder.mkdir(exist_ok=True)
        return folder

    def time_import(self) -> float:
        """Return the seconds that importing the framework takes in a fresh process.

        Raises:
            ChildError: It cannot be imported.
        """
        code = (
            "import time; begin = time.perf_counter(); "
            f"import {self._plugin.FRAMEWORK.imports}; print('\\n', time.perf_counter() - begin)"
        )
        done = child.run_child(
            [str(self._python), "-c", code],
            cwd=self._folder,
            timeout_s=self._timeout_s,
            env=self._environment(),
        )
        if done.returncode != 0:
            raise child_run.no_answer(done)
        return float(done.stdout.split()[-1])

    def run(self, what: str, task: str, job: Mapping[str, Any]) -> TaskRun:
        """Run one task in its own folder and return what came of it.

        Raises:
            ChildError: It failed, hung or left no answer; the error holds its log.
        """
        folder = self.run_dir(what)
        steps, sampler = folder / "steps.jsonl", MemorySampler()
        request = {**job, "framework": self.name, "task": task, "steps_file": str(steps)}
        shown = 0

        def show() -> None:
            nonlocal shown
            lines = _lines(steps)
            if len(lines) > shown:
                shown, last = len(lines), lines[-1]
                loss = "not a number" if last["loss"] is None else f"{last['loss']:.4f}"
                self._note(f"{self.name}: {what}: step {last['step']}, loss {loss}")

        self._note(f"{self.name}: {what}")
        with heartbeat(SHOW_S, show):
            try:
                reply = child.call(
                    "mlx_preflight.frameworks.child",
                    {**request, "started": time.monotonic()},
                    timeout_s=self._timeout_s,
                    folder=folder,
                    python=str(self._python),
                    env=self._environment(),
                    on_start=sampler.begin,
                )
            finally:
                peak = sampler.end()
        return TaskRun(
            answer=reply.value,
            steps=tuple(_lines(steps)),
            peak_rss_bytes=peak,
            duration_s=reply.duration_s,
        )

    def _environment(self) -> dict[str, str]:
        environment = child.offline_environment({"PYTHONPATH": str(self._source)})
        # The venv's compiled code is used, and none is written beside this package's sources.
        environment.pop("PYTHONPYCACHEPREFIX", None)
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        environment["PATH"] = f"{self._python.parent}{os.pathsep}{environment.get('PATH', '')}"
        return environment


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the recorded steps; a line that is still being written is left out."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
