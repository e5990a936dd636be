"""What the documents tell people to ask of the memory is what real runs measure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from mcp_local import history_tools, prompts
from mlx_preflight.cli.app import app
from mlx_preflight.criteria import inference, memory
from mlx_preflight.history import records

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]
NAMED = re.compile(r"history ([A-Z]\w+\.\d/\w+|\w+_\w+)|['`]([\w./]+) *[<>]=? *[0-9]")


@pytest.fixture
def remembered(ac5: Any, ac6: Any, make_report: Callable[..., dict[str, Any]]) -> Any:
    """Return the record of a run whose AC5 and AC6 measured a real model."""
    report = make_report({})
    for row in report["rows"]:
        group, facts = {"AC5": (inference, ac5), "AC6": (memory, ac6)}.get(
            row["id"][:3], (None, None)
        )
        answer = group.CHECKS.get(row["id"]) if group else None
        if answer is not None:
            row["measurements"] = [
                {"name": item.name, "value": item.value} for item in answer(facts).measurements
            ]
    return records.from_report(report, None, ())


def test_every_measurement_that_is_named_is_measured(remembered: Any) -> None:
    """README, documents, help texts and tools name no measurement that no check takes."""
    helps = [
        CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"}).output
        for command in (["history"], ["runs", "search"])
    ]
    sources = [
        *(path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))),
        *(Path(str(module.__file__)).read_text() for module in (history_tools, prompts)),
        *helps,
    ]
    named = {a or b for text in sources for a, b in NAMED.findall(text)}
    assert {"AC5.5/decode_tokens_per_s", "training_peak_bytes"} <= named
    known = remembered["measurements"]
    for name in named:
        assert any(name in (key, key.partition("/")[2]) for key in known), name


def test_the_settings_of_a_run_are_known(remembered: Any) -> None:
    """What was trained with is measured by real checks under the names that the memory shows."""
    assert records.run_settings(remembered) == {
        "batch_size": 1,
        "row_tokens": 64,
        "lora_layers": 4,
        "lora_rank": 8,
        "weight_bits": 4,
        "group_size": 64,
        "budget_bytes": 16_000_000_000,
    }
