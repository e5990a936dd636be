"""AC1 on the shipped evaluation and on what is left of it after an edit."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlx_preflight.core.result import Evidence, Status
from mlx_preflight.plan import register

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlx_preflight.core.result import CheckResult

    Judge = Callable[[str, dict[str, str | bytes | None]], dict[str, CheckResult]]
    Edit = Callable[[str, str, str], str]

ROOT = Path(__file__).resolve().parents[2]
NAME = "T001_framework_evaluation.md"
SPEED = "| Speed |…| Ease of use |"
CON = """- It asks for 58 direct dependencies, many of them pinned to one exact version, which
  makes it hard to share a venv with another project [3].
"""
REPEATED = "".join(
    f"| {name} | cell number {n} of one | is not known yet |\n"
    for n, name in enumerate(("Speed", "Ease of use", "QLoRA", "M1 Max"))
)

STUFFED = """# MLX-LM axolotl comparison matrix pros cons

MLX-LM axolotl comparison matrix pros cons memory speed ease QLoRA M1 Max Metal optimization
decision rationale selected chosen recommend MLX-LM trade-off downside limitation disadvantage
fallback alternative backup unified setup simplicity ecosystem newer framework report evaluation
MLX-LM is selected/recommended.

## MLX-LM

### Pros

- MLX-LM MLX-LM MLX-LM MLX-LM
- memory ease optimization Metal

### Cons

- memory ease optimization Metal
- cons limitation downside disadvantage

## axolotl

**Pros**

- axolotl pros memory speed
- axolotl pros memory speed

**Cons**

- axolotl cons memory speed
- axolotl cons memory speed

## Comparison matrix

| criterion | MLX-LM | axolotl |
|---|---|---|
| Memory | - | - |
| Speed | good | good |
| Ease | | |
| QLoRA | yes | yes |
| M1 Max | yes | no |

## Decision rationale

MLX-LM selected chosen.

1. M1 Max memory ease optimization Metal
2. M1 Max memory ease optimization Metal
3. memory memory memory memory memory memory memory memory memory

## Trade-offs

- ecosystem new Apple trade-off downside limitation cons disadvantage
- ecosystem new Apple trade-off downside limitation cons disadvantage

## Fallback alternative backup

axolotl
"""
"""Satisfies every grep of the plan for AC1 and AC2, and says nothing."""


def test_the_shipped_evaluation_passes_every_check(judge: Judge) -> None:
    """The plan's six checks and the one on evidence pass on the real document, statically."""
    checks = judge("ac1-evaluation", {})
    assert {c.status for c in checks.values()} == {Status.PASS}
    assert {c.evidence for c in checks.values()} == {Evidence.STATIC}
    assert list(checks) == [check.id for check in register.find_session("ac1-evaluation")[0].checks]


@pytest.mark.parametrize(
    ("old", "new", "failed"),
    [
        ("## MLX-LM\n", "## The first candidate\n", {"AC1.2"}),
        ("### Cons of MLX-LM\n", "### Pros of MLX-LM, continued\n", {"AC1.2"}),
        ("### Pros of axolotl…### Cons of axolotl", "", {"AC1.3"}),
        ("### Cons of axolotl…## Hugging", "### Cons\n\n- One con is all there is.\n\n", {"AC1.3"}),
        ("## MLX-LM\n…## axolotl", "", {"AC1.2"}),
        ("### Cons of axolotl…## Hugging", f"### Cons\n\n{CON}{CON}\n", {"AC1.3"}),
        ("- Its ecosystem is large…- Optimized", CON, {"AC1.3"}),
        (SPEED, "", {"AC1.4"}),
        ("| Memory | 4-bit", "| Memory and speed | 4-bit", {"AC1.4"}),
        ("| Speed |…## Decision", REPEATED + "\n", {"AC1.4"}),
        ("## Rationale…## Trade-offs", "## Rationale\n\nIt is good.\n\n", {"AC1.5", "AC1.6"}),
        (SPEED, "| Speed | - | not known yet |\n", {"AC1.4"}),
        *(
            (SPEED, f"| Speed | {cell} | 7 tokens/s were measured |\n", {"AC1.4"})
            for cell in (
                "n/a",
                "to be done",
                "to be decided",
                "not yet available",
                "will be announced",
            )
        ),
        (SPEED, "| Speed | it is quite fast | it is quite fast |\n", {"AC1.4"}),
        ("| criterion | MLX-LM | axolotl |", "| criterion | MLX-LM | another |", {"AC1.4"}),
        ("## Comparison matrix…## Decision", "", {"AC1.4"}),
        ("| selected | MLX-LM |", "| selected | axolotl |", {"AC1.5"}),
        ("| status | accepted |", "| status | rejected |", {"AC1.5"}),
        ("## Decision\n…## Rationale", "", {"AC1.5"}),
        ("## Rationale…## Trade-offs", "", {"AC1.5", "AC1.6"}),
        ("3. **Ease of use…## Trade-offs", "\n", {"AC1.6"}),
    ],
)
def test_what_is_missing_or_empty_fails_its_own_check(
    judge: Judge, edit: Edit, old: str, new: str, failed: set[str]
) -> None:
    """An edit that takes a requirement's substance away fails that check and no other.

    Beside AC1.7, which sees that the text is no longer the one that was generated.
    """
    checks = judge("ac1-evaluation", {NAME: edit(NAME, old, new)})
    assert {c.id for c in checks.values() if c.status is not Status.PASS} == failed | {"AC1.7"}
    assert {checks[name].status for name in failed} == {Status.FAIL}


