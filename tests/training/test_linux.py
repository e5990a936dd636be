"""Files of Linux: groups, supplies and counters are understood, and garbled ones are BLOCKED."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mlx_preflight.core.errors import BlockedError
from mlx_preflight.training import linux, power
from mlx_preflight.training.power_supply import PowerSupply

RECORDED = Path(__file__).parent / "recorded"
GIB = 2**30


@pytest.mark.parametrize(
    ("name", "free"),
    [
        ("cgroup-v2-docker", 8 * GIB - (6 * GIB - 5 * GIB)),
        ("cgroup-v2-desktop", None),
        ("cgroup-v2-slurm", 16 * GIB - (GIB - 73_741_824)),
        ("cgroup-v1-docker", 4 * GIB - (3 * GIB - 2 * GIB)),
        ("cgroup-v1-unlimited", None),
        ("server", None),
    ],
)
def test_a_group_leaves_its_limit_less_what_cannot_be_dropped(name: str, free: int | None) -> None:
    """Own group or a parent, versions 1 and 2, a container's path, and no limit at all."""
    assert linux.cgroup_free_bytes(RECORDED / name) == free


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("sys/fs/cgroup/memory.max", "lots"),
        ("sys/fs/cgroup/memory.current", ""),
        ("sys/fs/cgroup/memory.stat", "anon 5"),
        ("proc/self/cgroup", "nonsense"),
    ],
)
def test_a_garbled_group_is_blocked(tmp_path: Path, file: str, text: str) -> None:
    """A limit that is not understood is not taken for none."""
    shutil.copytree(RECORDED / "cgroup-v2-docker", tmp_path, dirs_exist_ok=True)
    (tmp_path / file).write_text(text, encoding="utf-8")
    with pytest.raises(BlockedError, match="does not say"):
        linux.cgroup_free_bytes(tmp_path)


def test_a_limit_without_a_usage_is_blocked(tmp_path: Path) -> None:
    """A file that is missing beside the limit is named."""
    shutil.copytree(RECORDED / "cgroup-v2-docker", tmp_path, dirs_exist_ok=True)
    (tmp_path / "sys/fs/cgroup/memory.current").unlink()
    with pytest.raises(BlockedError, match=r"memory\.current"):
        linux.cgroup_free_bytes(tmp_path)


@pytest.mark.parametrize(
    ("name", "supply", "low"),
    [
        ("laptop-battery", PowerSupply(mains=False, percent=64), True),
        ("laptop-plugged-in", PowerSupply(mains=True, percent=79), False),
        ("server", PowerSupply(mains=True, percent=None), None),
    ],
)
def test_the_power_source_is_read(name: str, supply: PowerSupply, low: bool | None) -> None:
    """The battery of a mouse is none of the machine's, and a server has none."""
    assert linux.power_supply(RECORDED / name) == supply
    assert linux.low_power(RECORDED / name) is low


def test_a_garbled_supply_is_blocked(tmp_path: Path) -> None:
    """A battery whose state is not known, without mains online, is not taken for charging."""
    shutil.copytree(RECORDED / "laptop-battery", tmp_path, dirs_exist_ok=True)
    (tmp_path / "sys/class/power_supply/BAT0/status").write_text("?", encoding="utf-8")
    with pytest.raises(BlockedError, match="charging"):
        linux.power_supply(tmp_path)


def test_throttled_cpus_are_those_whose_counter_grows() -> None:
    """An old count means nothing, and no counters mean not told."""
    before = linux.throttle_counts(RECORDED / "laptop-battery")
    assert before == {"cpu0": 12, "cpu1": 0}
    assert power.throttled(before, before) == ""
    assert power.throttled(before, {"cpu0": 13, "cpu1": 0}) == "1 of 2 CPUs throttled"
    assert linux.throttle_counts(RECORDED / "server") is None
