"""Interface of a framework, and the frameworks of this folder.

To add one: a file here with a `FRAMEWORK` and the functions of `Plugin`, its packages among
those that mypy does not follow (pyproject.toml), and a test. Sessions and commands find it
here; it is a `candidate` once `nox -s "compare(NAME)"` has measured it. The noxfile imports
this, so beside the standard library nothing may be imported at the top of such a file.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from mlx_preflight import frameworks
from mlx_preflight.core import toml_table
from mlx_preflight.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement of a framework's documentation; it is `static` evidence.

    Attributes:
        share: How much of it holds, 0 to 1: 1 supported, 0.5 partly, 0 not.
        text: What is said, in one clause.
        source: File or page.
        version: Release, or commit and its date.
    """

    share: float
    text: str
    source: str
    version: str


def _nothing(_: Any) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Framework:
    """Facts of a framework that are known before it runs.

    Attributes:
        name: As in `nox -s "compare(NAME)"`.
        title: As people write it.
        requirements: pip commands, each a tuple of requirements, in order.
        distribution: Package whose version is the framework's.
        imports: Module whose import is timed.
        config_file: Name of its configuration file.
        apple: What it says about training on Apple silicon.
        apple_qlora: What it says about 4-bit training there.
        candidate: Whether it is compared; the null framework is not.
        before: Returns what a recipe needs first, as comment lines of the file.
    """

    name: str
    title: str
    requirements: tuple[tuple[str, ...], ...]
    distribution: str
    imports: str
    config_file: str
    apple: Claim
    apple_qlora: Claim
    candidate: bool = True
    before: Callable[[Any], Sequence[str]] = _nothing


class Plugin(Protocol):
    """Definitions of a framework's file; all but `config` runs inside its venv."""

    FRAMEWORK: Framework

    def config(self, recipe: Any) -> dict[str, Any]:
        """Return its configuration file's content for a recipe."""

    def train(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Train with the configuration file in the working folder."""

    def answers(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Load the adapter back and answer with it and without it."""

    def qlora(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Train a few steps on a base model in four bits."""


def find(name: str) -> Plugin:
    """Return the file of a framework.

    Raises:
        UsageError: There is none of that name; the message suggests the nearest.
    """
    found = _plugins()
    if name not in found:
        raise UsageError(f"unknown framework {name!r}{toml_table.suggest(name, found)}")
    return found[name]


def names() -> tuple[str, ...]:
    """Return the frameworks that are compared; the reference of the parity comes first."""
    return tuple(name for name, item in _plugins().items() if item.FRAMEWORK.candidate)


REFERENCE = "mlx-lm"
"""Framework that the others' first loss is compared with."""


def _plugins() -> dict[str, Plugin]:
    folder = Path(frameworks.__file__).parent
    found = {}
    for item in pkgutil.iter_modules([str(folder)]):
        text = (folder / f"{item.name}.py").read_text(encoding="utf-8")
        if "\nFRAMEWORK = " not in text:
            continue
        module = importlib.import_module(f"{frameworks.__name__}.{item.name}")
        found[module.FRAMEWORK.name] = cast("Plugin", module)
    return dict(sorted(found.items(), key=lambda pair: (pair[0] != REFERENCE, pair[0])))
