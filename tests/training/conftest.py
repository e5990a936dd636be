"""Training runs in empty folders: a config, a model and rows, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlx_preflight.core.result import Outcome, Status
from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from mlx_preflight.plan.options import TrainingRequest
from mlx_preflight.plan.register import find_session
from mlx_preflight.plan.settings import ProjectSettings
from mlx_preflight.run.context import Context
from mlx_preflight.run.session import run_session

ROW = {
    "messages": [
        {"role": "user", "content": "Write a function that adds two numbers."},
        {"role": "assistant", "content": "def add(a, b):\n    return a + b"},
    ]
}

CLEAN: dict[str, Any] = {
    "model": str(EMBEDDED_FOLDER),
    "train": True,
    "data": "data",
    "iters": 4,
    "batch_size": 2,
    "num_layers": 2,
    "max_seq_length": 128,
    "steps_per_eval": 2,
    "val_batches": 1,
}
"""Settings that train the embedded model."""

Write = Callable[..., Context]
Judge = Callable[[Context, str], dict[str, Outcome]]


@pytest.fixture
def write_run(tmp_path: Path) -> Write:
    """Return a function: changed settings, None removing one → the context of that run."""

    def write(
        *arguments: str,
        text: str | None = None,
        config: str = "lora_config.yaml",
        **changes: Any,
    ) -> Context:
        settings = {k: v for k, v in {**CLEAN, **changes}.items() if v is not None}
        (tmp_path / config).write_text(
            yaml.safe_dump(settings, sort_keys=False) if text is None else text
        )
        data = tmp_path / "data"
        data.mkdir(exist_ok=True)
        for name in ("train", "valid"):
            if not (data / f"{name}.jsonl").exists():
                rows = [json.dumps(_row(name, number)) for number in range(6)]
                (data / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
        request = TrainingRequest(("--config", config, *arguments))
        return Context.of(tmp_path, ProjectSettings(), training=request, note=lambda _: None)

    return write


def _row(name: str, number: int) -> dict[str, Any]:
    question, answer = ROW["messages"]
    return {
        "messages": [{**question, "content": f"{name} {number}: {question['content']}"}, answer]
    }


@pytest.fixture
def judge_run() -> Judge:
    """Return a function: context, session id → check id → its result."""

    def judge(context: Context, session: str) -> dict[str, Any]:
        finished = run_session(find_session(session)[0], context)
        return {check.id: check for check in finished.checks}

    return judge


def failed(checks: dict[str, Any]) -> set[str]:
    """Return the ids of the checks that did not pass."""
    return {name for name, check in checks.items() if check.status is not Status.PASS}
