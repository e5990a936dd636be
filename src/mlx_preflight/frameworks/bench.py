"""Run a framework's tasks in its venv, each in a fresh process, and watch them."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx_preflight
from mlx_preflight.errors import ChildError, ResultError
from mlx_preflight.frameworks.footprint import Watch
from mlx_preflight.frameworks.framework import Plugin
from mlx_preflight.isolate import child_environment, ending, run_child

SHOW_S = 2.0
"""Seconds between two looks for a new step to show."""

QUIET = {
    "AXOLOTL_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "WANDB_MODE": "disabled",
    "TOKENIZERS_PARALLELISM": "false",
}
"""No framework reaches a hub, and none reports a run."""


@dataclass(frozen=True, slots=True)
class Ran:
    """Hold what one task gave and took.

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
    """Run tasks of one framework."""

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
            (source / "mlx_preflight").symlink_to(Path(mlx_preflight.__file__).parent)
        except OSError as error:
            raise ResultError(f"cannot write {folder}: {error.strerror or error}") from error
        self._source = source

    @property
    def name(self) -> str:
        """Return the framework's name."""
        return self._plugin.FRAMEWORK.name

    def place(self, what: str) -> Path:
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
        done = self._child(["-c", code], self._folder)
        return float(done.stdout.split()[-1])

    def run(self, what: str, task: str, job: Mapping[str, Any]) -> Ran:
        """Run one task in its own folder and return what came of it.

        Raises:
            ChildError: It failed, hung or left no answer; the error holds its log.
        """
        folder = self.place(what)
        answer, steps, file = folder / "answer.json", folder / "steps.jsonl", folder / "job.json"
        whole = {**job, "answer": str(answer), "steps_file": str(steps)}
        file.write_text(json.dumps({**whole, "started": time.monotonic()}), encoding="utf-8")
        module = "mlx_preflight.frameworks.child"
        watch = Watch()
        with self._shown(what, steps):
            try:
                done = self._child(["-m", module, self.name, task, str(file)], folder, watch.begin)
            finally:
                peak = watch.end()
        if not answer.is_file():
            raise ChildError(f"{what} left no answer", log=ending(done.stdout, done.stderr))
        return Ran(
            answer=json.loads(answer.read_text(encoding="utf-8")),
            steps=tuple(_lines(steps)),
            peak_rss_bytes=peak,
            duration_s=done.duration_s,
        )

    def _child(self, arguments: list[str], cwd: Path, begun: Any = None) -> Any:
        environment = child_environment({**QUIET, "PYTHONPATH": str(self._source)})
        # The venv's compiled code is used, and none is written beside this package's sources.
        environment.pop("PYTHONPYCACHEPREFIX", None)
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        environment["PATH"] = f"{self._python.parent}{os.pathsep}{environment.get('PATH', '')}"
        done = run_child(
            [str(self._python), *arguments],
            cwd=cwd,
            timeout_s=self._timeout_s,
            env=environment,
            begun=begun,
        )
        if done.returncode != 0:
            log = ending(done.stdout, done.stderr)
            # The last line of a traceback is its cause; a signal's is not in what was printed.
            why = f"exit code {done.returncode}: {log.splitlines()[-1] if log else 'no output'}"
            raise ChildError(done.death() or why, log=log)
        return done

    @contextmanager
    def _shown(self, what: str, steps: Path) -> Iterator[None]:
        """Show each new step while a task runs."""
        ended = threading.Event()

        def show() -> None:
            shown = 0
            while not ended.wait(SHOW_S):
                lines = _lines(steps)
                if len(lines) > shown:
                    shown, last = len(lines), lines[-1]
                    loss = "not a number" if last["loss"] is None else f"{last['loss']:.4f}"
                    self._note(f"{self.name}: {what}: step {last['step']}, loss {loss}")

        self._note(f"{self.name}: {what}")
        thread = threading.Thread(target=show, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the recorded steps; a line that is still being written is left out."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