def test_prose_is_no_matrix(judge: Judge, shipped: dict[str, str]) -> None:
    """A report without any table has no matrix."""
    check = judge("ac1-evaluation", {NAME: shipped[NAME].replace("|", " ")})["AC1.4"]
    assert (check.status, check.reason) == (Status.FAIL, "there is no table")


def test_a_report_that_repeats_itself_is_not_a_report(
    judge: Judge, shipped: dict[str, str]
) -> None:
    """The same sentences over and over fail the report as such."""
    checks = judge("ac1-evaluation", {NAME: shipped[NAME] * 2})
    assert checks["AC1.1"].status is Status.FAIL
    assert "repeat an earlier one" in checks["AC1.1"].reason


def test_keyword_stuffing_fails_every_check(judge: Judge, tmp_path: Path) -> None:
    """A document that satisfies every grep of the plan and says nothing fails them all."""
    checks = judge("ac1-evaluation", {NAME: STUFFED})
    assert {c.status for c in checks.values()} == {Status.FAIL}, checks
    for line in GREPS:
        assert "FAIL" not in _bash(line, tmp_path)


@pytest.mark.parametrize("raw", [None, b"", b"\xff" * 400, b"word " * 400_000])
def test_an_unreadable_report_is_never_a_pass(judge: Judge, raw: bytes | None) -> None:
    """Absent, empty, undecodable and huge reports fail AC1.1 and leave the rest unmeasured."""
    checks = judge("ac1-evaluation", {NAME: raw})
    assert checks.pop("AC1.1").status is Status.FAIL
    assert checks.pop("AC1.7").status is Status.FAIL
    assert {c.status for c in checks.values()} == {Status.ERROR}


DOC = f"docs/training/{NAME}"
GREPS = [
    f'test -f {DOC} && echo "PASS: Evaluation report exists" || echo "FAIL: report missing"',
    f'grep -q "MLX-LM" {DOC} && echo "PASS: MLX-LM" || echo "FAIL: MLX-LM missing"',
    f'grep -q "axolotl" {DOC} && echo "PASS: axolotl evaluated" || echo "FAIL: axolotl missing"',
    f'grep -q "comparison\\|matrix\\|pros\\|cons" {DOC} && echo PASS || echo FAIL',
    f'[ $(grep -i -c "decision\\|rationale\\|selected\\|chosen" {DOC}) -ge 3 ] || echo FAIL',
    f'grep -E "selected|chosen|recommend" {DOC} | grep -i "mlx" || echo FAIL',
    f'grep -A 20 -i "rationale\\|decision" {DOC} || echo FAIL',
    f'[ $(grep -E "M1 Max|memory|ease|optimization|Metal" {DOC} | wc -l) -ge 3 ] || echo FAIL',
    (
        f'[ $(grep -i "trade-off\\|downside\\|limitation\\|cons\\|disadvantage" {DOC} | wc -l) '
        "-ge 2 ] || echo FAIL"
    ),
    f'grep -i "fallback\\|alternative\\|backup" {DOC} || echo FAIL',
]
"""The plan's commands for AC1 and AC2, with its expected counts as conditions."""


@pytest.mark.parametrize("line", GREPS)
def test_the_plans_greps_succeed_in_the_project_root(line: str) -> None:
    """Every command of the plan for AC1 and AC2 finds what it looks for."""
    # The documents say FAIL nowhere, so the word can only come from the command.
    assert "FAIL" not in _bash(line, ROOT)


def _bash(line: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-c", line], cwd=folder, capture_output=True, text=True, check=False
    )
    assert not done.stderr
    return done.stdout
