"""One checkout that `unchanged.py` and `side_by_side.py` drive through its entry point alone."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROBE = Path(__file__).with_name("unchanged_probe.py")


@dataclass(frozen=True, slots=True)
class Checkout:
    """One checkout and the interpreter whose venv has what it needs.

    Attributes:
        root: Its root.
        python: Interpreter.
    """

    root: Path
    python: Path

    def ask(self, question: str, given: object = None, cwd: Path | None = None) -> Any:
        """Ask a child of this checkout one question of `unchanged_probe`."""
        done = subprocess.run(
            [str(self.python), "-P", str(PROBE), question],
            cwd=cwd or self.root,
            env=self.env(),
            input=json.dumps(given),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        answer = json.loads(done.stdout.splitlines()[-1])
        if not Path(answer["package"]).is_relative_to(self.root):
            raise SystemExit(f"{answer['package']} answered for {self.root}")
        return answer["answer"]

    def env(self) -> dict[str, str]:
        """Return an environment in which this checkout is imported and a terminal is plain."""
        path = f"{self.python.parent}{os.pathsep}{os.environ['PATH']}"
        source = {"PYTHONPATH": str(self.root / "src"), "PATH": path, "HF_HUB_OFFLINE": "1"}
        # A checkout whose bytecode is there already would be quicker than one that may write none.
        bytecode = {"PYTHONDONTWRITEBYTECODE": ""}
        plain = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
        return {**os.environ, **source, **bytecode, **plain}

    def run(self, lines: Iterable[str], cwd: Path, jobs: int = 1) -> dict[str, dict[str, Any]]:
        """Run command lines in their order in a folder; each by its words.

        Args:
            lines: Arguments of the command, split at blanks.
            cwd: Where they run.
            jobs: Processes that share them.
        """
        work = [{"argv": line.split(), "cwd": str(cwd)} for line in lines]
        found: dict[str, dict[str, Any]] = {}
        with ThreadPoolExecutor(jobs) as pool:
            shares = [work[index::jobs] for index in range(jobs)]
            answers = pool.map(lambda share: self.ask("calls", share), shares)
            for share, done in zip(shares, answers, strict=True):
                for job, result in zip(share, done, strict=True):
                    text = result["stdout"].replace(str(cwd), "FOLDER")
                    found[" ".join(job["argv"])] = {"exit": result["exit"], "stdout": text}
        return found
