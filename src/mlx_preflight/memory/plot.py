"""Plots of memory: over one step by category, and the peak against the length of the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_preflight.core.errors import PreflightError
from mlx_preflight.memory.predict import Prediction
from mlx_preflight.memory.replay.breakdown import CATEGORIES

SUFFIXES = (".svg", ".png", ".pdf")

SMALL_BYTES = 10**8
"""Peak under which a picture counts in MB, as the screen does."""


def step(found: Prediction, path: Path, title: str) -> None:
    """Draw live memory over the step, stacked by category, with the peak marked.

    Raises:
        PreflightError: matplotlib is not installed, the suffix is none of `SUFFIXES`, or the
            file cannot be written.
    """
    figure, axes = new_figure(path)
    small = found.peak_bytes < SMALL_BYTES
    scale, unit, size = (1e6, "MB", "10⁶") if small else (1e9, "GB", "10⁹")
    names = [name for name in CATEGORIES if any(moment.get(name) for moment in found.timeline)]
    rows = [[moment.get(name, 0) / scale for moment in found.timeline] for name in names]
    colours = [f"C{CATEGORIES.index(name)}" for name in names]
    axes.stackplot(range(len(found.timeline)), rows, labels=names, colors=colours)
    totals = [sum(moment.values()) for moment in found.timeline]
    top, peak = totals.index(max(totals)), found.peak_bytes / scale
    axes.annotate(
        f"peak {peak:.2f} {unit}",
        (top, peak),
        xytext=(0, 8),
        textcoords="offset points",
        ha="right" if top > 0.8 * len(totals) else "center",
    )
    axes.plot([top], [peak], "v", color="black", clip_on=False)
    what = "evaluation with the peak" if found.settings.inference else "step"
    axes.set(xlabel=f"the {what}, from start to end", ylabel=f"{unit} ({size} bytes)", title=title)
    axes.set_xticks([])
    axes.margins(x=0)
    axes.set_ylim(0, peak * 1.12)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    save_figure(figure, path)


def curve(
    lengths: Sequence[int],
    peaks: Mapping[str, Sequence[Prediction]],
    limits: Mapping[str, float],
    path: Path,
    title: str,
) -> None:
    """Draw predicted peaks with their intervals against the length of the rows.

    Args:
        lengths: Tokens of a row.
        peaks: Predictions for these lengths, by what is varied.
        limits: Horizontal lines in bytes, by name.
        path: Where to.
        title: Heading of the picture.

    Raises:
        PreflightError: As `step`.
    """
    figure, axes = new_figure(path)
    for name, found in peaks.items():
        line = axes.plot(lengths, [item.peak_bytes / 1e9 for item in found], "o-", label=name)
        low = [item.peak_low_bytes / 1e9 for item in found]
        high = [item.peak_high_bytes / 1e9 for item in found]
        axes.fill_between(lengths, low, high, alpha=0.15, color=line[0].get_color())
    for name, size in limits.items():
        axes.axhline(size / 1e9, linestyle="--", linewidth=1, color="gray")
        axes.annotate(
            name,
            (0.6, size / 1e9),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
        )
    axes.set(xlabel="tokens of a row", ylabel="peak, GB (10⁹ bytes)", title=title)
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", frameon=False)
    save_figure(figure, path)


def new_figure(path: Path) -> tuple[Any, Any]:
    """Return an empty picture and its axes.

    Raises:
        PreflightError: matplotlib is not installed, or the suffix is none of `SUFFIXES`.
    """
    if path.suffix not in SUFFIXES:
        raise PreflightError(f"{path}: expected one of {', '.join(SUFFIXES)}")
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415  (an extra)
    except ImportError as error:
        hint = 'python3 -m pip install "mlx-preflight[plot]"'
        raise PreflightError("matplotlib is not installed", hint=hint) from error
    figure = Figure(figsize=(8, 4.5))
    return figure, figure.subplots()


def save_figure(figure: Any, path: Path) -> None:
    """Write a picture.

    Raises:
        PreflightError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, bbox_inches="tight")
    except OSError as error:
        raise PreflightError(f"{path}: cannot be written: {error.strerror}") from error
