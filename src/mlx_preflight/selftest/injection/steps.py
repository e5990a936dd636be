"""Builders that change a sample: files, JSON, weights, settings, and what was answered."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import PreflightError
from mlx_preflight.selftest.injection.case import Change, Sample, Step


def write(name: str, content: str | bytes) -> Step:
    """Return what writes a file."""
    raw = content.encode() if isinstance(content, str) else content

    def act(sample: Sample) -> None:
        sample.path(name).write_bytes(raw)

    return act


def remove(name: str) -> Step:
    """Return what removes a file or a folder."""

    def act(sample: Sample) -> None:
        path = sample.folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    return act


def rename(name: str, to: str) -> Step:
    """Return what gives a file another name."""
    return lambda sample: os.replace(sample.folder / name, sample.path(to))


def link(name: str, target: str) -> Step:
    """Return what puts a symbolic link in the place of a name."""
    return lambda sample: sample.path(name).symlink_to(target)


def cut(name: str, count: int) -> Step:
    """Return what cuts bytes off the end of a file, as a broken download does."""

    def act(sample: Sample) -> None:
        path = sample.folder / name
        path.write_bytes(path.read_bytes()[:-count])

    return act


def edit(name: str, old: str, new: str) -> Step:
    """Return what replaces a passage, up to the words after `…` where `old` has them.

    A passage that is not there exactly once is no defect: the case cannot be planted.
    """
    start, _, end = old.partition("…")

    def act(sample: Sample) -> None:
        text = (sample.folder / name).read_text(encoding="utf-8")
        if text.count(start) != 1:
            raise PreflightError(f"{name}: {start!r} is there {text.count(start)} times")
        begin = text.index(start)
        stop = text.index(end, begin + len(start)) if end else begin + len(start)
        (sample.folder / name).write_text(text[:begin] + new + text[stop:], encoding="utf-8")

    return act


def section(name: str, title: str, body: str | None) -> Step:
    """Return what gives a section another body, or takes it away with its heading.

    Args:
        name: The document.
        title: Its heading with the number signs, such as `## Decision`.
        body: The new text below the heading; None removes the section.
    """
    level = title.partition(" ")[0]

    def act(sample: Sample) -> None:
        path = sample.folder / name
        lines = path.read_text(encoding="utf-8").split("\n")
        begin = lines.index(title)
        ends = (
            number
            for number in range(begin + 1, len(lines))
            if lines[number].startswith("#") and lines[number].partition(" ")[0] <= level
        )
        stop = next(ends, len(lines))
        middle = [] if body is None else [title, "", body, ""]
        path.write_text("\n".join([*lines[:begin], *middle, *lines[stop:]]), encoding="utf-8")

    return act


def replace_all(name: str, old: str, new: str) -> Step:
    """Return what replaces a text wherever it is."""

    def act(sample: Sample) -> None:
        path = sample.folder / name
        text = path.read_text(encoding="utf-8")
        if old not in text:
            raise PreflightError(f"{name}: {old!r} is not there")
        path.write_text(text.replace(old, new), encoding="utf-8")

    return act


def edit_json(name: str, change: Callable[[Any], object] | None = None, **keys: Any) -> Step:
    """Return what changes a JSON file in place, or sets keys of it."""

    def act(sample: Sample) -> None:
        path = sample.folder / name
        data = json.loads(path.read_text(encoding="utf-8"))
        data.update(keys)
        if change is not None:
            change(data)
        path.write_text(json.dumps(data), encoding="utf-8")

    return act


def settings(**fields: Any) -> Step:
    """Return what sets fields of the project's table."""
    return lambda sample: sample.settings.update(fields)


def sample_fields(**fields: Any) -> Step:
    """Return what sets fields of the sample itself."""
    return lambda sample: vars(sample).update(fields)


def arguments(*words: str) -> Step:
    """Return what adds arguments of mlx_lm.lora."""
    return lambda sample: vars(sample).update(training=(*(sample.training or ()), *words))


def python_path(name: str) -> Step:
    """Return what puts a folder of the sample first on the path of every Python."""

    def act(sample: Sample) -> None:
        before = sample.environment.get("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
        paths = [str(sample.folder / name), *filter(None, [before])]
        sample.environment["PYTHONPATH"] = os.pathsep.join(paths)

    return act


def changed(change: Change) -> Step:
    """Return what changes the facts that the session gathered."""
    return lambda sample: sample.changes.append(change)


def answered(path: str = "", **fields: Any) -> Step:
    """Return what puts other answers into the facts.

    Args:
        path: Fields that lead to the object, such as `loads.warm`; empty for the facts.
        fields: Its fields; a function makes a new value of the old one.
    """
    return changed(lambda facts: replaced(facts, path, fields))


def replaced(facts: Any, path: str, fields: Mapping[str, Any]) -> Any:
    """Return facts with other fields of an object in them."""
    if path:
        name, _, rest = path.partition(".")
        return dataclasses.replace(facts, **{name: replaced(getattr(facts, name), rest, fields)})
    made = {
        name: value(getattr(facts, name)) if callable(value) else value
        for name, value in fields.items()
    }
    return dataclasses.replace(facts, **made)


def instead(module: Any, name: str, value: Any) -> Step:
    """Return what replaces an attribute of a module while the case runs."""
    return lambda sample: sample.replaced.append((module, name, value))


def tree(source: Path, name: str) -> Step:
    """Return what copies a folder into the sample."""

    def act(sample: Sample) -> None:
        shutil.copytree(source, sample.path(name), dirs_exist_ok=True)

    return act
