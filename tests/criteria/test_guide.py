"""AC7 and AC3.7 on the shipped guide and on what is left of it after an edit."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlx_preflight.core.result import Evidence, Status
from mlx_preflight.criteria import guide, guide_commands
from mlx_preflight.criteria.markdown import tables
from mlx_preflight.criteria.markdown.results import load_document
from mlx_preflight.plan import register

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlx_preflight.core.result import CheckResult

    Judge = Callable[[str, dict[str, str | bytes | None]], dict[str, CheckResult]]
    Edit = Callable[[str, str, str], str]

ROOT = Path(__file__).resolve().parents[2]
NAME = "FRAMEWORK_SETUP.md"
LM = "| `mlx-lm` | `>=0.32,<0.33` |"

STUFFED = """# Installation setup guide step step step

Prerequisites installation verification troubleshooting dependencies requirements packages verify
validation test common issues problems T001 evaluation framework selection T002 Python 3.11 M1 Max
venv pip install python git mlx load_model_test step setup guide copy paste commands.

## Prerequisites

- Python 3.11 Python 3.11
- M1 Max M1 Max
- venv venv venv

## Installation

1. step step step step
2. step step step step
3. installation installation setup setup

```bash
pip install pip install
python
git mlx
mlx mlx mlx
pip install pip install
```

## Dependencies

| package | version |
|---|---|
| mlx-lm | - |
| mlx | |
| transformers | latest |

## Verification

verify validation test

## Troubleshooting

### Issue 1

Fix: problems

### Issue 2

Fix: problems

### Issue 3

Fix: problems

## Next steps

T001 T002 evaluation framework selection
"""
"""Satisfies every grep of the plan for AC7, and helps nobody."""


def test_the_shipped_guide_passes_every_check(judge: Judge) -> None:
    """Each of the eight checks passes on the real document, as static evidence."""
    checks = judge("ac7-guide", {})
    assert {c.status for c in checks.values()} == {Status.PASS}, checks
    assert {c.evidence for c in checks.values()} == {Evidence.STATIC}
    assert list(checks) == [check.id for check in register.find_session("ac7-guide")[0].checks]


@pytest.mark.parametrize(
    ("old", "new", "failed"),
    [
        ("## Verification\n…## Downloading", "## Verification\n\n", {"AC7.1", "AC7.6"}),
        ("1. Check that the right…## Dependencies", "Install it as usual.\n\n", {"AC7.1", "AC7.2"}),
        ("2. Create a virtual…## Dependencies", "2. Check\n3. Install\n\n", {"AC7.2"}),
        ("## Prerequisites\n", "## You need\n", {"AC7.1", "AC7.7"}),
        ("## Installation\n", "## Steps\n", {"AC7.1", "AC7.2", "AC7.8"}),
        ("## Verification\n", "## Look\n", {"AC7.1", "AC7.6"}),
        ("## Troubleshooting\n", "## Trouble\n", {"AC7.1", "AC7.5"}),
        ("1. Import the…## Downloading", "```bash\nls a\nls b\n```\n\n", {"AC7.1", "AC7.6"}),
        ("- Read the [framework…, unchanged.", "Then T002 comes.", {"AC7.8"}),
        (LM, "| `mlx-lm` | `>=0.16,<1` |", {"AC7.4"}),
        (LM, "| `mlx-lm` | `>=x,<1` |", {"AC7.4"}),
        (LM, "| `mlx-lm` | the latest |", {"AC7.4"}),
        (LM, "| `torch` | `>=2,<3` | no |\n" + LM, {"AC7.4"}),
        ("| `transformers` |…| `huggingface-hub` |", "", {"AC7.4"}),
        ("| `pyyaml` |…The framework alone", "\nThe framework alone", {"AC7.4"}),
        ("## Dependencies…## Verification", "", {"AC7.4", "AC7.8"}),
        ("### Issue 1:…## Next steps", "### Slow\n\nIt is slow.\n\n", {"AC7.5"}),
        (
            "1. Import the framework…## Downloading",
            "You will see that it works.\n\n",
            {"AC7.1", "AC7.6"},
        ),
        ("- Python 3.11 or later;", "- Python 3.9 or later;", {"AC7.7"}),
        ("- A virtual environment…- 1 GB", "", {"AC7.7"}),
        ("](T001_framework_evaluation.md#decision)", "](gone.md)", {"AC7.8"}),
        (
            "](T001_framework_evaluation.md#decision)",
            "](T001_framework_evaluation.md#x)",
            {"AC7.8"},
        ),
        ("](T001_framework_evaluation.md#decision)", "](../../../etc/hosts)", {"AC7.8"}),
        ("## Next steps\n", "## The end\n", {"AC7.8"}),
    ],
)
def test_what_is_missing_or_wrong_fails_its_own_check(
    judge: Judge, edit: Edit, old: str, new: str, failed: set[str]
) -> None:
    """An edit that takes a requirement's substance away fails the checks on it and no other."""
    checks = judge("ac7-guide", {NAME: edit(NAME, old, new)})
    assert {c.id for c in checks.values() if c.status is not Status.PASS} == failed
    assert {checks[name].status for name in failed} == {Status.FAIL}


