"""AC2 on the shipped evaluation and on what is left of it after an edit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlx_preflight.core.result import Status
from mlx_preflight.criteria import selection
from mlx_preflight.criteria.markdown.document import Document, parse_sections
from mlx_preflight.plan import register

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlx_preflight.core.result import CheckResult

    Judge = Callable[[str, dict[str, str | bytes | None]], dict[str, CheckResult]]
    Edit = Callable[[str, str, str], str]

NAME = "T001_framework_evaluation.md"
SECOND = "| | |\n|---|---|\n| Selected | axolotl |\n| Status | proposed |"


def test_the_shipped_evaluation_passes_every_check(judge: Judge) -> None:
    """Statement, factors, trade-offs and fallback of the real document pass."""
    checks = judge("ac2-selection", {})
    assert {c.status for c in checks.values()} == {Status.PASS}
    assert list(checks) == [check.id for check in register.find_session("ac2-selection")[0].checks]


@pytest.mark.parametrize(
    ("old", "new", "failed"),
    [
        ("| selected | MLX-LM |", "| selected | axolotl |", "AC2.1"),
        ("| selected | MLX-LM |\n", "", "AC2.1"),
        ("| selected | MLX-LM |\n", "| selected | MLX-LM |\n| selected | axolotl |\n", "AC2.1"),
        ("| fallback | axolotl |", "| fallback | none |", "AC2.1"),
        ("| status | accepted |", "| status | superseded |", "AC2.1"),
        ("| deciders |…| evidence |", "| deciders | nobody |\n| evidence |", "AC2.1"),
        ("| evidence | sha256:…## Rationale", "| evidence | none |\n\n## Rationale", "AC2.1"),
        ("## Rationale\n", f"{SECOND}\n\n## Rationale\n", "AC2.1"),
        ("MLX-LM is selected as…\n\n| decision", "MLX-LM selected.\n\n| decision", "AC2.1"),
        ("## Decision\n", "## Outcome\n", "AC2.1"),
        ("2. **Memory…3. **Ease", "", "AC2.2"),
        (
            "1. **M1 Max…2. **Memory",
            "1. Metal memory M1 Max unified ease setup Metal GPU\n",
            "AC2.2",
        ),
        ("- **Newer framework.**…- **Adapters", "", "AC2.3"),
        ("- **Smaller…## Fallback plan", "Ecosystem, Apple and new.\n\n", "AC2.3"),
        ("## Trade-offs\n", "## More\n", "AC2.3"),
        ("The steps, in this order:…## Measurements", "", "AC2.4"),
        ("The alternative is axolotl…## Measurements", "axolotl\n\n", "AC2.4"),
        ("## Fallback plan\n", "## More\n", "AC2.4"),
    ],
)
def test_what_is_missing_or_hedged_fails_its_own_check(
    judge: Judge, edit: Edit, old: str, new: str, failed: str
) -> None:
    """An edit that takes a requirement's substance away fails that check and no other.

    A statement that goes leaves no selection to compare with the scores (AC2.5).
    """
    checks = judge("ac2-selection", {NAME: edit(NAME, old, new)})
    bad = {c.id for c in checks.values() if c.status is not Status.PASS}
    assert bad - {"AC2.5"} == {failed}
    assert ("AC2.5" in bad) <= (failed == "AC2.1")
    assert checks[failed].status is Status.FAIL


def test_a_fallback_without_a_trigger_fails(judge: Judge, edit: Edit) -> None:
    """Steps alone do not say when to take them."""
    text = edit(
        NAME,
        "The switch is made when one…The steps, in this order:",
        "It is rented by the hour and installed by hand, so that its price is known.\n\n",
    )
    text = text.replace("Where no such GPU can be had, PEFT", "PEFT")
    check = judge("ac2-selection", {NAME: text})["AC2.4"]
    assert check.status is Status.FAIL
    assert "when to fall back" in check.reason


def test_a_fallback_must_name_the_framework_to_fall_back_to(
    judge: Judge, shipped: dict[str, str]
) -> None:
    """A fallback to something unnamed is none."""
    before, heading, after = shipped[NAME].partition("## Fallback plan")
    text = before + heading + after.replace("axolotl", "something else")
    check = judge("ac2-selection", {NAME: text})["AC2.4"]
    assert check.status is Status.FAIL
    assert "does not name axolotl" in check.reason


def test_a_missing_report_is_an_error_not_a_pass(judge: Judge) -> None:
    """Without the report nothing about the selection can be said."""
    checks = judge("ac2-selection", {NAME: None})
    assert {c.status for c in checks.values()} == {Status.ERROR}


@pytest.mark.parametrize(
    "sentence",
    [
        "The selected framework is MLX-LM, for one Mac with its GPU.",
        "The team chose MLX-LM for one Mac with its GPU.",
        "We will use MLX-LM for training on one Mac.",
        "MLX-LM was selected, though not for its ecosystem and not forever.",
        "**Selected framework:** MLX-LM 0.32, for one Mac with its GPU.",
    ],
)
def test_the_words_around_the_record_are_free(judge: Judge, edit: Edit, sentence: str) -> None:
    """What is selected stands in the record; no wording is required, and none refused."""
    text = edit(NAME, "MLX-LM is selected as…\n\n| decision", f"{sentence}\n\n| decision")
    checks = judge("ac2-selection", {NAME: text})
    assert {c.status for c in checks.values()} == {Status.PASS}, checks["AC2.1"].reason


def test_factors_may_be_sections_instead_of_items() -> None:
    """Three sub-headings with substance count like a list of three."""
    reasons = (
        "## Rationale\n\n### Metal\n\nThe GPU of the M1 Max is used without a setting.\n\n"
        "### Memory\n\nWeights in four bits leave most of the budget to the activations.\n\n"
        "### Setup\n\nOne command brings everything that a newcomer needs to begin.\n"
    )
    document = Document(Path("a.md"), parse_sections(f"# T\n\n{reasons}"))
    assert selection.factors(document, selection.FACTORS).status is Status.PASS
