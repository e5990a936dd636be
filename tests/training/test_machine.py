"""Session run2-machine: what it reads here, and how it judges what other machines say."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlx_preflight.core.errors import BlockedError
from mlx_preflight.core.result import Outcome, Status
from mlx_preflight.core.units import GIGA
from mlx_preflight.plan import register
from mlx_preflight.plan.options import TrainingRequest
from mlx_preflight.plan.settings import ProjectSettings
from mlx_preflight.run.context import Context
from mlx_preflight.runtime.device import DeviceReport
from mlx_preflight.training import (
    budget,
    contention,
    disk,
    machine,
    macos,
    open_files,
    power,
)
from mlx_preflight.training.budget import Budget
from mlx_preflight.training.contention import Contention, MlxProcess, SwapUse
from mlx_preflight.training.disk import DiskNeed, DiskSpace
from mlx_preflight.training.machine import MachineFacts
from mlx_preflight.training.open_files import OpenFiles
from mlx_preflight.training.power import PowerState
from mlx_preflight.training.training_run import TrainingRun, read_run
from tests.training.conftest import Judge, Write, failed

IDLE = Contention((), 0, SwapUse(GIGA, 5 * GIGA, GIGA), SwapUse(GIGA, 5 * GIGA, GIGA))
PLUGGED_IN = PowerState(mains=True, percent=80, low_power=False, sleep_min=1, slowed="")
SPACE = DiskSpace(Path("/x"), GIGA, (DiskNeed("adapters", Path("/x/a"), GIGA // 2),))

GOOD = MachineFacts(
    budget=Budget(16 * GIGA, 12 * GIGA, "Metal's working set", 11 * GIGA),
    memory_bytes=16 * GIGA,
    contention=IDLE,
    power=PLUGGED_IN,
    disk=(SPACE,),
    open_files=OpenFiles(256, -1, (2048, 4096), ""),
)


def judged(**changes: object) -> dict[str, Outcome]:
    """Return the outcome of every check on the good facts but for some."""
    facts = dataclasses.replace(GOOD, **changes)  # type: ignore[arg-type]  # (the fields differ by case)
    return {name: check(facts) for name, check in machine.CHECKS.items()}


def context_of(folder: Path, text: str, budget_bytes: int | None = None) -> Context:
    """Return the context of a run with a config."""
    (folder / "run.yaml").write_text(text, encoding="utf-8")
    request = TrainingRequest(("--config", "run.yaml"), budget_bytes)
    return Context.of(folder, ProjectSettings(), run_id="r1", training=request)


def run_of(folder: Path, text: str) -> TrainingRun:
    """Return the settings of a run with a config."""
    return read_run(context_of(folder, text))


def test_a_good_machine_passes() -> None:
    """Every check of the register is there, and none gives a false alarm."""
    found = judged()
    session, _ = register.find_session(register.RUN2_MACHINE)
    assert set(found) == {check.id for check in session.checks}
    assert {item.status for item in found.values()} == {Status.PASS}
    assert not any(item.remedy for item in found.values())


def test_the_budget_is_the_least_limit() -> None:
    """What is free less the margin, what is asked, or what is recommended decides."""
    least = Budget(16 * GIGA, 12 * GIGA, "Metal", 11 * GIGA)
    assert (least.budget_bytes, least.decided_by) == (10 * GIGA, budget.FREE)
    asked = dataclasses.replace(least, asked_bytes=8 * GIGA)
    assert (asked.budget_bytes, asked.decided_by) == (8 * GIGA, budget.ASKED)
    metal = dataclasses.replace(least, asked_bytes=None, device_bytes=9 * GIGA)
    assert (metal.budget_bytes, metal.decided_by) == (9 * GIGA, budget.DEVICE)


def test_all_three_limits_are_in_the_reason_and_the_measurements() -> None:
    """A reader sees what would have to change."""
    outcome = judged()[register.RUN2_1]
    assert all(text in outcome.reason for text in ("16 GB", "12 GB", "11 GB less 1 GB"))
    assert {item.name: item.value for item in outcome.measurements} == {
        "asked_bytes": 16 * GIGA,
        "device_bytes": 12 * GIGA,
        "free_bytes": 11 * GIGA,
        "margin_bytes": GIGA,
        "budget_bytes": 10 * GIGA,
    }


def test_no_free_memory_fails() -> None:
    """A budget under 0 is none."""
    outcome = judged(budget=Budget(None, 12 * GIGA, "Metal", GIGA // 2))[register.RUN2_1]
    assert outcome.status is Status.FAIL
    assert "nothing was asked" in outcome.reason


@pytest.mark.parametrize(
    ("check", "changes", "words"),
    [
        (
            register.RUN2_2,
            {"contention": dataclasses.replace(
                IDLE, processes=(MlxProcess(7, "python3.11", 4 * GIGA),)
            )},
            "python3.11 (pid 7) 4 GB",
        ),
        (
            register.RUN2_2,
            {"contention": dataclasses.replace(
                IDLE, after=SwapUse(GIGA, 5 * GIGA + 10**8, GIGA)
            )},
            "growing",
        ),
        (
            register.RUN2_3,
            {"power": dataclasses.replace(PLUGGED_IN, mains=False)},
            "battery powered: battery at 80 %",
        ),
        (
            register.RUN2_3,
            {"power": dataclasses.replace(PLUGGED_IN, low_power=True)},
            "low power mode on",
        ),
        (
            register.RUN2_3,
            {"power": dataclasses.replace(PLUGGED_IN, slowed="CPU speed limit 62 %")},
            "CPU speed limit 62 %",
        ),
        (
            register.RUN2_4,
            {"disk": (dataclasses.replace(SPACE, free_bytes=1000),)},
            "adapters 0.500 GB",
        ),
        (
            register.RUN2_5,
            {"open_files": OpenFiles(256, 1024, (2048, 4096), "ValueError: not allowed")},
            "soft 256, hard 1,024",
        ),
    ],
)  # fmt: skip
def test_a_fault_is_found_by_its_check_alone(
    check: str, changes: dict[str, object], words: str
) -> None:
    """The check names what it saw and what to do; all others pass."""
    found = judged(**changes)
    assert [name for name, item in found.items() if item.status is not Status.PASS] == [check]
    assert words in found[check].reason
    session, _ = register.find_session(register.RUN2_MACHINE)
    remedy = next(item.remedy for item in session.checks if item.id == check)
    assert found[check].remedy or remedy


def test_a_small_neighbour_and_swap_that_rests_pass() -> None:
    """A notebook that imported MLX, and a gigabyte in swap since yesterday, stop nobody."""
    small = dataclasses.replace(IDLE, processes=(MlxProcess(7, "python3.11", GIGA // 2),))
    assert judged(contention=small)[register.RUN2_2].status is Status.PASS


def test_a_mac_that_may_sleep_is_told_how_to_stay_awake() -> None:
    """Every Mac sleeps by default: a note, and never with the display on."""
    outcome = judged()[register.RUN2_3]
    assert "caffeinate -is" in outcome.reason
    assert "-d" not in outcome.reason


def test_a_server_says_that_it_has_no_battery() -> None:
    """What is not there is named, not left out."""
    server = PowerState(mains=True, percent=None, low_power=None, sleep_min=None, slowed=None)
    outcome = judged(power=server)[register.RUN2_3]
    assert outcome.status is Status.PASS
    assert outcome.reason == "mains powered: no battery found; temperature not told"


@pytest.mark.parametrize("name", ["budget", "contention", "power", "disk", "open_files"])
def test_what_cannot_be_read_blocks_its_check_alone(name: str) -> None:
    """No default takes its place."""
    facts = dataclasses.replace(GOOD, **{name: BlockedError("garbled")})  # type: ignore[arg-type]  # (the fields differ by case)
    blocked = []
    for check, judge in machine.CHECKS.items():
        try:
            judge(facts)
        except BlockedError:
            blocked.append(check)
    assert len(blocked) == 1


def test_the_device_recommends_its_own_limit() -> None:
    """Metal's working set, the memory of a GPU of its own, RAM on the CPU; else BLOCKED."""
    assert budget.device_bytes(DeviceReport("gpu", True, 12 * GIGA))[0] == 12 * GIGA
    assert budget.device_bytes(DeviceReport("gpu", True, total_bytes=80 * GIGA))[0] == 80 * GIGA
    assert budget.device_bytes(DeviceReport("cpu", False, 12 * GIGA))[1].startswith("physical")
    with pytest.raises(BlockedError, match="names no recommended"):
        budget.device_bytes(DeviceReport("gpu", True))