INSTALL = "   python3 -m pip install -e .\n"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("pip instal -e .", "pip has no command 'instal'; did you mean 'install'?"),
        ("python3 -m pip instal -e .", "pip has no command 'instal'"),
        ("uv pip instal -e .", "pip has no command 'instal'"),
        ("pyhton3 -m venv .venv", "no program 'pyhton3' is known"),
        ("python3 -m pip install mlx-lmm", "package 'mlx-lmm'; did you mean 'mlx-lm'?"),
        ("python3 -m pip install -r requirement.txt", "requirement.txt is not in the project"),
        ("python3 -m mlx_ml --help", "did you mean 'mlx_lm'?"),
        ("python3 scripts/training/load_modle_test.py", "is not in the project"),
        ("./bin/setup --all", "./bin/setup is not in the project"),
        ("nox -s gate9", "nox has no session 'gate9'"),
        ("python3 -m nox -s gates gate9", "nox has no session 'gate9'"),
        ("mlx-preflight chek ac3-installation", "no command 'chek'; did you mean 'check'?"),
        ("mlx-preflight check ac33-installation", "ac33-installation"),
        ("cd x && git clonee https://example.org/x", "git has no command 'clonee'"),
        ("rm -rf ~", "destroys"),
        ("sudo rm -r -f /usr/local/lib", "destroys"),
        ("cd .. && rm -fr *", "destroys"),
        ("git clean -fdx", "destroys"),
        ("dd if=/dev/zero of=/dev/disk2", "destroys"),
    ],
)
def test_a_command_that_cannot_work_fails(judge: Judge, edit: Edit, command: str, why: str) -> None:
    """Every command of the guide is resolved; one that nobody may type is refused."""
    checks = judge("ac7-guide", {NAME: edit(NAME, INSTALL, f"{INSTALL}   {command}\n")})
    assert {c.id for c in checks.values() if c.status is not Status.PASS} == {"AC7.3"}
    assert why in checks["AC7.3"].reason


def test_commands_that_work_pass(judge: Judge, edit: Edit) -> None:
    """What a guide may well say is no typing error."""
    lines = [
        "rm -rf .venv build",
        "brew install python@3.12 && brew install ollama",
        "ollama pull qwen",
        "uv run pytest -q",
        "uv tool install ruff",
        "python3 -m pip install 'mlx-vlm>=0.1' mlx-lm==0.32.2 nox uv",
        'python3 -m pip install -e ".[tests]" --extra-index-url https://example.org/simple',
        "nox -s gates -- --model ./m",
        "python3 -m nox -s gate1-format ac3-installation",
        "for i in 1 2 3; do echo $i; done",
        "MODEL=./m python3 -W ignore -m mlx_lm.generate --model $MODEL | head -5",
        "curl -LsSf https://astral.sh/uv/install.sh | sh",
        "/usr/bin/python3 -m venv --clear .venv",
        "mlx-preflight check AC4.3 --json > report.json",
        "git reset HEAD~1 && git push origin main",
        "mlx_lm.lora --help",
    ]
    text = "".join(f"   {line}\n" for line in lines)
    checks = judge("ac7-guide", {NAME: edit(NAME, INSTALL, f"{INSTALL}{text}")})
    assert {c.status for c in checks.values()} == {Status.PASS}, checks["AC7.3"].reason


@pytest.mark.parametrize(
    ("noxfile", "known"),
    [
        ("@nox.session\ndef lint(session): ...\n", True),
        ("@nox.session(name='x-lint')\ndef lint(session): ...\n", True),
        ("@session\ndef lint(session): ...\n", True),
        ("def other(session): ...\n", False),
        ("@nox.session(name=NAME)\ndef made(session): ...\n", True),
        ("nox.session(name='x')(body)\n", True),
        ("def broken(\n", False),
    ],
)
def test_a_projects_own_sessions_are_known(tmp_path: Path, noxfile: str, *, known: bool) -> None:
    """Where a name is made while the noxfile runs, nobody is told that it is not there."""
    (tmp_path / "noxfile.py").write_text(noxfile)
    text = f"# Guide\n\n{'One more word is here. ' * 9}\n\n```bash\nnox -s lint -- x\n```\n"
    (tmp_path / "guide.md").write_text(text)
    document = load_document(tmp_path / "guide.md")
    assert not isinstance(document, str)
    found = guide_commands.problems(document, tmp_path)
    assert found == ([] if known else ["`nox -s lint -- x`: nox has no session 'lint'"])


