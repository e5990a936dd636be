"""Picture of the lengths of training rows, and of what the limit cuts."""

from __future__ import annotations

from pathlib import Path

from mlx_preflight.core.units import format_percent
from mlx_preflight.memory import plot
from mlx_preflight.training import row_lengths
from mlx_preflight.training.rows import Rows

BARS = 40


def draw(rows: Rows, limit: int, path: Path) -> None:
    """Draw how many rows have which length, and what lies beyond the limit.

    Raises:
        PreflightError: matplotlib is not installed, the suffix is unknown, or the file cannot
            be written.
    """
    figure, axes = plot.new_figure(path)
    lengths = {name: row_lengths.known(split.tokens) for name, split in rows.splits.items()}
    shown = {name: found for name, found in lengths.items() if found}
    axes.hist([*shown.values()], bins=BARS, stacked=True, label=[*shown])
    axes.axvline(limit, linestyle="--", linewidth=1, color="black")
    title = f"{sum(map(len, shown.values())):,} rows, limit {limit:,} tokens"
    if (train := rows.splits.get("train")) is not None:
        cut = row_lengths.cut(train, limit)
        share = format_percent(100 * cut.token_share)
        title += f": {cut.cut_rows:,} training rows and {share} of their tokens are cut"
    axes.set(xlabel="tokens of a row", ylabel="rows", title=title)
    if shown:
        axes.legend(frameon=False)
    plot.save_figure(figure, path)
