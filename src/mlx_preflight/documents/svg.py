"""Bars and lines as SVG text, without a library: the same figures give the same bytes.

The documents are compared with their evidence byte by byte, and a plotting library's output
changes with its version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from mlx_preflight.core.units import format_measurement

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 40, 40
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9")
"""Colours that people with colour blindness tell apart (Okabe and Ito)."""

_BAR = 34


def bars(title: str, unit: str, values: Mapping[str, float]) -> str:
    """Return horizontal bars with their values, which have a unit of `result.UNITS`."""
    height = TOP + _BAR * len(values) + 10
    top = max(values.values())
    parts = [_text(10, 22, title, "title")]
    for number, (name, value) in enumerate(values.items()):
        y = TOP + _BAR * number
        long = (WIDTH - 150 - 130) * value / top
        parts.append(_text(140, y + 17, name, end=True))
        parts.append(
            f'<rect x="150" y="{y}" width="{long:.1f}" height="24" fill="{_colour(number)}"/>'
        )
        parts.append(_text(156 + long, y + 17, format_measurement(value, unit)))
    return _page(height, parts)


def lines(title: str, x_name: str, y_name: str, values: Mapping[str, Sequence[float]]) -> str:
    """Return one line per name over 1, 2, 3 and so on."""
    every = [value for line in values.values() for value in line]
    low, high = min(0.0, *every), max(every)
    count = max(len(line) for line in values.values())
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(number: int, value: float) -> tuple[float, float]:
        x = LEFT + wide * number / max(count - 1, 1)
        return x, TOP + tall * (1 - (value - low) / (high - low))

    parts = [_text(10, 22, title, "title"), _text(LEFT, HEIGHT - 8, x_name)]
    parts.append(_text(10, TOP - 4, y_name))
    parts += [
        _text(place(n, low)[0] + 4, HEIGHT - 24, f"{n + 1}", end=True) for n in (0, count - 1)
    ]
    for share in (0.0, 0.5, 1.0):
        value = low + (high - low) * share
        _, y = place(0, value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{value:.3g}", end=True))
    for number, (name, line) in enumerate(values.items()):
        points = " ".join("{:.1f},{:.1f}".format(*place(n, v)) for n, v in enumerate(line))
        colour = _colour(number)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        y = TOP + 18 * number + 8
        x = WIDTH - RIGHT + 12
        parts.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        parts.append(_text(x + 16, y, name))
    return _page(HEIGHT, parts)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _text(x: float, y: float, text: str, kind: str = "", *, end: bool = False) -> str:
    weight = ' font-weight="bold"' if kind else ""
    anchor = ' text-anchor="end"' if end else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{anchor}{weight}>{escape(text)}</text>'


def _page(height: int, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="13">'
    )
    background = f'<rect width="{WIDTH}" height="{height}" fill="white"/>'
    return "\n".join([head, background, *parts, "</svg>"]) + "\n"
