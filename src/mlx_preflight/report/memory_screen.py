"""Terminal output of predicted and measured memory, and of settings that fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlx_preflight.core.units import (
    format_bytes,
    format_duration,
    format_interval,
    format_number,
    format_percent,
    format_seconds,
)
from mlx_preflight.memory.settings import WORKING_SETS, in_words
from mlx_preflight.report.screen import to_text

if TYPE_CHECKING:
    from mlx_preflight.memory.explain import Alternative
    from mlx_preflight.memory.fit import Search
    from mlx_preflight.memory.measure import Measured
    from mlx_preflight.memory.predict import Prediction
    from mlx_preflight.memory.settings import Settings


def show_prediction(
    model: str, found: Prediction, *, budget_bytes: int | None, download_bytes: int | None
) -> None:
    """Print a prediction of a model with its parts, and where it fits."""
    console = Console()
    what = "generation" if found.settings.inference else "training"
    console.print(
        Text.assemble(
            (f"{what} needs {format_bytes(found.peak_bytes)}", "bold"),
            f" at its peak, {format_interval(found.peak_low_bytes, found.peak_high_bytes)} "
            f"(simulated for {found.backend}; nothing was run)",
        )
    )
    console.print(to_text(f"{model}: {in_words(found.settings)}"), style="dim")
    table = _table()
    for name, size in sorted(found.breakdown_bytes.items(), key=lambda item: -item[1]):
        if size:
            table.add_row(name, format_bytes(size), format_percent(100 * size / found.peak_bytes))
    console.print(table)
    facts = _table()
    facts.add_row("parameters", f"{found.parameters:,}")
    if not found.settings.inference:
        facts.add_row("trainable", f"{found.trainable_parameters:,}")
    if download_bytes:
        facts.add_row("download", format_bytes(download_bytes))
    if budget_bytes is not None:
        facts.add_row(f"budget {format_bytes(budget_bytes)}", _room(budget_bytes, found))
    for ram, size in WORKING_SETS.items():
        facts.add_row(f"Mac, {ram} GB (working set {format_bytes(size)})", _room(size, found))
    console.print(facts)
    for warning in found.warnings:
        console.print(to_text(f"warning: {warning}"), style="yellow")


def show_measured(
    model: str, found: Measured, predicted: Prediction | None, settings: Settings
) -> None:
    """Print a measurement beside the prediction for the same settings, where there is one."""
    console = Console()
    words = "nothing was predicted"
    if predicted is not None:
        error = format_percent(100 * (predicted.peak_bytes / found.peak_bytes - 1), signed=True)
        words = f"{format_bytes(predicted.peak_bytes)} were predicted ({error})"
    text = (f"measured {format_bytes(found.peak_bytes)}", "bold")
    console.print(Text.assemble(text, f" at its peak; {words}"))
    console.print(to_text(f"{model}: {in_words(settings)}"), style="dim")
    table = _table()
    table.add_row("loaded model", format_bytes(found.before_bytes))
    table.add_row("cache at the end", format_bytes(found.cache_bytes))
    table.add_row("process peak", format_bytes(found.process_peak_bytes))
    if found.step_s:
        table.add_row("steps", ", ".join(format_seconds(seconds) for seconds in found.step_s[:8]))
    table.add_row("speed", f"{format_number(found.tokens_per_s)} tokens/s")
    console.print(table)


def show_fits(
    found: Search,
    budget_bytes: int,
    written: Sequence[Path],
    cut_by: Callable[[int], str] | None = None,
    taken: Mapping[Settings, float] | None = None,
) -> None:
    """Print the settings that fit, in their order, or how far the smallest is away.

    Args:
        found: The search.
        budget_bytes: What had to be met.
        written: Files that were written.
        cut_by: Says what a row limit cuts.
        taken: Seconds that 1,000 rows at the limit take, by settings.
    """
    console = Console()
    if not found.fits:
        least = found.smallest
        console.print(Text(f"nothing fits {format_bytes(budget_bytes)}", style="bold red"))
        needs = format_bytes(least.peak_high_bytes)
        console.print(to_text(f"the smallest, {in_words(least.settings)}, needs {needs}"))
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    timed = ["1,000 rows"] if taken else []
    for name in ("", "settings", "peak", "upper end", "headroom", *timed, "gives up"):
        table.add_column(name, overflow="fold")
    for number, item in enumerate(found.fits, 1):
        guess = item.prediction
        cuts = [] if cut_by is None else [cut_by(item.settings.max_seq_length)]
        table.add_row(
            str(number),
            in_words(item.settings),
            format_bytes(guess.peak_bytes),
            format_bytes(guess.peak_high_bytes),
            format_bytes(budget_bytes - guess.peak_high_bytes),
            *([format_duration(taken[item.settings])] if taken else []),
            "; ".join([*item.given_up, *cuts]) or "nothing",
        )
    console.print(table)
    for path in written:
        console.print(to_text(f"wrote {path}"))


def show_alternatives(priced: Sequence[Alternative]) -> None:
    """Print what each change of a run would save; nothing where none was asked."""
    if not priced:
        return
    console, table = Console(), Table(box=None, padding=(0, 2, 0, 0))
    for name in ("change of the wanted run", "saves", "share", "peak", "needs"):
        table.add_column(name, overflow="fold")
    for item in priced:
        share = format_percent(100 * item.share)
        sizes = (format_bytes(item.saved_bytes), share, format_bytes(item.peak_bytes))
        table.add_row(item.name, *sizes, item.needs or "nothing else")
    console.print(table)


def _room(limit: int, found: Prediction) -> str:
    room = limit - found.peak_high_bytes
    if room >= 0:
        return f"fits, {format_bytes(room)} left"
    if found.peak_bytes <= limit:
        return f"too close to call, {format_bytes(-room)} over at the upper end"
    return f"does not fit, {format_bytes(found.peak_bytes - limit)} over"


def _table() -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(justify="right", overflow="fold")
    return table
