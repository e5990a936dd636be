"""Why a first loss is, or is not, the reference's."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from mlx_preflight.core.errors import ResultError
from mlx_preflight.frameworks import evidence, framework, parity

ROOT = Path(__file__).resolve().parents[2]

REFERENCE: dict[str, Any] = {
    "train": [{"loss": [2.5]}],
    "adapter": {"scale": 20.0},
    "probe": {"tokens": [[1, 2, 3], [1, 4, 5]], "losses": [[1.0, 2.0], [3.0, 4.0]]},
}


def other(loss: float, **changes: Any) -> dict[str, Any]:
    """Return a framework's figures on the same batch, but for the changes."""
    batch = {"tokens": [[1, 2, 3], [1, 4, 5]], "targets": [[True, True], [True, True]]}
    figures = {
        "train": [{"loss": [loss]}],
        "adapter": {"scale": 20.0},
        "first_batch": batch | changes.pop("batch", {}),
    }
    return figures | changes


@pytest.mark.parametrize(
    ("figures", "kind", "holds"),
    [
        (other(2.5), "agrees", True),
        (other(2.501), "agrees", True),
        (other(2.51), "unexplained", False),
        (other(2.0, batch={"targets": [[True, False], [True, False]]}), "masking", True),
        (other(2.5, batch={"targets": [[True, False], [True, False]]}), "unexplained", False),
        (other(2.5, batch={"tokens": [[1, 2, 9], [1, 4, 5]]}), "template", False),
        (other(2.5, batch={"tokens": [[1, 2], [1, 4, 5]]}), "template", False),
        (other(2.5, batch={"tokens": [[1, 2, 3]]}), "template", False),
        (
            other(
                2.5,
                batch={
                    "tokens": [[1, 2, 3, 0], [1, 4, 5, 0]],
                    "targets": [[True, True, False], [True, True, False]],
                },
            ),
            "agrees",
            True,
        ),
        (
            other(
                2.5,
                batch={
                    "tokens": [[1, 2, 3, 0], [1, 4, 5, 0]],
                    "targets": [[True, True, True], [True, True, False]],
                },
            ),
            "padding",
            False,
        ),
        (other(2.5, adapter={"scale": 160.0}), "scale", False),
        (other(2.5, batch={"targets": [[False, False]] * 2}), "unexplained", False),
    ],
)
def test_a_difference_is_named(figures: dict[str, Any], kind: str, holds: bool) -> None:
    """Masking is mapped; other tokens, counted padding and another scale are not parity."""
    found = parity.explain("it", figures, REFERENCE)
    assert (found.kind, found.holds) == (kind, holds)
    assert found.text


def test_a_reference_that_trained_on_other_rows_is_no_reference() -> None:
    """Its own first loss must be the mean over the batch that it was to see."""
    wrong = copy.deepcopy(REFERENCE)
    wrong["train"][0]["loss"][0] = 2.6
    with pytest.raises(ResultError, match="did not come in the order"):
        parity.explain("it", other(2.5), wrong)


def test_a_missing_figure_is_an_error() -> None:
    """Without an adapter's scale nothing can be said."""
    with pytest.raises(ResultError, match="scale"):
        parity.explain("it", other(2.5, adapter={}), REFERENCE)


def test_the_recorded_frameworks_agree() -> None:
    """In the committed evidence every first loss is the reference's, once masks are mapped."""
    data = {name: json.loads(evidence.path(ROOT, name).read_text()) for name in framework.names()}
    found = {name: parity.explain(name, item, data["mlx-lm"]) for name, item in data.items()}
    assert all(item.holds for item in found.values())
    known = {"mlx-lm": "agrees", "axolotl": "masking", "peft": "agrees"}
    assert known.items() <= {name: item.kind for name, item in found.items()}.items()
