"""Cases of AC7: what is left of the installation guide after an edit."""

from __future__ import annotations

from mlx_preflight.plan import register as plan
from mlx_preflight.selftest.injection.bases import GUIDE, checkout
from mlx_preflight.selftest.injection.case import ALL, Case, Kit, Step
from mlx_preflight.selftest.injection.steps import edit, remove, replace_all, section, write

KIT = Kit(plan.AC7_GUIDE, (checkout,))

LM = "| `mlx-lm` | `>=0.32,<0.33` |"
LINK = "](T001_framework_evaluation.md#decision)"

EDITS: dict[str, tuple[str, tuple[str, ...], Step]] = {
    "prose for steps": (
        plan.AC7_2,
        (plan.AC7_1,),
        edit(GUIDE, "1. Check that the right…## Dependencies", "Install it as usual.\n\n"),
    ),
    "steps of one word": (
        plan.AC7_2,
        (),
        edit(GUIDE, "2. Create a virtual…## Dependencies", "2. Check\n3. Install\n\n"),
    ),
    "no commands": (
        plan.AC7_3,
        (plan.AC7_2, plan.AC7_6),
        replace_all(GUIDE, "```bash", "```text"),
    ),
    "another range": (plan.AC7_4, (), edit(GUIDE, LM, "| `mlx-lm` | `>=0.16,<1` |")),
    "no range": (plan.AC7_4, (), edit(GUIDE, LM, "| `mlx-lm` | the latest |")),
    "a package that is none": (
        plan.AC7_4,
        (),
        edit(GUIDE, LM, "| `torch` | `>=2,<3` | no |\n" + LM),
    ),
    "a package is missing": (
        plan.AC7_4,
        (),
        edit(GUIDE, "| `transformers` |…| `huggingface-hub` |", ""),
    ),
    "no dependencies": (
        plan.AC7_4,
        (plan.AC7_8,),
        edit(GUIDE, "## Dependencies…## Verification", ""),
    ),
    "one problem": (
        plan.AC7_5,
        (),
        edit(GUIDE, "### Issue 1:…## Next steps", "### Slow\n\nIt is slow.\n\n"),
    ),
    "no troubleshooting": (
        plan.AC7_5,
        (plan.AC7_1,),
        edit(GUIDE, "## Troubleshooting\n", "## Trouble\n"),
    ),
    "nothing to verify": (
        plan.AC7_6,
        (plan.AC7_1,),
        edit(
            GUIDE,
            "1. Import the framework…## Downloading",
            "You will see that it works.\n\n",
        ),
    ),
    "no verification": (
        plan.AC7_6,
        (plan.AC7_1,),
        edit(GUIDE, "## Verification\n…## Downloading", "## Look\n\n"),
    ),
    "an older Python": (
        plan.AC7_7,
        (),
        edit(GUIDE, "- Python 3.11 or later;", "- Python 3.9 or later;"),
    ),
    "no virtual environment": (plan.AC7_7, (), edit(GUIDE, "- A virtual environment…- 1 GB", "")),
    "no prerequisites": (
        plan.AC7_7,
        (plan.AC7_1,),
        edit(GUIDE, "## Prerequisites\n", "## You need\n"),
    ),
    "a dead link": (plan.AC7_8, (), edit(GUIDE, LINK, "](gone.md)")),
    "a dead anchor": (plan.AC7_8, (), edit(GUIDE, LINK, "](T001_framework_evaluation.md#x)")),
    "a link out of the project": (plan.AC7_8, (), edit(GUIDE, LINK, "](../../../etc/hosts)")),
    "no next steps": (plan.AC7_8, (), edit(GUIDE, "## Next steps\n", "## The end\n")),
    "a section is missing": (
        plan.AC7_1,
        (plan.AC7_2, plan.AC7_8),
        edit(GUIDE, "## Installation\n", "## Steps\n"),
    ),
}
"""Name → check, its consequences, and what plants it."""

COMMANDS = {
    "a command that no program is": ("python3 -m pip check", "python3 -m pip chekc"),
    "a program that is misspelt": ("uv pip install -e .", "uv pip instal -e ."),
    "a session that is none": (
        "mlx-preflight check ac3-installation",
        "mlx-preflight check ac33-installation",
    ),
    "a script that is not there": (
        "python3 scripts/training/load_model_test.py",
        "python3 scripts/training/load_modle_test.py",
    ),
    "a command that destroys": ("ls pyproject.toml noxfile.py", "rm -rf ~"),
}
"""Commands that cannot work, or must not."""

CASES: tuple[Case, ...] = (
    KIT.clean("as it is"),
    KIT.clean(
        "another session is checked",
        edit(GUIDE, "mlx-preflight check ac3-installation", "mlx-preflight check AC3.4"),
        near=plan.AC7_3,
    ),
    KIT.clean("a page beside it", write("docs/training/notes.md", "# Notes\n"), near=plan.AC7_1),
    *(KIT.defect(check, name, step, along=along) for name, (check, along, step) in EDITS.items()),
    *(
        KIT.defect(plan.AC7_3, name, edit(GUIDE, old, new), along=[plan.AC7_1, plan.AC7_6])
        for name, (old, new) in COMMANDS.items()
    ),
    KIT.defect(plan.AC7_1, "no guide", remove(GUIDE), along=[ALL]),
    KIT.defect(plan.AC7_1, "an empty guide", write(GUIDE, ""), along=[ALL]),
    KIT.defect(plan.AC7_1, "a guide that is no text", write(GUIDE, b"\xff" * 400), along=[ALL]),
    KIT.defect(
        plan.AC7_1,
        "a hollow section",
        section(GUIDE, "## Prerequisites", "Yes."),
        along=[plan.AC7_7],
    ),
)