@pytest.mark.slow
def test_the_budget_of_this_machine_is_read(tmp_path: Path) -> None:
    """What was asked is least, and what is free is less than what there is."""
    found = budget.read_budget(context_of(tmp_path, "model: embedded\n", 10**6))
    assert found.budget_bytes == 10**6
    assert 0 < found.free_bytes <= found.device_bytes


@pytest.mark.slow
def test_another_mlx_process_is_seen_with_its_size(tmp_path: Path) -> None:
    """A child of a shell that has gone holds 300 MB; its command line is not kept."""
    ready, pid = tmp_path / "ready", tmp_path / "pid"
    code = (
        "import mlx.core, os, pathlib, time\n"
        "held = bytearray(b'x') * 300_000_000\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(60)"
    )
    # Orphaned at once: own children are left out of the list.
    start = (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]],"
        " stdout=-3, stderr=-3, start_new_session=True)"
    )
    subprocess.run([sys.executable, "-c", start, code], check=True, timeout=30)
    try:
        _wait_for(ready)
        processes, _ = contention.mlx_processes()
        own = {item.pid: item for item in processes}[int(pid.read_text())]
        assert own.held_bytes >= 300_000_000
        assert "held" not in own.name
    finally:
        subprocess.run(["kill", pid.read_text()], check=False, timeout=10)


def _wait_for(path: Path) -> None:
    for _ in range(300):
        if path.exists():
            return
        time.sleep(0.1)
    raise TimeoutError(path)


