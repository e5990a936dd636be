"""The command line: the application, to which each topic adds its commands."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mlx_preflight import __version__
from mlx_preflight.cli import (
    calibration,
    finish,
    frameworks,
    gates,
    history,
    init,
    mcp,
    memory,
    models,
    qualify,
    rehearse,
    run,
    training,
    watch,
)
from mlx_preflight.core.errors import InterruptedCommandError
from mlx_preflight.plan.commands import PANELS


class PanelGroup(TyperGroup):
    """Root command whose help lists the commands by panel.

    Typer draws panels with rich only, and importing rich would double the duration of `--help`.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command; Typer would make an interrupt an exit code like any other's.

        Raises:
            InterruptedCommandError: Ctrl-C or SIGTERM came.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise InterruptedCommandError("interrupted") from error

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section per panel, all with the same width of the first column."""
        widest = max(len(name) for names in PANELS.values() for name in names)
        limit = formatter.width - 6 - widest
        for title, names in PANELS.items():
            rows = [
                (name.ljust(widest), command.get_short_help_str(limit))
                for name in names
                if (command := self.get_command(ctx, name))
            ]
            with formatter.section(title):
                formatter.write_dl(rows)


app = typer.Typer(
    name="mlx-preflight",
    cls=PanelGroup,
    help="Can I fine-tune this model on this machine, and is everything green before I start?",
    epilog="Examples:  mlx-preflight list  ·  mlx-preflight check ac4-loading --json  ·  "
    "mlx-preflight report",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain help: rich would cost half of the 0.3 s that `--help` may take.
    rich_markup_mode=None,
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"mlx-preflight {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _show: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Can I fine-tune this model on this machine, and is everything green before I start?"""


TOPICS: tuple[Any, ...] = (
    *(qualify, training, rehearse, watch, finish, run, models, memory, calibration),
    *(gates, frameworks, init, history, mcp),
)

for topic in TOPICS:
    topic.attach(app)
