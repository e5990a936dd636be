"""Numbers as every output shows them: bytes, parameters, durations, percentages.

Terminal, Markdown, HTML and the generated documents call these, so that a number reads the
same wherever it stands. Data keeps bytes and seconds; only what is rendered comes through
here. Counts need no function: `f"{count:,}"`.
"""

from __future__ import annotations

import math

GIGA = 1_000_000_000
"""Bytes of a GB, as MLX prints it, and parameters of a B."""

MEGA = 1_000_000

_KILO = 1000

_LEAST_IN_MILLIONS = 10_000


def format_bytes(size: float) -> str:
    """Return a size in GB (10^9 bytes): `15.97 GB`, `0.132 GB`, `0.00441 GB`, `16 GB`.

    Three significant digits, but at least two decimals, so that a headroom of 0.03 GB under
    16 GB is seen. A whole number of GB, such as a budget, has no decimals. The unit is GB from
    1 MB upward, because sizes are compared with budgets; a smaller size is in kB or bytes.
    """
    gigabytes = size / GIGA
    # Rounded before the unit is chosen: 999,999 bytes are 0.00100 GB, not 1000 kB.
    if abs(_rounded(size)) >= MEGA:
        return f"{gigabytes:,.0f} GB" if gigabytes.is_integer() else f"{_fixed(gigabytes, 2)} GB"
    if abs(round(size)) >= _KILO:
        return f"{_fixed(size / _KILO, 0)} kB"
    return f"{size:.0f} bytes"


def format_interval(low: float, high: float) -> str:
    """Return two sizes in bytes as the ends of an interval."""
    return f"{format_bytes(low)} to {format_bytes(high)}"


def format_parameters(count: int) -> str:
    """Return the size of a model: `7.62 B`, `0.92 M`; under 10,000 in full."""
    if count < _LEAST_IN_MILLIONS:
        return f"{count:,}"
    millions = round(count / MEGA, 2)
    return f"{millions:.2f} M" if millions < _KILO else f"{count / GIGA:.2f} B"


def format_seconds(duration: float) -> str:
    """Return a duration in seconds to three digits: `0.0882 s`, `12.3 s`, `3,605 s`."""
    return f"{format_number(duration, 3)} s"


def format_duration(seconds: float) -> str:
    """Return how long something takes, in two units at most: `12.3 s`, `4 min 5 s`, `2 d 3 h`."""
    _require_finite(seconds)
    if seconds < _MINUTE:
        return format_seconds(seconds)
    left = round(seconds)
    parts: list[str] = []
    for name, size in (("d", 24 * 60 * _MINUTE), ("h", 60 * _MINUTE), ("min", _MINUTE), ("s", 1)):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {name}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 "))


_MINUTE = 60


def format_percent(percent: float, *, signed: bool = False) -> str:
    """Return a percentage with at most two decimals: `85 %`, `84.99 %`, `+3.7 %`.

    What is behind them is cut, never rounded: 84.999 % does not reach 85 %.
    """
    _require_finite(percent)
    number = f"{percent:.6f}"[:-4].rstrip("0").rstrip(".")
    number = "0" if number == "-0" else number
    return f"+{number} %" if signed and percent > 0 else f"{number} %"


def format_number(number: float, digits: int = 4) -> str:
    """Return a number with so many significant digits, without an exponent or trailing zeros.

    Integers, and the integer part of others, are complete.
    """
    if isinstance(number, int):
        return f"{number:,}"
    text = _fixed(number, 0, digits)
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_measurement(value: float | str, unit: str) -> str:
    """Return a measured value with its unit; a digest is shortened, a text stands as it is."""
    if isinstance(value, str):
        return value[:12] if unit == "sha256" else value
    if unit == "bytes":
        return format_bytes(value)
    if unit == "s":
        return format_seconds(float(value))
    if unit == "percent":
        return format_percent(value)
    number = format_number(value)
    return number if unit in {"count", "text", "ratio"} else f"{number} {unit}"


def format_limit(limit: str, unit: str) -> str:
    """Return a limit such as `<= 16000000000` with its bytes formatted, all else as it stands."""
    sign, _, number = limit.rpartition(" ")
    if unit == "bytes" and number.isascii() and number.isdigit() and int(number) >= MEGA:
        return f"{sign} {format_bytes(int(number))}"
    return limit


def _rounded(number: float, digits: int = 3) -> float:
    _require_finite(number)
    return float(f"{number:.{digits - 1}e}")


def _fixed(number: float, decimals: int, digits: int = 3) -> str:
    """Return a number with so many significant digits, and at least so many decimals."""
    rounded = _rounded(number, digits)
    before = math.floor(math.log10(abs(rounded))) + 1 if rounded else 1
    return f"{number:,.{max(decimals, digits - before)}f}"


def _require_finite(number: float) -> None:
    """Refuse what no reader can use and no JSON can hold.

    Raises:
        ValueError: The number is infinite or NaN.
    """
    if not math.isfinite(number):
        raise ValueError(f"{number!r} is not a finite number")