@pytest.mark.slow
def test_a_low_limit_of_open_files_is_found_by_trying() -> None:
    """Under a hard limit of 1024 mlx_lm's own limits are refused (not to root)."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (512, 1024))\n"
        "from mlx_preflight.training import open_files\n"
        "found = open_files.read_open_files()\n"
        "print(found.hard, found.wanted, bool(found.refusal))\n"
        "try:\n    import mlx_lm; print(False)\nexcept ValueError: print(True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    first, raised = done.stdout.splitlines()
    assert first == f"1024 (2048, 4096) {raised}"


def test_the_limits_are_those_of_the_installed_mlx_lm() -> None:
    """They are read from its source; it is not imported."""
    assert open_files.set_at_import() == (2048, 4096)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("iters: 1000\nsave_every: 100\ntrain: true\n", 11),
        ("iters: 99\nsave_every: 100\ntrain: true\n", 1),
        ("iters: 1000\nsave_every: 100\ntrain: false\n", 0),
    ],
)
def test_saves_are_counted(tmp_path: Path, text: str, count: int) -> None:
    """The numbered files and the last one; none without training."""
    assert disk.saves(run_of(tmp_path, text)) == count


@pytest.mark.parametrize("text", ["iters: many\n", "save_every: 0\n", "iters: true\n"])
def test_saves_that_cannot_be_counted_are_blocked(tmp_path: Path, text: str) -> None:
    """A setting that is no number gives no number of files."""
    with pytest.raises(BlockedError, match="cannot be counted"):
        disk.saves(run_of(tmp_path, f"train: true\n{text}"))


def test_a_model_that_is_here_needs_no_download(tmp_path: Path) -> None:
    """Eleven files of the adapters' size, in the folder of the run."""
    run = run_of(tmp_path, "model: embedded\ntrain: true\niters: 1000\nadapter_path: out/a\n")
    assert disk.needs(run, 1000) == [DiskNeed("adapters", tmp_path / "out/a", 11_000)]
    (space,) = disk.spaces(disk.needs(run, 1000))
    assert space.folder == tmp_path
    assert space.needed_bytes == 11_000


def test_a_model_that_is_absent_needs_its_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size of a built-in model is known without a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    run = run_of(tmp_path, "model: Qwen/Qwen2.5-Coder-7B-Instruct\ntrain: true\n")
    adapters, download = disk.needs(run, 1000)
    assert adapters.needed_bytes == 11_000
    assert download.name == "model"
    assert 14 * GIGA < download.needed_bytes < 16 * GIGA


@pytest.mark.slow
def test_the_disk_of_a_run_is_judged(write_run: Write, judge_run: Judge) -> None:
    """Adapters are counted by the trainer's own classes; settings it refuses block the check."""
    found = judge_run(write_run(iters=100, save_every=10), register.RUN2_MACHINE)
    assert found[register.RUN2_4].status is Status.PASS
    assert "adapters" in found[register.RUN2_4].reason
    assert failed(found) <= {register.RUN2_2}  # other work may go on here


@pytest.mark.slow
def test_adapters_of_unknown_size_are_blocked(write_run: Write, judge_run: Judge) -> None:
    """Settings that mlx_lm refuses give no size, and none is taken for it."""
    found = judge_run(write_run(num_layers=99), register.RUN2_MACHINE)
    assert found[register.RUN2_4].status is Status.BLOCKED
    assert "num_layers is 99" in found[register.RUN2_4].reason


RECORDED = Path(__file__).parent / "recorded"

MAC = {
    macos.VM_STAT: "vm_stat-macos26",
    macos.SWAP_USAGE: "swapusage-macos26",
    macos.WIRED_LIMIT: "wired_limit-macos15-default",
    macos.BATTERY: "batt-macos13-battery",
    macos.POWER_SETTINGS: "pmset-macos15-m3",
    macos.THERMAL: "therm-macos15-m3",
}


def test_a_mac_is_read_by_its_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """What each command printed ends in the figure that it stands for."""
    monkeypatch.setattr(macos, "is_running", lambda: True)
    monkeypatch.setattr(
        macos, "ask", lambda command: (RECORDED / f"{MAC[command]}.txt").read_text(encoding="utf-8")
    )
    gpu = DeviceReport("gpu", True, 12 * GIGA)
    assert budget.device_bytes(gpu) == (12 * GIGA, "Metal's working set")
    assert budget.free_bytes(gpu) == (10069 + 398262 + 11278) * 16384
    swap = contention.swap_use()
    assert (swap.used_bytes, swap.wired_bytes) == (10160638525, 171481 * 16384)
    state = power.read_power()
    assert state == PowerState(mains=False, percent=78, low_power=False, sleep_min=1, slowed="")
    limited = {**MAC, macos.WIRED_LIMIT: "wired_limit-macos26-set"}
    monkeypatch.setattr(
        macos, "ask", lambda command: (RECORDED / f"{limited[command]}.txt").read_text()
    )
    large = DeviceReport("gpu", True, 50 * GIGA)
    assert budget.device_bytes(large) == (40960 * 2**20, "iogpu.wired_limit_mb")
