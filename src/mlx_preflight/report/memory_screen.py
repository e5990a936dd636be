"""Print predicted, measured and fitting memory for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlx_preflight.memory.settings import in_words
from mlx_preflight.memory.working_sets import WORKING_SETS
from mlx_preflight.report.screen import plain

if TYPE_CHECKING:
    from mlx_preflight.memory.fit import Search
    from mlx_preflight.memory.measure import Measured
    from mlx_preflight.memory.predict import Prediction
    from mlx_preflight.memory.source import Source


def show_prediction(source: Source, found: Prediction, budget_bytes: int | None) -> None:
    """Print a prediction with its parts, and where it fits."""
    console = Console()
    what = "generation" if found.settings.inference else "training"
    console.print(
        Text.assemble(
            (f"{what} needs {gb(found.peak_bytes)}", "bold"),
            f" at its peak, {gb(found.peak_low_bytes)} to {gb(found.peak_high_bytes)} "
            f"(simulated for {found.backend}; nothing was run)",
        )
    )
    console.print(plain(f"{source.name}: {in_words(found.settings)}"), style="dim")
    table = _table()
    for name, size in sorted(found.breakdown_bytes.items(), key=lambda item: -item[1]):
        if size:
            table.add_row(name, gb(size), f"{100 * size / found.peak_bytes:.0f} %")
    console.print(table)
    facts = _table()
    facts.add_row("parameters", f"{found.parameters:,}")
    if not found.settings.inference:
        facts.add_row("trainable", f"{found.trainable_parameters:,}")
    if source.download_bytes:
        facts.add_row("download", gb(source.download_bytes))
    if budget_bytes is not None:
        facts.add_row(f"budget {gb(budget_bytes)}", _room(budget_bytes, found))
    for ram, size in WORKING_SETS.items():
        facts.add_row(f"Mac, {ram} GB (working set {gb(size)})", _room(size, found))
    console.print(facts)
    for warning in found.warnings:
        console.print(plain(f"warning: {warning}"), style="yellow")


def show_measured(source: Source, found: Measured, predicted: Prediction) -> None:
    """Print a measurement beside the prediction for the same settings."""
    console = Console()
    error = 100 * (predicted.peak_bytes / found.peak_bytes - 1)
    console.print(
        Text.assemble(
            (f"measured {gb(found.peak_bytes)}", "bold"),
            f" at its peak; {gb(predicted.peak_bytes)} were predicted ({error:+.1f} %)",
        )
    )
    console.print(plain(f"{source.name}: {in_words(predicted.settings)}"), style="dim")
    table = _table()
    table.add_row("loaded model", gb(found.before_bytes))
    table.add_row("cache at the end", gb(found.cache_bytes))
    table.add_row("process peak", gb(found.process_peak_bytes))
    if found.step_s:
        table.add_row("steps", ", ".join(f"{seconds:.3f} s" for seconds in found.step_s[:8]))
    table.add_row("speed", f"{found.tokens_per_s:.1f} tokens/s")
    console.print(table)


def show_fits(found: Search, budget_bytes: int, written: Sequence[Path]) -> None:
    """Print the settings that fit, cheapest first, or how far the smallest is away."""
    console = Console()
    if not found.fits:
        least = found.smallest
        console.print(Text(f"nothing fits {gb(budget_bytes)}", style="bold red"))
        console.print(
            plain(f"the smallest, {in_words(least.settings)}, needs {gb(least.peak_high_bytes)}")
        )
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("", "settings", "peak", "upper end", "headroom", "gives up"):
        table.add_column(name, overflow="fold")
    for number, item in enumerate(found.fits, 1):
        guess = item.prediction
        table.add_row(
            str(number),
            in_words(item.settings),
            gb(guess.peak_bytes),
            gb(guess.peak_high_bytes),
            gb(budget_bytes - guess.peak_high_bytes),
            "; ".join(item.given_up) or "nothing",
        )
    console.print(table)
    for path in written:
        console.print(plain(f"wrote {path}"))


def gb(size: float) -> str:
    """Return bytes in GB (10^9)."""
    return f"{size / 1e9:.2f} GB" if abs(size) >= 1e8 else f"{size / 1e6:.2f} MB"  # noqa: PLR2004


def _room(limit: int, found: Prediction) -> str:
    room = limit - found.peak_high_bytes
    if room >= 0:
        return f"fits, {gb(room)} left"
    if found.peak_bytes <= limit:
        return f"too close to call, {gb(-room)} over at the upper end"
    return f"does not fit, {gb(found.peak_bytes - limit)} over"


def _table() -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(justify="right", overflow="fold")
    return table
