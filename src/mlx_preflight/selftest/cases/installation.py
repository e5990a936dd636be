"""Cases of AC3: what is installed, imported, and in conflict."""

from __future__ import annotations

import dataclasses
from typing import Any

from mlx_preflight.core.child_run import ChildRun
from mlx_preflight.core.result import Status
from mlx_preflight.criteria import guide
from mlx_preflight.criteria.markdown.results import load_document
from mlx_preflight.plan import register as plan
from mlx_preflight.selftest.injection.bases import GUIDE, checkout, package
from mlx_preflight.selftest.injection.case import Case, Kit, Sample, Step
from mlx_preflight.selftest.injection.installed import conflict, shadowed, without
from mlx_preflight.selftest.injection.steps import (
    answered,
    changed,
    edit,
    remove,
    section,
    settings,
    write,
)

KIT = Kit(plan.AC3_INSTALLATION, (checkout, package()))


def child(code: int, out: str = "", err: str = "") -> ChildRun:
    """Return a child that ended so."""
    return ChildRun(("python",), code, out, err, 0.1, truncated=False)


CONFLICT = child(1, "a 1 has requirement b<2, but you have b 3.\n")


def read_guide(sample: Sample) -> None:
    """Read the sample's guide again; the rest is that of the base."""
    path = sample.folder / guide.PATH
    sample.changes.append(lambda facts: dataclasses.replace(facts, guide=load_document(path)))


def imports(name: str, done: ChildRun) -> Step:
    """Return what gives the import of a module another end."""
    return answered(imports=lambda known: {**known, name: done})


def versions(name: str) -> Step:
    """Return what says that a package has no version."""
    return answered(versions=lambda known: {**known, name: None})


GUIDES: dict[str, tuple[Step, ...]] = {
    "no guide": (remove(GUIDE),),
    "an empty guide": (write(GUIDE, ""),),
    "a guide without verification": (edit(GUIDE, "## Verification\n", "## Look\n"),),
    "a hollow section": (section(GUIDE, "## Prerequisites", "Yes."),),
}

LEAVING = {
    "a package that leaves with 0": "import sys\nsys.exit(0)\n",
    "a package that ends the process": "import os\nos._exit(0)\n",
    "an empty package": "",
    "a package that raises": "raise ImportError('libmlx.so: cannot open shared object file')\n",
}

ANSWERS: dict[str, tuple[str, Status, tuple[str, ...], Step]] = {
    "mlx-lm without a version": (plan.AC3_1, Status.FAIL, (), versions("mlx-lm")),
    "mlx without a version": (plan.AC3_2, Status.FAIL, (), versions("mlx")),
    "transformers without a version": (plan.AC3_3, Status.FAIL, (), versions("transformers")),
    "an import that was killed": (
        plan.AC3_4,
        Status.FAIL,
        (),
        imports("mlx.core", child(-9)),
    ),
    "a missing pip": (
        plan.AC3_5,
        Status.ERROR,
        (),
        answered(pip_check=child(1, err="No module named pip")),
    ),
    "a pip that says nothing": (plan.AC3_5, Status.ERROR, (), answered(pip_check=child(0))),
    "a conflict beside the wheel": (
        plan.AC3_5,
        Status.FAIL,
        (),
        answered("clean", pip_check=CONFLICT),
    ),
    "a conflict beside MCP": (plan.AC3_6, Status.FAIL, (), answered("clean", beside=CONFLICT)),
    "a wheel that was not built": (
        plan.AC3_5,
        Status.FAIL,
        (plan.AC3_6,),
        answered("clean", install=child(1, err="no such option"), artifact=""),
    ),
}


def _noisy(facts: Any) -> Any:
    known = {
        name: dataclasses.replace(done, stdout=f"a banner\n{done.stdout}")
        for name, done in facts.imports.items()
    }
    return dataclasses.replace(facts, imports=known)


CASES: tuple[Case, ...] = (
    KIT.clean("as it is"),
    KIT.clean("a package with a dependency", package("packaging>=20,<100"), near=plan.AC3_5),
    KIT.clean("a library that prints", changed(_noisy), near=plan.AC3_4, answer=True),
    KIT.clean(
        "a guide with one more section",
        edit(GUIDE, "## Troubleshooting\n", "## Notes\n\nNone.\n\n## Troubleshooting\n"),
        read_guide,
        near=plan.AC3_7,
        shared=True,
    ),
    KIT.defect(plan.AC3_1, "no mlx-lm", without("mlx_lm-"), along=[plan.AC3_5]),
    KIT.defect(plan.AC3_2, "no mlx", without("mlx-"), along=[plan.AC3_5]),
    KIT.defect(plan.AC3_3, "no transformers", without("transformers-"), along=[plan.AC3_5]),
    *(KIT.defect(plan.AC3_4, name, *shadowed("mlx_lm", code)) for name, code in LEAVING.items()),
    KIT.defect(plan.AC3_5, "a package in conflict", *conflict(), along=[plan.AC3_6]),
    KIT.defect(
        plan.AC3_5,
        "a package that does not build",
        edit("pyproject.toml", "hatchling.build", "no_such"),
        along=[plan.AC3_6],
    ),
    KIT.defect(plan.AC3_6, "a dependency that MCP excludes", package("anyio<4")),
    KIT.defect(
        plan.AC3_4,
        "a time limit of nothing",
        settings(timeout_s=0.01),
        status=Status.ERROR,
        along=["*"],
    ),
    *(
        KIT.defect(plan.AC3_7, name, *steps, read_guide, shared=True)
        for name, steps in GUIDES.items()
    ),
    *(
        KIT.defect(check, name, step, status=status, along=along, answer=True)
        for name, (check, status, along, step) in ANSWERS.items()
    ),
)
