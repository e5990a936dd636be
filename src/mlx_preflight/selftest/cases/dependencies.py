"""Cases of AC8: dependencies that are missing, loose, in conflict or vulnerable."""

from __future__ import annotations

from mlx_preflight.core.result import Status
from mlx_preflight.plan import register as plan
from mlx_preflight.selftest.cases.installation import CONFLICT, child
from mlx_preflight.selftest.cases.results import result
from mlx_preflight.selftest.injection.bases import package
from mlx_preflight.selftest.injection.case import Case, Kit, Step
from mlx_preflight.selftest.injection.installed import conflict
from mlx_preflight.selftest.injection.steps import answered, edit, remove, write

GOOD = (
    "mlx-lm>=0.32,<0.33",
    "mlx>=0.32,<0.33",
    "transformers>=5.7,<6",
    "huggingface-hub>=1.5,<3",
)

AUDITED = result(plan.GATE8_AUDIT, reason="40 audited")

KIT = Kit(plan.AC8_DEPENDENCIES, (package(*GOOD), AUDITED))

NAMES = dict(zip(("mlx-lm", "mlx", "transformers", "huggingface-hub"), GOOD, strict=True))
CHECKS = dict(zip(NAMES, (plan.AC8_1, plan.AC8_2, plan.AC8_3, plan.AC8_4), strict=True))


def instead_of(name: str, line: str | None) -> Step:
    """Return what gives a dependency another line, or none."""
    lines = [line if item == name else known for item, known in NAMES.items()]
    return package(*(item for item in lines if item))


def resolved(*others: str) -> tuple[str, ...]:
    """Return what an installation that is not tried turns red besides."""
    return (plan.AC8_6, plan.AC8_7, *others)


UNMET = "no-such-distribution-as-this-one>=1,<2"
"""A requirement that no index meets: nothing is installed, which costs no time."""


def dropped() -> tuple[Case, ...]:
    """Return the cases of each of the four packages."""
    made = []
    for name, check in CHECKS.items():
        rest = tuple(line for item, line in NAMES.items() if item != name)
        for what, line, also in (
            ("is missing", None, ()),
            ("has no upper bound", f"{name}>=0.1", (plan.AC8_5,)),
            ("has no bound", name, (plan.AC8_5,)),
            ("is for another Python", f"{NAMES[name]}; python_version < '3'", ()),
        ):
            lines = (*rest, *((line,) if line else ()), UNMET)
            made.append(KIT.defect(check, f"{name} {what}", package(*lines), along=resolved(*also)))
    return tuple(made)


EXTRA = '[project.optional-dependencies]\ndev = ["no-such-thing-y"]\n[tool.hatch'

CASES: tuple[Case, ...] = (
    KIT.clean("as it is"),
    KIT.clean(
        "bounds on two lines",
        package("mlx-lm>=0.32", "mlx_lm<0.33", *GOOD[1:]),
        near=(plan.AC8_1, plan.AC8_5),
    ),
    KIT.clean(
        "a marker that holds here",
        instead_of("transformers", f"{NAMES['transformers']}; python_version >= '3.8'"),
        near=plan.AC8_3,
    ),
    *dropped(),
    KIT.defect(plan.AC8_5, "an extra without bounds", edit("pyproject.toml", "[tool.hatch", EXTRA)),
    KIT.defect(
        plan.AC8_6,
        "a package that does not build",
        edit("pyproject.toml", "hatchling.build", "no_such_backend"),
        along=[plan.AC8_7],
    ),
    KIT.defect(
        plan.AC8_6, "a dependency that nobody has", package(*GOOD, UNMET), along=[plan.AC8_7]
    ),
    KIT.defect(plan.AC8_7, "a package in conflict", *conflict()),
    KIT.defect(plan.AC8_7, "a conflict", answered("clean", pip_check=CONFLICT), answer=True),
    KIT.defect(
        plan.AC8_7,
        "a pip that dies",
        answered("clean", pip_check=child(-9)),
        status=Status.ERROR,
        answer=True,
    ),
    *(
        KIT.defect(
            plan.AC8_8,
            f"a gate 8 that ended {status}",
            *(package(*GOOD, UNMET), result(plan.GATE8_AUDIT, status=status)),
            status=status,
            along=resolved(),
        )
        for status in (Status.FAIL, Status.ERROR, Status.BLOCKED)
    ),
    KIT.defect(
        plan.AC8_8,
        "a gate 8 of another run",
        *(package(*GOOD, UNMET), result(plan.GATE8_AUDIT, run_id="r0")),
        status=Status.ERROR,
        along=resolved(),
    ),
    KIT.defect(
        plan.AC8_1, "no table", write("pyproject.toml", ""), status=Status.ERROR, along=["*"]
    ),
    KIT.defect(
        plan.AC8_1,
        "a requirement that is none",
        package("not a requirement ==="),
        status=Status.ERROR,
        along=["*"],
    ),
    KIT.defect(
        plan.AC8_1, "no pyproject.toml", remove("pyproject.toml"), status=Status.ERROR, along=["*"]
    ),
)
