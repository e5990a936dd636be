"""Options that say what a run judges: one declaration for nox, commands, scripts and MCP.

Each reader makes its own parser from the fields, so an option is added in one place.
"""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mlx_preflight.plan.adapter_base import base_name, base_of
from mlx_preflight.plan.profiles import EMBEDDED

MOST_GB = 1e6
"""Sizes in GB that are typed end below it: a larger one is a slip, and infinity is no size."""

BUDGET_HELP = "Memory budget in GB (10^9 bytes)."


def option(default: Any, help_text: str, *, flag: str = "", least: float | None = None) -> Any:
    """Return a field that is an option: its name is the flag unless another one is given."""
    metadata = {"help": help_text, "flag": flag, "least": least}
    return dataclasses.field(default=default, metadata=metadata)


def flag_of(name: str) -> str:
    """Return the flag of a field or setting, such as `--budget-gb`."""
    return f"--{name.replace('_', '-')}"


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """Training run that somebody means to start.

    Attributes:
        arguments: Arguments of `mlx_lm.lora`, without the program.
        budget_bytes: Memory that was asked to suffice; None where nobody asked.
        launch: Command of `mlx.launch` that starts the program, as typed; empty without one.
    """

    arguments: tuple[str, ...]
    budget_bytes: int | None = None
    launch: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FinishRequest:
    """Adapter of a finished training that somebody means to use.

    Attributes:
        adapter: Folder that mlx_lm.lora wrote.
        model: Its base; None takes the one that the folder names.
        data: Folder or set with held-out rows; None likewise.
        fused: Folder of the fused model; None where there is none.
        config: YAML that says what was asked; None where only the folder says it.
    """

    adapter: str
    model: str | None = None
    data: str | None = None
    fused: str | None = None
    config: str | None = None


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Model, budget and training; None takes the table's, the profile's or the adapter's."""

    profile: str | None = option(None, "Profile, see `list`.")
    model: str | None = option(None, "Model folder or hub id instead of the profile's.")
    budget_gb: float | None = option(None, BUDGET_HELP)
    config: str | None = option(None, "YAML of mlx_lm.lora: the training run to judge.")
    adapter: str | None = option(None, "Folder that mlx_lm.lora wrote: the adapter to judge.")
    data: str | None = option(None, "Held-out rows of the adapter: a folder with valid.jsonl.")
    fused: str | None = option(None, "Folder of the model that the adapter was fused into.")

    @classmethod
    def flags(cls) -> tuple[str, ...]:
        """Return the flags of all options."""
        return tuple(flag_of(item.name) for item in dataclasses.fields(cls))

    @classmethod
    def add_to(cls, parser: argparse.ArgumentParser) -> None:
        """Let a parser accept the options."""
        for item in dataclasses.fields(cls):
            kind = float if "float" in str(item.type) else str
            parser.add_argument(flag_of(item.name), type=kind, help=item.metadata["help"])

    @classmethod
    def parsed(cls, namespace: argparse.Namespace) -> Self:
        """Return the options that a parser found, whatever else it found."""
        return cls(**{item.name: getattr(namespace, item.name) for item in dataclasses.fields(cls)})

    def choice(self) -> dict[str, Any]:
        """Return the options that choose the profile, as keyword arguments of `choose`."""
        if self.adapter is not None:
            # The base is judged, whatever model the project is about.
            base = base_name(self.model) if self.model else base_of(Path(self.adapter))
            return {"profile": EMBEDDED, "model": base, "budget_gb": self.budget_gb}
        return {"profile": self.profile, "model": self.model, "budget_gb": self.budget_gb}

    def finish(self) -> FinishRequest | None:
        """Return the adapter to judge; None without one."""
        if self.adapter is None:
            return None
        return FinishRequest(self.adapter, self.model, self.data, self.fused, self.config)

    def arguments(self) -> list[str]:
        """Return the options that were given, as arguments of a command."""
        given = ((flag_of(k), v) for k, v in dataclasses.asdict(self).items() if v is not None)
        return [part for flag, value in given for part in (flag, str(value))]
