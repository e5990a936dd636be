"""Outputs of macOS 12 to 26: each is understood, and a garbled one is BLOCKED."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mlx_preflight.core.errors import BlockedError
from mlx_preflight.training import macos
from mlx_preflight.training.macos import PowerSettings
from mlx_preflight.training.power_supply import PowerSupply

RECORDED = Path(__file__).parent / "recorded"
PAGE = 16384

Parser = Callable[[str], object]


def recorded(name: str) -> str:
    """Return a recorded output."""
    return (RECORDED / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "pages"),
    [
        ("vm_stat-macos12", (5961, 180274, 1544, 119704, 618304)),
        ("vm_stat-macos15", (9436, 1021174, 22877, 184732, 0)),
        ("vm_stat-macos26", (10069, 398262, 11278, 171481, 3028624)),
    ],
)
def test_pages_are_read_in_bytes(name: str, pages: tuple[int, ...]) -> None:
    """Free, file-backed, purgeable, wired and swapped out; available is the sum of three."""
    found = macos.parse_vm_stat(recorded(name))
    assert found == macos.VirtualMemory(*(count * PAGE for count in pages))
    assert found.available_bytes == sum(pages[:3]) * PAGE


@pytest.mark.parametrize("name", ["vm_stat-macos12", "vm_stat-macos15", "vm_stat-macos26"])
def test_file_backed_pages_include_the_speculative_ones(name: str) -> None:
    """Active, inactive and speculative are file-backed and anonymous: nothing counts twice."""
    count = {
        line[1]: int(line[2])
        for line in re.finditer(r"^([\w -]+):\s+(\d+)\.$", recorded(name), re.MULTILINE)
    }
    queues = sum(count[f"Pages {kind}"] for kind in ("active", "inactive", "speculative"))
    assert queues == count["File-backed pages"] + count["Anonymous pages"]


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("swapusage-macos26", 10160638525),
        ("swapusage-macos14", 537133056),
        ("swapusage-macos13-german", 1898446848),
        ("swapusage-macos15-none", 0),
    ],
)
def test_swap_is_read_in_bytes(name: str, size: int) -> None:
    """A decimal comma is one, too."""
    assert macos.parse_swap_used(recorded(name)) == size


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("wired_limit-macos13", None),
        ("wired_limit-macos15-default", None),
        ("wired_limit-macos26-set", 40960 * 2**20),
    ],
)
def test_a_wired_limit_counts_where_one_is_set(name: str, limit: int | None) -> None:
    """0 is the default, and macOS 13 has no such setting."""
    assert macos.parse_wired_limit(recorded(name)) == limit


@pytest.mark.parametrize(
    ("name", "report"),
    [
        ("batt-macos15-charging", PowerSupply(mains=True, percent=83)),
        ("batt-macos14-held-at-80", PowerSupply(mains=True, percent=80)),
        ("batt-macos13-battery", PowerSupply(mains=False, percent=78)),
        ("batt-macos26-mac-mini", PowerSupply(mains=True, percent=None)),
        ("batt-macos14-ups", PowerSupply(mains=False, percent=None)),
    ],
)
def test_the_power_source_is_read(name: str, report: PowerSupply) -> None:
    """Mains, battery or UPS, with the charge of a built-in battery."""
    assert macos.parse_battery(recorded(name)) == report


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("pmset-macos12-m1", PowerSettings(sleep_min=1, low_power=True)),
        ("pmset-macos15-m3", PowerSettings(sleep_min=1, low_power=False)),
        ("pmset-macos14-m1-max", PowerSettings(sleep_min=0, low_power=False)),
        ("pmset-macos26-mac-studio", PowerSettings(sleep_min=0, low_power=None)),
    ],
)
def test_sleep_and_low_power_are_read(name: str, settings: PowerSettings) -> None:
    """`powermode` 2 is high power, and a disabled sleep never comes."""
    assert macos.parse_power_settings(recorded(name)) == settings


@pytest.mark.parametrize(
    ("name", "slowed"),
    [
        ("therm-macos15-m3", ""),
        ("therm-macos14-full-speed", ""),
        ("therm-macos13-throttled", "CPU scheduler limit 80 %, CPU speed limit 62 %"),
        ("therm-macos26-warning", "thermal warning level 5"),
    ],
)
def test_the_temperature_is_read(name: str, slowed: str) -> None:
    """Levels above 0 and limits under 100 % slow a run; notes that there is none do not."""
    assert macos.parse_thermal(recorded(name)) == slowed


@pytest.mark.parametrize(
    "parser",
    [
        macos.parse_vm_stat,
        macos.parse_swap_used,
        macos.parse_wired_limit,
        macos.parse_battery,
        macos.parse_power_settings,
        macos.parse_thermal,
    ],
)
@pytest.mark.parametrize(
    "text", ["", "Killed: 9", "Segmentation fault: 11\n", "-1", "\x1b[31mError: code 0xe00002c0"]
)
def test_a_garbled_output_is_blocked(parser: Parser, text: str) -> None:
    """No number is made up, and the reason repeats what was printed in printable form."""
    with pytest.raises(BlockedError, match="does not say") as caught:
        parser(text)
    assert str(caught.value).isprintable()
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "line", "parser"),
    [
        ("vm_stat-macos26", "page size of 16384 bytes", macos.parse_vm_stat),
        ("vm_stat-macos26", "File-backed pages:", macos.parse_vm_stat),
        ("vm_stat-macos26", "Swapouts:", macos.parse_vm_stat),
        ("pmset-macos15-m3", "Currently in use:", macos.parse_power_settings),
        ("pmset-macos15-m3", " sleep  ", macos.parse_power_settings),
        ("swapusage-macos26", "used", macos.parse_swap_used),
    ],
)
def test_a_line_less_is_blocked(name: str, line: str, parser: Parser) -> None:
    """What a later version renames is not taken for 0."""
    text = recorded(name)
    assert line in text
    with pytest.raises(BlockedError):
        parser(text.replace(line, "renamed "))


def test_an_unknown_thermal_level_is_blocked() -> None:
    """255 is IOKit's word for unknown."""
    with pytest.raises(BlockedError, match="how warm"):
        macos.parse_thermal(recorded("therm-unknown-level"))
