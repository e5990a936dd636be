"""Plot of a measurement over runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlx_preflight.core.errors import UsageError
from mlx_preflight.history.trends import TrendPoint

_LABEL = 90
FORMATS = (".svg", ".png", ".pdf")


def draw(name: str, points: Sequence[TrendPoint], path: Path) -> None:
    """Write a picture of a measurement over runs; flagged runs are marked and named.

    Raises:
        UsageError: Another format, or matplotlib is not installed.
    """
    if path.suffix not in FORMATS:
        raise UsageError(f"{path}: expected one of {', '.join(FORMATS)}")
    try:
        from matplotlib import figure, ticker  # noqa: PLC0415  (an extra that only this needs)
    except ImportError as error:
        raise UsageError(
            "matplotlib is not installed", hint="`pip install 'mlx-preflight[plot]'`"
        ) from error
    picture = figure.Figure(figsize=(8, 4), layout="constrained")
    axes = picture.subplots()
    places = {point.run_id: place for place, point in enumerate(points)}
    kinds = dict.fromkeys((point.model, point.machine) for point in points)
    for model, machine in kinds:
        alike = [point for point in points if (point.model, point.machine) == (model, machine)]
        axes.plot(
            [places[point.run_id] for point in alike],
            [point.value for point in alike],
            marker="o",
            markersize=4,
            label=f"{model} on {machine}"[:_LABEL],
        )
    marked = [point for point in points if point.flagged]
    axes.plot(
        [places[point.run_id] for point in marked],
        [point.value for point in marked],
        "o",
        color="tab:red",
        label="changed",
    )
    # Of a row of flagged runs the first is named: there it changed.
    flagged = {places[point.run_id] for point in marked}
    for point in [item for item in marked if places[item.run_id] - 1 not in flagged][-10:]:
        axes.annotate(
            point.run_id[:20],
            (places[point.run_id], point.value),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=7,
            parse_math=False,
        )
    axes.margins(y=0.12)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    if len(kinds) > 1 or marked:
        axes.legend(fontsize=7)
    axes.set_title(f"{name} over {len(points)} runs", parse_math=False)
    axes.set_xlabel("run, oldest first")
    axes.set_ylabel(name, parse_math=False)
    axes.grid(visible=True, alpha=0.3)
    picture.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