def test_a_disagreement_names_both_ranges(judge: Judge, edit: Edit) -> None:
    """The reason shows what the guide says and what pyproject.toml says."""
    reason = judge("ac7-guide", {NAME: edit(NAME, LM, "| `mlx-lm` | `>=0.16, <1` |")})[
        "AC7.4"
    ].reason
    assert "mlx-lm >=0.16, <1 disagrees" in reason
    assert ">=0.32" in reason


def test_commands_outside_of_shell_blocks_cannot_be_copied(
    judge: Judge, shipped: dict[str, str]
) -> None:
    """A guide whose blocks are not marked as shell has no command."""
    checks = judge("ac7-guide", {NAME: shipped[NAME].replace("```bash", "```text")})
    failed = {c.id for c in checks.values() if c.status is Status.FAIL}
    assert failed == {"AC7.2", "AC7.3", "AC7.6"}


def test_entries_that_repeat_each_other_count_once(judge: Judge, edit: Edit) -> None:
    """Three copies of one problem are one problem."""
    one = "**Symptom:** it is much too slow.\n\n**Fix:** buy a machine that is faster.\n\n"
    text = edit(
        NAME, "### Issue 1:…## Next steps", "".join(f"### Slow {n}\n\n{one}" for n in "abc")
    )
    check = judge("ac7-guide", {NAME: text})["AC7.5"]
    assert check.status is Status.FAIL
    assert "has 1 different entries" in check.reason


def test_keyword_stuffing_fails_every_check(judge: Judge, tmp_path: Path) -> None:
    """A guide that satisfies every grep of the plan and helps nobody fails all eight."""
    checks = judge("ac7-guide", {NAME: STUFFED})
    assert {c.status for c in checks.values()} == {Status.FAIL}, checks
    for line in GREPS:
        assert "FAIL" not in _bash(line, tmp_path)


@pytest.mark.parametrize("raw", [None, b"", b"\xff" * 400, b"word " * 400_000])
def test_an_unreadable_guide_is_never_a_pass(judge: Judge, raw: bytes | None) -> None:
    """Absent, empty, undecodable and huge guides fail AC7.1 and leave the rest unmeasured."""
    checks = judge("ac7-guide", {NAME: raw})
    assert checks.pop("AC7.1").status is Status.FAIL
    assert {c.status for c in checks.values()} == {Status.ERROR}


def test_an_unreadable_pyproject_leaves_the_versions_unmeasured(tmp_path: Path) -> None:
    """What cannot be compared with pyproject.toml is an error; the rest is still judged."""
    facts = guide.GuideFacts(load_document(ROOT / guide.PATH), tables.read(tmp_path), [], [])
    assert guide.CHECKS["AC7.4"](facts).status is Status.ERROR
    assert guide.CHECKS["AC7.7"](facts).status is Status.ERROR
    assert guide.CHECKS["AC7.3"](facts).status is Status.PASS


def test_ac3_7_takes_the_structure_of_ac7(tmp_path: Path) -> None:
    """The installation criterion passes on the shipped guide and fails on none or a hollow one."""
    hollow = tmp_path / "a.md"
    hollow.write_text(STUFFED)
    assert guide.complete(load_document(ROOT / guide.PATH)).status is Status.PASS
    assert guide.complete(load_document(hollow)).status is Status.FAIL
    assert guide.complete(load_document(tmp_path / "none.md")).status is Status.FAIL


DOC = f"docs/training/{NAME}"
GREPS = [
    f'test -f {DOC} && echo "PASS: Installation guide exists" || echo "FAIL: Guide missing"',
    f'grep -i "step\\|installation\\|setup" {DOC} | head -5 | grep . || echo FAIL',
    f'[ $(grep -E "pip install|python|git|mlx" {DOC} | wc -l) -ge 5 ] || echo FAIL',
    f'grep -i "dependencies\\|requirements\\|packages" {DOC} || echo FAIL',
    f'grep -A 5 -i "troubleshooting\\|common issues\\|problems" {DOC} | head | grep . || echo FAIL',
    f'grep -i "verify\\|validation\\|test" {DOC} | head -5 | grep . || echo FAIL',
    (
        'for section in "Prerequisites" "Installation" "Verification" "Troubleshooting"; do '
        f'grep -i "$section" {DOC} && echo "PASS: $section section found" '
        '|| echo "FAIL: $section section missing"; done'
    ),
    f'grep -i "T001\\|evaluation\\|framework.*selection" {DOC} || echo FAIL',
    'grep -i "load_model_test" docs/training/*.md || echo FAIL',
]
"""The plan's commands for AC7 and for AC4.6, with its expected counts as conditions."""


@pytest.mark.parametrize("line", GREPS)
def test_the_plans_greps_succeed_in_the_project_root(line: str) -> None:
    """Every command of the plan for AC7 finds what it looks for."""
    assert "FAIL" not in _bash(line, ROOT)


def _bash(line: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-c", line], cwd=folder, capture_output=True, text=True, check=False
    )
    assert not done.stderr
    return done.stdout
