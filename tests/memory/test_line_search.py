"""The search along one setting is exact, and takes few predictions."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mlx_preflight.memory.line_search import Start, first_that_fits

ROWS = tuple(range(8160, 255, -32))
CURVES: dict[str, Callable[[int], float]] = {
    "linear": lambda row: 4e9 + 2e6 * row,
    "quadratic": lambda row: 4e9 + 1e6 * row + 300 * row * row,
    "two moments": lambda row: max(6e9 + 1e5 * row, 4e9 + 2e6 * row),
}


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
@pytest.mark.parametrize("limit", [4.9e9, 6.2e9, 9e9, 15e9, 19e9])
def test_the_highest_that_fits_is_found(curve: Callable[[int], float], limit: float) -> None:
    """As asking every value would find it, with at most ten of 248 asked."""
    asked: list[int] = []

    def size(index: int) -> float:
        asked.append(index)
        return curve(ROWS[index])

    found = first_that_fits(ROWS, size, Start(8192, curve(8192), 4e9), limit)
    wanted = next((i for i, row in enumerate(ROWS) if curve(row) <= limit), len(ROWS) - 1)
    assert found == wanted
    assert len(asked) == len({*asked}) <= 10


@pytest.mark.parametrize("values", [(8, 6, 4), (False, True), ((), ("q",)), (1,)])
def test_values_without_an_order_are_searched_as_well(values: tuple[object, ...]) -> None:
    """Nothing is known of their distance; the last one is the answer where none fits."""
    sizes = [10.0 - index for index in range(len(values))]
    for limit in (20, 9.5, 8.5, 1):
        wanted = next((i for i, size in enumerate(sizes) if size <= limit), len(values) - 1)
        start = Start(None, float("inf"), 0)
        assert first_that_fits(values, sizes.__getitem__, start, limit) == wanted
