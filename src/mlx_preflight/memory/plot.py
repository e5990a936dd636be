"""Draw memory: over one step by category, and the peak against the length of the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_preflight.errors import PreflightError
from mlx_preflight.memory.predict import Prediction

SUFFIXES = (".svg", ".png", ".pdf")


def step(found: Prediction, path: Path, title: str) -> None:
    """Draw live memory over the step, stacked by category, with the peak marked.

    Raises:
        PreflightError: matplotlib is not installed, or the suffix is none of `SUFFIXES`.
    """
    figure, axes = _figure(path)
    names = [name for name, size in found.breakdown_bytes.items() if size]
    rows = [[moment.get(name, 0) / 1e9 for moment in found.timeline] for name in names]
    axes.stackplot(range(len(found.timeline)), rows, labels=names)
    totals = [sum(moment.values()) for moment in found.timeline]
    top = totals.index(max(totals))
    axes.annotate(
        f"peak {found.peak_bytes / 1e9:.2f} GB",
        (top, found.peak_bytes / 1e9),
        xytext=(0, 8),
        textcoords="offset points",
        ha="center",
    )
    axes.plot([top], [found.peak_bytes / 1e9], "v", color="black")
    axes.set(xlabel="moment of the step", ylabel="GB (10⁹ bytes)", title=title)
    axes.set_ylim(0, found.peak_bytes / 1e9 * 1.12)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    figure.savefig(path, bbox_inches="tight")


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
    figure, axes = _figure(path)
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
    figure.savefig(path, bbox_inches="tight")


def _figure(path: Path) -> tuple[Any, Any]:
    if path.suffix not in SUFFIXES:
        raise PreflightError(f"{path}: expected one of {', '.join(SUFFIXES)}")
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415  (an extra)
    except ImportError as error:
        hint = 'python3 -m pip install "mlx-preflight[plot]"'
        raise PreflightError("matplotlib is not installed", hint=hint) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(8, 4.5))
    return figure, figure.subplots()
