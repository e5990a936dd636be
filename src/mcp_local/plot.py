"""Draw a measurement over runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mcp_local.trends import Point
from mlx_preflight.errors import UsageError

FORMATS = (".svg", ".png", ".pdf")


def draw(name: str, points: Sequence[Point], path: Path) -> None:
    """Write a picture of a measurement over runs; flagged runs are marked and named.

    Raises:
        UsageError: Another format, or matplotlib is not installed.
    """
    if path.suffix not in FORMATS:
        raise UsageError(f"{path}: expected one of {', '.join(FORMATS)}")
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise UsageError(
            "matplotlib is not installed", hint="`pip install 'mlx-preflight[plot]'`"
        ) from error
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    values = [point.value for point in points]
    axes.plot(range(len(points)), values, marker="o", markersize=4)
    marked = [place for place, point in enumerate(points) if point.flagged]
    axes.plot(marked, [values[place] for place in marked], "o", color="tab:red", label="changed")
    # Of a row of flagged runs the first is named: there it changed.
    for place in [item for item in marked if item - 1 not in marked][-10:]:
        axes.annotate(points[place].run_id[:20], (place, values[place]), fontsize=7)
    axes.set_title(f"{name} over {len(points)} runs", parse_math=False)
    axes.set_xlabel("run, oldest first")
    axes.set_ylabel(name, parse_math=False)
    axes.grid(visible=True, alpha=0.3)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
