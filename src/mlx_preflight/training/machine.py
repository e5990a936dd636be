"""Run 2: budget, memory, power, disk and limits of this machine suffice for the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mlx_preflight.core import environment
from mlx_preflight.core.errors import BlockedError, PreflightError, or_error
from mlx_preflight.core.result import Measurement, Outcome, Status
from mlx_preflight.core.units import format_bytes
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context
from mlx_preflight.training import adapters, contention, disk, open_files, power
from mlx_preflight.training.budget import Budget, read_budget
from mlx_preflight.training.contention import Contention
from mlx_preflight.training.disk import DiskSpace
from mlx_preflight.training.open_files import OpenFiles
from mlx_preflight.training.power import PowerState
from mlx_preflight.training.training_run import require_run

HELD_SHARE = 0.1
"""Share of the RAM from which other MLX processes fail the check: two trainers each wire what
Metal recommends, and the system has paged or panicked (mlx-lm#828, #1252, mlx#3186)."""

SWAPPING_BYTES = 4_000_000
"""Swapped out within the second of watching: less is the background of a machine that rests."""

AWAKE = "start it with `caffeinate -is`"
"""Never `-d`: with a display on, the GPU's watchdog stops long steps (mlx#3267)."""


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """Facts of run 2, or why each of them is not known."""

    budget: Budget | PreflightError
    memory_bytes: int
    contention: Contention | PreflightError
    power: PowerState | PreflightError
    disk: tuple[DiskSpace, ...] | PreflightError
    open_files: OpenFiles | PreflightError


def gather(_: Session, context: Context) -> MachineFacts:
    """Read budget, memory, power, disk and limits."""
    # First: reading the run imports mlx_lm, which lowers the limit of this process.
    files = or_error(open_files.read_open_files)
    return MachineFacts(
        budget=or_error(lambda: read_budget(context)),
        memory_bytes=environment.memory_bytes(),
        contention=or_error(contention.watch),
        power=or_error(power.read_power),
        disk=or_error(lambda: _disk(context, files)),
        open_files=files,
    )


def _disk(context: Context, files: OpenFiles | PreflightError) -> tuple[DiskSpace, ...]:
    if isinstance(files, OpenFiles) and files.refusal:
        raise BlockedError("mlx_lm cannot be imported here", hint=f"see {register.RUN2_5}")
    run = require_run(context)
    try:
        # Full fine-tuning saves what it trains, so it counts as adapters, too.
        size = adapters.of_run(run).nbytes if run.settings["train"] else 0
    except PreflightError as error:
        reason = f"the size of the adapters is not known: {error}"
        raise BlockedError(reason, hint=error.hint or f"see {register.RUN1_6}") from error
    return disk.spaces(disk.needs(run, size))


def run2_1(facts: MachineFacts) -> Outcome:
    """Report the budget and the limits that it is the least of."""
    if isinstance(facts.budget, PreflightError):
        raise facts.budget
    budget = facts.budget
    limits = {
        "device_bytes": budget.device_bytes,
        "free_bytes": budget.free_bytes,
        "margin_bytes": budget.margin_bytes,
        "budget_bytes": budget.budget_bytes,
    }
    if budget.asked_bytes is not None:
        limits = {"asked_bytes": budget.asked_bytes, **limits}
    measurements = tuple(Measurement(name, size, "bytes") for name, size in limits.items())
    if budget.budget_bytes <= 0:
        reason = f"no memory is left for the run; {budget.describe()}"
        return Outcome(Status.FAIL, reason, None, measurements, "close other programs")
    reason = f"{format_bytes(budget.budget_bytes)}, {budget.decided_by}; {budget.describe()}"
    return Outcome(Status.PASS, reason, None, measurements)


def run2_2(facts: MachineFacts) -> Outcome:
    """Name other MLX processes, and compare two looks at swap."""
    found = facts.contention
    if isinstance(found, PreflightError):
        raise found
    measurements = [
        Measurement("mlx_processes_bytes", found.held_bytes, "bytes"),
        Measurement("mlx_processes", len(found.processes), "count"),
        Measurement("unseen_processes", found.unseen, "count"),
        Measurement("swap_bytes", found.after.used_bytes, "bytes"),
        Measurement("swapped_out_bytes", found.swapped_out_bytes, "bytes"),
    ]
    wired = found.after.wired_bytes
    if wired is not None:
        measurements.append(Measurement("wired_bytes", wired, "bytes"))
    listed = ", ".join(
        f"{item.name} (pid {item.pid}) {format_bytes(item.held_bytes)}" for item in found.processes
    )
    swap = f"{format_bytes(found.after.used_bytes)} in swap"
    swap += ", not growing" if found.swapped_out_bytes < SWAPPING_BYTES else ", growing"
    reason = f"other MLX processes: {listed or 'none seen'}; {swap}"
    reason += "" if wired is None else f"; {format_bytes(wired)} wired"
    bad = found.held_bytes >= HELD_SHARE * facts.memory_bytes
    bad = bad or found.swapped_out_bytes >= SWAPPING_BYTES
    return Outcome(Status.FAIL if bad else Status.PASS, reason, None, tuple(measurements))


def run2_3(facts: MachineFacts) -> Outcome:
    """Report power source, power saving, sleep and temperature."""
    state = facts.power
    if isinstance(state, PreflightError):
        raise state
    charge = "no battery found" if state.percent is None else f"battery at {state.percent} %"
    said = [f"{'mains' if state.mains else 'battery'} powered: {charge}"]
    remedies = [] if state.mains else ["plug the machine in"]
    if state.low_power is not None:
        said.append(f"low power mode {'on' if state.low_power else 'off'}")
        remedies += ["turn the low power mode off"] if state.low_power else []
    if state.sleep_min:
        said.append(f"sleeps after {state.sleep_min} min without use: {AWAKE}")
    elif state.sleep_min == 0:
        said.append("never sleeps")
    said.append("temperature not told" if state.slowed is None else state.slowed or "not throttled")
    remedies += ["let the machine cool down, and free its vents"] if state.slowed else []
    measurements = [Measurement("power_source", "mains" if state.mains else "battery", "text")]
    if state.percent is not None:
        measurements.append(Measurement("battery_percent", state.percent, "percent"))
    if state.sleep_min is not None:
        measurements.append(Measurement("sleep_s", 60 * state.sleep_min, "s"))
    return Outcome(
        Status.FAIL if remedies else Status.PASS,
        "; ".join(said),
        None,
        tuple(measurements),
        "; ".join(remedies),
    )


def run2_4(facts: MachineFacts) -> Outcome:
    """Compare what the run writes with the space where it writes."""
    if isinstance(facts.disk, PreflightError):
        raise facts.disk
    said, measurements = [], []
    for space in facts.disk:
        parts = " and ".join(f"{n.name} {format_bytes(n.needed_bytes)}" for n in space.needs)
        said.append(f"{parts}, {format_bytes(space.free_bytes)} free at {space.folder}")
        limit = f"<= {space.free_bytes}"
        name = "_".join(need.name for need in space.needs)
        measurements.append(Measurement(f"{name}_bytes", space.needed_bytes, "bytes", limit))
    short = any(space.needed_bytes > space.free_bytes for space in facts.disk)
    return Outcome(
        Status.FAIL if short else Status.PASS,
        "; ".join(said) or "the run writes nothing",
        None,
        tuple(measurements),
    )


def run2_5(facts: MachineFacts) -> Outcome:
    """Report whether mlx_lm may set the limit of open files that it sets at import."""
    files = facts.open_files
    if isinstance(files, PreflightError):
        raise files
    names = {"soft": files.soft, "hard": files.hard}
    limits = ", ".join(f"{name} {'none' if n < 0 else f'{n:,}'}" for name, n in names.items())
    measurements = tuple(Measurement(f"{k}_files", v, "count") for k, v in names.items() if v >= 0)
    if files.wanted is None:
        return Outcome(Status.PASS, f"{limits}; mlx_lm sets none", None, measurements)
    wanted = "({:,}, {:,})".format(*files.wanted)
    if files.refusal:
        reason = f"importing mlx_lm fails: it sets {wanted}, the limits are {limits}"
        remedy = f"raise it: `ulimit -Hn {files.wanted[1]}`"
        return Outcome(Status.FAIL, f"{reason}: {files.refusal}", None, measurements, remedy)
    reason = f"{limits}; mlx_lm may set {wanted}"
    return Outcome(Status.PASS, reason, None, measurements)


CHECKS: dict[str, Callable[[MachineFacts], Outcome]] = {
    register.RUN2_1: run2_1,
    register.RUN2_2: run2_2,
    register.RUN2_3: run2_3,
    register.RUN2_4: run2_4,
    register.RUN2_5: run2_5,
}
