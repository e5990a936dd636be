"""Commands on the calibration: measure this machine's speed once, and show, share or forget it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlx_preflight.cli.options import JsonOption, group, print_json
from mlx_preflight.cli.options import note as show_note
from mlx_preflight.core.errors import BlockedError, UsageError
from mlx_preflight.core.units import format_number, format_seconds

if TYPE_CHECKING:
    from mlx_preflight.training.calibration_file import Calibration

FITTED = "as fitted to the steps that it timed"

commands = group("Show, export, import or forget this machine's calibration.")


def attach(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(epilog="Example:  mlx-preflight calibrate")(calibrate)
    app.add_typer(commands, name="calibration")


def calibrate(as_json: JsonOption = False) -> None:
    """Measure this machine's speed for up to three minutes, and keep it for later hours.

    Products, copies, and steps of slices of two built-in models. It goes into the user's data
    folder, so it counts in every project.
    """
    from mlx_preflight.training import calibrating, calibration_file

    found = calibrating.calibrate(show_note)
    file = calibration_file.write(found)
    if as_json:
        print_json({**found.to_json(), "file": str(file)})
    else:
        typer.echo(f"{found.describe()}: wrote {file}")


@commands.command()
def show(as_json: JsonOption = False) -> None:
    """Show the calibrations that are kept; exit 3 where there is none."""
    from mlx_preflight.training import calibration_file

    files = [file for name in calibration_file.BACKENDS for file in calibration_file.paths(name)]
    kept = [(file, calibration_file.read(file)) for file in files]
    if not kept:
        raise BlockedError("no calibration is kept", hint="`mlx-preflight calibrate`")
    if as_json:
        more = [
            {"file": str(file), "counts_here": calibration_file.counts_here(found)}
            for file, found in kept
        ]
        print_json([{**found.to_json(), **one} for (_, found), one in zip(kept, more, strict=True)])
        return
    for file, found in kept:
        typer.echo(f"{found.backend}: {found.describe()}{_elsewhere(found)}\n  {file}")
        for kind, rates in sorted(found.speed.products.items()):
            best = max(rates.values()) / 1e9
            typer.echo(f"  {kind:<12} {format_number(best)} GFLOP/s at most")
        typer.echo(f"  copies       {format_number(found.speed.bytes_s / 1e9)} GB/s, {FITTED}")
        typer.echo(f"  a primitive  {format_seconds(found.speed.kernel_s)}, {FITTED}")
        typer.echo(f"  steps take   {format_number(found.speed.factor)} times what these say")


@commands.command(name="export")
def export_(
    target: Annotated[Path, typer.Argument(help="File to write, which must not be there.")],
    backend: Annotated[str, typer.Option("--backend", help="metal, cuda or cpu.")] = "",
) -> None:
    """Write this machine's calibration to a file, for another one of the same hardware."""
    from mlx_preflight.core.json_file import write_json
    from mlx_preflight.training import calibration_file

    if target.exists() or target.is_symlink():
        raise UsageError(f"{target}: it is there already", hint="name another file")
    write_json(target, calibration_file.read(_kept(backend)[0]).to_json())
    typer.echo(f"wrote {target}")


@commands.command(name="import")
def import_(
    source: Annotated[Path, typer.Argument(help="File of `calibration export`.")],
) -> None:
    """Keep a calibration from elsewhere; it counts where the hardware is the same.

    Every field is looked at, and it can change nothing but numbers. This machine's own
    calibration stays, and comes before it.
    """
    from mlx_preflight.training import calibration_file

    found = calibration_file.read(source)
    file = calibration_file.write(found, imported=True)
    typer.echo(f"wrote {file}{_elsewhere(found)}")
    if calibration_file.path(found.backend).is_file():
        typer.echo("this machine's own calibration comes before it", err=True)


def _elsewhere(found: Calibration) -> str:
    """Return in words why a calibration does not count here; empty where it does."""
    from mlx_preflight.training import calibration_file

    if calibration_file.counts_here(found):
        return ""
    here, there = calibration_file.machine(), found.machine
    names = [name for name in calibration_file.HARDWARE if here[name] != there[name]]
    differences = ", ".join(f"{name} is {there[name]}, here {here[name]}" for name in names)
    return f"; it does not count here: {differences}"


@commands.command()
def forget(
    backend: Annotated[str, typer.Option("--backend", help="metal, cuda or cpu.")] = "",
) -> None:
    """Remove this machine's calibration, and one that was imported."""
    for file in _kept(backend):
        file.unlink()
        typer.echo(f"removed {file}")


def _kept(backend: str) -> list[Path]:
    """Return the files of a backend's calibrations, this machine's own first.

    Raises:
        UsageError: The backend is unknown.
        BlockedError: There is none.
    """
    from mlx_preflight.training import calibration_file

    if not backend:
        from mlx_preflight.memory.calibration import backend as own

        backend = own()
    if backend not in calibration_file.BACKENDS:
        raise UsageError(f"backend {backend!r}: {', '.join(calibration_file.BACKENDS)}")
    if not (files := calibration_file.paths(backend)):
        file = calibration_file.path(backend)
        raise BlockedError(f"{file}: no calibration", hint="`mlx-preflight calibrate`")
    return files
