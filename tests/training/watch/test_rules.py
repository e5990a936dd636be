"""When a run is stopped: rates, limits and saves, in numbers."""

from __future__ import annotations

from typing import Any

import pytest

from mlx_preflight.training.watch.forecast import Forecast
from mlx_preflight.training.watch.headroom import MAX_SAMPLES, Headroom
from mlx_preflight.training.watch.save_rule import SaveRule

LIMIT, MARGIN = 1000, 100
PLENTY = 10_000


def filled(*samples: tuple[float, int], free: int = PLENTY, heeds_free: bool = True) -> Headroom:
    """Return the headroom after some samples of what is held."""
    room = Headroom(LIMIT, MARGIN, heeds_free)
    for at_s, held in samples:
        room.add(at_s, held, free)
    return room


def test_a_plateau_under_the_limit_is_left_alone() -> None:
    """Also one that is near it."""
    assert not filled(*((0.25 * n, 990) for n in range(20))).is_exhausted()


def test_growth_is_stopped_before_the_limit() -> None:
    """The last half second decides: 100 bytes are no time at 1,000 per second."""
    room = filled((0, 400), (0.5, 900))
    assert room.is_exhausted()
    assert room.pause_s() < filled((0, 400), (0.5, 410)).pause_s()


def test_growth_before_the_first_steps_tells_nothing() -> None:
    """Loading a model ends, and so does the first step; the limit itself counts all the time."""
    room = Headroom(LIMIT, MARGIN, heeds_free=True, counts_from_s=1.0)
    for at_s, held in ((0.0, 400), (0.6, 900), (1.1, 950)):
        room.add(at_s, held, PLENTY)
        assert not room.is_exhausted()
    room.add(1.4, 980, PLENTY)
    assert room.is_exhausted()


def test_a_busy_machine_needs_more_time() -> None:
    """Samples that come late keep more in hand."""
    assert not filled(*((n / 50, 900 + n) for n in range(70))).is_exhausted()
    assert filled((0, 900), (0.7, 935), (1.4, 970)).is_exhausted()


def test_growth_that_was_predicted_may_reach_the_limit() -> None:
    """Loading a model is fast, and ends where the prediction says."""
    assert not filled((0, 400), (0.5, 900)).is_exhausted(growth_is_expected=True)
    assert filled((0, 400), (0.5, 1000)).is_exhausted(growth_is_expected=True)


def test_the_margin_of_the_system_counts_if_it_was_free_at_first() -> None:
    """A machine that had less from the start would stop every run."""
    room = filled((0, 10), free=MARGIN)
    assert room.is_exhausted()
    assert room.by_free
    assert not filled((0, 10), free=MARGIN, heeds_free=False).is_exhausted()


def test_without_a_limit_nothing_is_stopped() -> None:
    """The default only warns."""
    room = Headroom(None, MARGIN, heeds_free=True)
    room.add(0, 10**12, 0)
    assert not room.is_exhausted()


def test_samples_of_days_keep_their_extremes() -> None:
    """Neighbours become one, and the lowest stays."""
    room = filled((0, 900), *((float(n), 100) for n in range(1, 3 * MAX_SAMPLES)))
    assert len(room._lowest) <= MAX_SAMPLES
    assert min(left for _, left in room._lowest) == LIMIT - 900


def judged(held: list[int], *, widths: tuple[int, ...] | None = None, **known: Any) -> list[str]:
    """Return what is said at each save: one per ten samples, a second apart."""
    room = Headroom(LIMIT, MARGIN, heeds_free=True)
    forecast = Forecast(iters=len(held) + 10, save_every=10, widths=widths, **known)
    rule = SaveRule(forecast, room, began_s=0.0)
    found = []
    for second, size in enumerate(held, 1):
        room.add(float(second), size, PLENTY)
        if second % 10 == 0:
            found.append(rule.judge(float(second), second))
    return found


def test_a_run_that_grows_is_stopped_at_its_last_safe_save() -> None:
    """20 bytes per second: 400 at the second save, 800 at the fourth, and 1000 at the fifth."""
    assert [bool(text) for text in judged([20 * n for n in range(1, 50)])] == [False] * 3 + [True]


def test_a_run_that_does_not_grow_goes_on() -> None:
    """Noise up to the limit is no growth beyond it."""
    assert not any(judged([900 + n % 7 for n in range(60)]))


def test_wider_batches_explain_growth() -> None:
    """What they take tells nothing of the next ones."""
    held = [500] * 20 + [800] * 10
    assert any(judged(held))
    assert not any(judged(held, widths=(*[32] * 20, *[512] * 30)))


def test_the_widest_batch_is_awaited_by_nobody() -> None:
    """Its iteration is known: the run stops at the last save before it."""
    known: dict[str, Any] = {"peak_bytes": 1500, "peak_iteration": 25}
    assert [bool(text) for text in judged([100] * 30, **known)] == [False, True, False]


@pytest.mark.parametrize(("at", "following"), [(0, 10), (9, 10), (10, 20), (20, None)])
def test_the_next_save_is_known(at: int, following: int | None) -> None:
    """Numbered files are written at multiples of save_every."""
    assert Forecast(iters=25, save_every=10).next_save(at) == following
