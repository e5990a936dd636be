"""Makers of training rows, data folders and runs for the tests of `training`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_preflight.models import catalog
from mlx_preflight.plan.options import TrainingRequest
from mlx_preflight.plan.settings import ProjectSettings
from mlx_preflight.run.context import Context
from mlx_preflight.selftest.injection.training_rows import chat, chats, lines, text

MODEL = catalog.EMBEDDED_FOLDER

__all__ = ["MODEL", "chat", "chats", "context", "folder", "lines", "model", "of_arguments", "text"]


def folder(path: Path, files: Mapping[str, Sequence[Any] | str | bytes]) -> Path:
    """Write a data folder: split → rows, text or bytes."""
    path.mkdir(parents=True, exist_ok=True)
    for split, content in files.items():
        target = path / f"{split}.jsonl"
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            target.write_text(content if isinstance(content, str) else lines(content), "utf-8")
    return path


def context(project: Path, data: Path, *arguments: str, model: Path = MODEL) -> Context:
    """Return the context of a run that trains on a data folder."""
    return of_arguments(project, "--model", str(model), "--data", str(data), "--train", *arguments)


def of_arguments(project: Path, *arguments: str) -> Context:
    """Return the context of a run of these arguments."""
    request = TrainingRequest(arguments)
    return Context.of(project, ProjectSettings(), note=lambda _line: None, training=request)


def model(
    path: Path, template: str | None, tokenizer: Mapping[str, Any], config: Mapping[str, Any]
) -> Path:
    """Write the embedded model with another template, or none, and other keys of its configs."""
    path.mkdir(parents=True, exist_ok=True)
    changed = {"tokenizer_config.json": tokenizer, "config.json": config}
    for source in MODEL.iterdir():
        if source.name not in changed:
            (path / source.name).symlink_to(source)
            continue
        stored = json.loads(source.read_text("utf-8")) | changed[source.name]
        if source.name == "tokenizer_config.json":
            stored["chat_template"] = template
            stored = {key: value for key, value in stored.items() if value is not None}
        (path / source.name).write_text(json.dumps(stored), "utf-8")
    return path
