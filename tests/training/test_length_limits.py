"""A fit chooses the row limit from the rows: what each limit cuts is said in rows and tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlx_preflight.cli.app import app
from mlx_preflight.core.errors import BlockedError
from mlx_preflight.models.catalog import EMBEDDED_FOLDER, EMBEDDED_ROWS
from mlx_preflight.training import length_limits

MODEL = str(EMBEDDED_FOLDER)


def test_limits_are_widths_from_what_cuts_nothing_down_to_a_quarter() -> None:
    """The highest limit keeps every row; each lower one cuts more of them."""
    found = length_limits.read(MODEL, EMBEDDED_ROWS)
    limits = found.limits(512)
    assert [limit % length_limits.PAD for limit in limits] == [1] * len(limits)
    cuts = [found.cut(limit).cut_rows for limit in limits]
    assert cuts[0] == 0
    assert cuts == sorted(cuts)
    assert cuts[-1] > 0
    assert "cuts none of 200 rows" in found.describe(limits[0])


def test_the_limit_that_was_asked_for_is_the_highest() -> None:
    """Rows are not left longer than the user wants them."""
    assert max(length_limits.read(MODEL, EMBEDDED_ROWS).limits(40)) == 40


def test_rows_that_do_not_load_block_the_choice(tmp_path: Path) -> None:
    """A length that is not known is not guessed."""
    (tmp_path / "train.jsonl").write_text('{"text": "a"}\n\n')
    with pytest.raises(BlockedError, match="do not load"):
        length_limits.read(MODEL, tmp_path)


@pytest.mark.slow
def test_a_fit_says_what_it_cuts() -> None:
    """Without room for the longest rows the answer names the rows that are cut."""
    asked = ["embedded", "--bits", "16", "--num-layers", "4", "--batch-size", "1"]
    asked += ["--data", str(EMBEDDED_ROWS), "--budget-gb", "0.0107", "--json"]
    keep = ["--keep", "num_layers,rank"]
    done = CliRunner().invoke(app, ["fit", *asked, *keep])
    fits = json.loads(done.stdout)["fits"]
    assert any(item["rows_cut"] > 0 and item["tokens_cut"] > 0 for item in fits), done.stdout
