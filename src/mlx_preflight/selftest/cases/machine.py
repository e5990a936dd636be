"""Cases of run2-machine: memory, power, disk and limits of the machine."""

from __future__ import annotations

from pathlib import Path

from mlx_preflight.core.errors import BlockedError
from mlx_preflight.core.result import Status
from mlx_preflight.core.units import GIGA
from mlx_preflight.plan import register as plan
from mlx_preflight.selftest.injection.bases import run_config, run_settings
from mlx_preflight.selftest.injection.case import Case, Kit, Sample, Step
from mlx_preflight.selftest.injection.steps import answered, changed, replaced
from mlx_preflight.training.budget import Budget
from mlx_preflight.training.contention import Contention, MlxProcess, SwapUse
from mlx_preflight.training.disk import DiskNeed, DiskSpace
from mlx_preflight.training.open_files import OpenFiles
from mlx_preflight.training.power import PowerState

RESTING = SwapUse(GIGA, 5 * GIGA, GIGA)
IDLE = Contention((), 0, RESTING, RESTING)
PLUGGED_IN = PowerState(mains=True, percent=80, low_power=False, sleep_min=1, slowed="")
ROOM = Budget(16 * GIGA, 12 * GIGA, "Metal's working set", 11 * GIGA)
FULL = DiskSpace(Path("/x"), 1000, (DiskNeed("adapters", Path("/x/a"), GIGA // 2),))


def power(**fields: object) -> PowerState:
    """Return the state of a machine that is plugged in, but for some fields."""
    known = {name: getattr(PLUGGED_IN, name) for name in PowerState.__dataclass_fields__}
    return PowerState(**{**known, **fields})


def resting(sample: Sample) -> None:
    """Put a machine that rests in the place of the one that runs these cases side by side."""
    answered(
        memory_bytes=16 * GIGA,
        budget=ROOM,
        contention=IDLE,
        power=PLUGGED_IN,
        open_files=OpenFiles(256, -1, (2048, 4096), ""),
    )(sample)


KIT = Kit(plan.RUN2_MACHINE, (run_config, resting))

TRAINERS = Contention((MlxProcess(7, "python3.11", 4 * GIGA),), 0, RESTING, RESTING)
NOTEBOOK = Contention((MlxProcess(7, "python3.11", GIGA // 2),), 3, RESTING, RESTING)
SWAPPING = Contention((), 0, RESTING, SwapUse(GIGA, 5 * GIGA + 10**8, GIGA))

ANSWERS: dict[str, tuple[str, Step]] = {
    "no memory is left": (
        plan.RUN2_1,
        answered(budget=Budget(None, 12 * GIGA, "Metal", GIGA // 2)),
    ),
    "another trainer": (plan.RUN2_2, answered(contention=TRAINERS)),
    "swap that grows": (plan.RUN2_2, answered(contention=SWAPPING)),
    "on battery": (plan.RUN2_3, answered(power=power(mains=False))),
    "low power mode": (plan.RUN2_3, answered(power=power(low_power=True))),
    "a throttled CPU": (plan.RUN2_3, answered(power=power(slowed="CPU speed limit 62 %"))),
    "a full disk": (plan.RUN2_4, answered(disk=(FULL,))),
    "a hard limit of open files": (
        plan.RUN2_5,
        answered(open_files=OpenFiles(256, 1024, (2048, 4096), "ValueError: not allowed")),
    ),
}


def unread(name: str) -> Step:
    """Return what says that a fact of the machine cannot be read."""
    return changed(lambda facts: replaced(facts, "", {name: BlockedError("garbled")}))


FACTS = {
    plan.RUN2_1: "budget",
    plan.RUN2_2: "contention",
    plan.RUN2_3: "power",
    plan.RUN2_4: "disk",
    plan.RUN2_5: "open_files",
}

CASES: tuple[Case, ...] = (
    KIT.clean("as it is"),
    KIT.clean("a notebook beside it", answered(contention=NOTEBOOK), near=plan.RUN2_2, answer=True),
    KIT.clean(
        "a server without a battery",
        answered(power=power(percent=None, low_power=None, sleep_min=None, slowed=None)),
        near=plan.RUN2_3,
        answer=True,
    ),
    KIT.clean("ten saves", run_settings(iters=100, save_every=10), near=plan.RUN2_4),
    KIT.clean(
        "what was asked is least",
        answered(budget=Budget(2 * GIGA, 12 * GIGA, "Metal", 11 * GIGA)),
        near=plan.RUN2_1,
        answer=True,
    ),
    KIT.clean(
        "a limit that root may raise",
        answered(open_files=OpenFiles(256, 1024, (2048, 4096), "")),
        near=plan.RUN2_5,
        answer=True,
    ),
    KIT.defect(
        plan.RUN2_4, "more saves than the disk holds", run_settings(iters=10**9, save_every=1)
    ),
    KIT.defect(
        plan.RUN2_4,
        "adapters of unknown size",
        run_settings(num_layers=99),
        status=Status.BLOCKED,
    ),
    *(KIT.defect(check, name, step, answer=True) for name, (check, step) in ANSWERS.items()),
    *(
        KIT.defect(
            check,
            f"{name} that cannot be read",
            unread(name),
            status=Status.BLOCKED,
            answer=True,
        )
        for check, name in FACTS.items()
    ),
)
