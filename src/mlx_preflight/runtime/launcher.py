"""What `mlx.launch` would start: asked of the installed one, which starts nothing here."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from mlx._distributed_utils import launch

from mlx_preflight.core.errors import UsageError

HERE = frozenset({"127.0.0.1", "::1", "localhost"})
"""Hosts that are this machine."""

HELP = "see `mlx.launch --help`"

NOTHING = "mlx.launch: no program is named"


@dataclass(frozen=True, slots=True)
class Launch:
    """Processes that share a training.

    Attributes:
        words: The program that each of them runs, and its arguments.
        world: How many there are.
        here: How many of them run on this machine.
    """

    words: tuple[str, ...]
    world: int
    here: int


def read(arguments: Sequence[str]) -> Launch:
    """Return what `mlx.launch` (mlx 0.32) would start with some arguments.

    Raises:
        UsageError: It refuses them; the message is its own.
    """
    found: list[Launch] = []

    def start(_parser: Any, hosts: Sequence[Any], _args: Any, words: Sequence[str]) -> None:
        here = sum(host.ssh_hostname in HERE for host in hosts)
        found.append(Launch(tuple(words), len(hosts), here))

    starters = {name: start for name in vars(launch) if name.startswith("launch_")}
    main = FunctionType(launch.main.__code__, {**vars(launch), **starters})
    said = io.StringIO()
    before, sys.argv = sys.argv, ["mlx.launch", *arguments]
    try:
        with (
            contextlib.redirect_stderr(said),
            contextlib.redirect_stdout(said),
            warnings.catch_warnings(action="ignore", category=ResourceWarning),
        ):
            main()  # (it leaves the hosts' file open)
    except SystemExit as error:
        line = (said.getvalue().strip().splitlines() or ["mlx.launch: it ends"])[-1]
        # (`--help` ends it, too, and the last line of a help says nothing)
        raise UsageError(line if error.code else NOTHING, hint=HELP) from error
    except Exception as error:  # (fields of a hosts' file that it does not look at)
        raise UsageError(f"mlx.launch: {type(error).__name__}: {error}", hint=HELP) from error
    finally:
        sys.argv = before
    if not found or not found[0].words:
        raise UsageError(NOTHING, hint=HELP)
    if not found[0].world:
        raise UsageError("mlx.launch: no host is named", hint="name the hosts in the hostfile")
    return found[0]
