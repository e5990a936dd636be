"""Scores, ranking, and what other weights would change."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from mlx_preflight.core import toml_table
from mlx_preflight.core.errors import UsageError
from mlx_preflight.frameworks import scoring
from mlx_preflight.plan.settings import Selection

ONE: dict[str, Any] = {
    "train": [
        {"peak_rss_bytes": 100_000_000, "tokens_per_s": 50.0},
        {"peak_rss_bytes": 90_000_000, "tokens_per_s": 100.0},
    ],
    "install": {"install_s": 10.0, "bytes": 10_000_000, "packages": {"a": "1"}},
    "import_s": [1.0, 3.0, 2.0],
    "config_lines": 10,
    "qlora": {"runs": True},
    "apple": {"share": 1.0, "text": "yes", "source": "s", "version": "v"},
    "apple_qlora": {"share": 1.0, "text": "yes", "source": "s", "version": "v"},
}


def pair() -> dict[str, Any]:
    """Return a small slow framework on a Mac, and a large fast one that is not."""
    other = copy.deepcopy(ONE)
    other["train"] = [{"peak_rss_bytes": 400_000_000, "tokens_per_s": 200.0}]
    other["install"]["bytes"] = 320_000_000
    other["qlora"] = {"runs": False, "error": "no"}
    other["apple"]["share"] = other["apple_qlora"]["share"] = 0.0
    return {"small": ONE, "large": other}


def test_a_score_is_a_share_of_the_best() -> None:
    """Four times the memory is a quarter, half the speed a half, ease a geometric mean."""
    found = scoring.scores(pair())
    assert found["memory"]["large"].share == 0.25
    assert found["memory"]["small"].share == 1.0
    assert found["speed"]["small"].share == 0.5
    assert found["ease"]["large"].share == pytest.approx((1 / 32) ** (1 / 5))
    assert (found["qlora"]["small"].share, found["qlora"]["large"].share) == (1.0, 0.0)
    assert (found["m1_max"]["small"].share, found["m1_max"]["large"].share) == (1.0, 0.0)
    assert found["m1_max"]["small"].source.startswith("static")


def test_the_weights_decide() -> None:
    """With speed alone the fast one wins; with equal weights the small one."""
    found = scoring.scores(pair())
    equal = Selection().weights
    assert next(iter(scoring.totals(found, equal))) == "small"
    speed = dict.fromkeys(equal, 0.0) | {"speed": 1.0}
    assert next(iter(scoring.totals(found, speed))) == "large"
    assert scoring.totals(found, equal)["small"] == pytest.approx(0.9)


def test_every_weight_is_doubled_and_halved() -> None:
    """Ten variations, and a ranking that a weight can turn is shown turned."""
    found = scoring.scores(pair())
    weights = {"memory": 0.1, "speed": 1.0, "ease": 0.1, "qlora": 0.25, "m1_max": 0.1}
    variations = scoring.sensitivity(found, weights)
    assert [(item.criterion, item.factor) for item in variations][:3] == [
        ("memory", 2.0),
        ("memory", 0.5),
        ("speed", 2.0),
    ]
    assert len(variations) == 10
    assert {item.ranking[0] for item in variations} == {"small", "large"}


def test_a_tie_is_broken_by_name_and_not_by_chance() -> None:
    """Two equal frameworks come in the order of their names."""
    found = scoring.scores({"b": ONE, "a": ONE})
    assert list(scoring.totals(found, Selection().weights)) == ["a", "b"]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"sped": 1}, "did you mean 'speed'"),
        ({"speed": -1}, "at least 0"),
        ({"speed": float("nan")}, "at least 0"),
        ({"speed": "much"}, "expected int or float"),
        ({"max-evidence-age-days": 0}, "at least 1"),
        (dict.fromkeys(("memory", "speed", "ease", "qlora", "m1-max"), 0), "every weight is 0"),
        ([], "expected a table"),
    ],
)
def test_a_wrong_weight_is_an_error(found: object, message: str) -> None:
    """No misspelt key, negative weight or empty selection is taken."""
    with pytest.raises(UsageError, match=message):
        toml_table.read(Selection, "tool.mlx-preflight.selection", found)


def test_a_table_replaces_only_what_it_names() -> None:
    """What is not named weighs 1."""
    found = toml_table.read(Selection, "t", {"m1-max": 3, "max-evidence-age-days": 30})
    assert found.weights == {"memory": 1, "speed": 1, "ease": 1, "qlora": 1, "m1_max": 3}
    assert found.max_evidence_age_days == 30
