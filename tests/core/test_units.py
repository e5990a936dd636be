"""Tests of how numbers read, by table."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_preflight.core import units


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 bytes"),
        (1, "1 bytes"),
        (999, "999 bytes"),
        (999.7, "1.00 kB"),
        (1000, "1.00 kB"),
        (12_345, "12.3 kB"),
        (999_499, "999 kB"),
        (999_999, "0.00100 GB"),
        (1_000_000, "0.00100 GB"),
        (4_406_000, "0.00441 GB"),
        (24_000_000, "0.0240 GB"),
        (99_960_000, "0.100 GB"),
        (100_000_000, "0.100 GB"),
        (131_900_000, "0.132 GB"),
        (999_600_000, "1.00 GB"),
        (1_000_000_000, "1 GB"),
        (6_252_000_000, "6.25 GB"),
        (15_972_300_000, "15.97 GB"),
        (15_999_999_999, "16.00 GB"),
        (16_000_000_000, "16 GB"),
        (16e9, "16 GB"),
        (128_849_018_880, "128.85 GB"),
        (10**18 + 1, "1,000,000,000 GB"),
        (1_234_567_890_123, "1,234.57 GB"),
        (-1, "-1 bytes"),
        (-27_750_000, "-0.0278 GB"),
        (-2_000_000_000, "-2 GB"),
        (-2_100_000_000, "-2.10 GB"),
    ],
)
def test_bytes_are_gigabytes(size: float, shown: str) -> None:
    """GB from 1 MB on, three digits or two decimals, a whole number without them."""
    assert units.format_bytes(size) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (10_000, "0.01 M"),
        (100_000, "0.10 M"),
        (919_680, "0.92 M"),
        (999_994_999, "999.99 M"),
        (999_995_001, "1.00 B"),
        (7_615_616_512, "7.62 B"),
        (1_000_000_000_000, "1000.00 B"),
    ],
)
def test_parameters_are_millions_or_billions(count: int, shown: str) -> None:
    """Two decimals, in the unit in which models are named."""
    assert units.format_parameters(count) == shown


@pytest.mark.parametrize(
    ("duration", "shown"),
    [
        (0, "0 s"),
        (0.0, "0 s"),
        (0.000_012_3, "0.0000123 s"),
        (0.088_23, "0.0882 s"),
        (0.9996, "1 s"),
        (1.0, "1 s"),
        (12.345, "12.3 s"),
        (123.45, "123 s"),
        (3605.4, "3,605 s"),
    ],
)
def test_seconds_have_three_digits(duration: float, shown: str) -> None:
    """Short ones keep their digits, long ones are whole seconds."""
    assert units.format_seconds(duration) == shown


@pytest.mark.parametrize(
    ("percent", "signed", "shown"),
    [
        (0, False, "0 %"),
        (-0.001, False, "0 %"),
        (84.999, False, "84.99 %"),
        (84.6, False, "84.6 %"),
        (85, False, "85 %"),
        (100.0, False, "100 %"),
        (3.7, True, "+3.7 %"),
        (-3.708, True, "-3.7 %"),
        (0.0, True, "0 %"),
    ],
)
def test_a_percentage_is_cut(percent: float, signed: bool, shown: str) -> None:
    """A share just under a limit never reads as if it reached it."""
    assert units.format_percent(percent, signed=signed) == shown


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (77_824, "count", "77,824"),
        (812.345, "tokens/s", "812.3 tokens/s"),
        (12_345.6, "tokens/s", "12,346 tokens/s"),
        (0.5, "ratio", "0.5"),
        (100.0, "ratio", "100"),
        (5, "days", "5 days"),
        (4.731e9, "bytes", "4.73 GB"),
        (2, "s", "2 s"),
        (84.999, "percent", "84.99 %"),
        ("a" * 64, "sha256", "a" * 12),
        ("none: not on Metal", "text", "none: not on Metal"),
    ],
)
def test_a_measurement_reads_like_its_unit(value: Any, unit: str, shown: str) -> None:
    """A value in a table of figures reads as in a sentence."""
    assert units.format_measurement(value, unit) == shown


def test_a_limit_is_read_like_its_value() -> None:
    """Sixteen billion bytes are 16 GB; counts, texts and small limits stand as they are."""
    assert units.format_limit("<= 16000000000", "bytes") == "<= 16 GB"
    assert units.format_limit(">= 1", "bytes") == ">= 1"
    assert units.format_limit("within 10", "percent") == "within 10"


@pytest.mark.parametrize("function", [units.format_bytes, units.format_seconds])
@pytest.mark.parametrize("value", [None, "1", float("inf"), float("nan")])
def test_what_is_no_number_is_refused(function: Any, value: Any) -> None:
    """A missing value must not read like a small one."""
    with pytest.raises((TypeError, ValueError)):
        function(value)


@given(st.floats(allow_nan=False, allow_infinity=False, width=32), st.integers(1, 6))
def test_any_number_can_be_shown(number: float, digits: int) -> None:
    """No exponent, no empty text, and never far from the number itself."""
    text = units.format_number(number, digits)
    assert "e" not in text
    assert float(text.replace(",", "")) == pytest.approx(number, rel=0.6 * 10 ** (1 - digits))
