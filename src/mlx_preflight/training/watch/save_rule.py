"""Whether a run is stopped after the save that it has just completed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mlx_preflight.core.units import format_bytes
from mlx_preflight.training.watch.forecast import Forecast
from mlx_preflight.training.watch.headroom import Headroom


@dataclass(slots=True)
class SaveRule:
    """Judge of each save.

    Attributes:
        forecast: What was predicted.
        headroom: What is left.
        began_s: Start of the first step; None before it.
    """

    forecast: Forecast
    headroom: Headroom
    began_s: float | None = None
    _saves: list[tuple[float, int]] = field(default_factory=list)

    def judge(self, at_s: float, iteration: int) -> str:
        """Return why the run is to stop after this save; empty where it goes on."""
        saves = [(at_s if self.began_s is None else self.began_s, 0), *self._saves][-2:]
        self._saves.append((at_s, iteration))
        following = self.forecast.next_save(iteration) or self.forecast.iters
        if self.headroom.limit_bytes is None or following is None or following <= iteration:
            return ""
        if self._meets_peak(iteration, following):
            return (
                f"the batch of iteration {self.forecast.peak_iteration:,} is predicted to take "
                f"{format_bytes(self.forecast.peak_bytes or 0)}, over the limit"
            )
        if self._grows(saves, (at_s, iteration), following):
            return "at this rate the memory would not last until the next save"
        return ""

    def _meets_peak(self, iteration: int, following: int) -> bool:
        """Return whether the highest peak is over the limit and comes before the next save."""
        known, limit = self.forecast, self.headroom.limit_bytes
        if known.peak_bytes is None or known.peak_iteration is None or limit is None:
            return False
        over = known.peak_bytes * known.here > limit
        return over and iteration < known.peak_iteration <= following

    def _grows(
        self, saves: Sequence[tuple[float, int]], now: tuple[float, int], following: int
    ) -> bool:
        """Return whether what the last stretch took is more than what is left.

        A stretch lies between two saves; before the second save it is half of the first one.
        """
        begin, middle = saves[0], saves[-1]
        if len(saves) == 1:
            middle = ((begin[0] + now[0]) / 2, (begin[1] + now[1]) // 2)
        if self._widest(middle[1], now[1]) > self._widest(begin[1], middle[1]):
            return False  # wider batches than before take more, and tell nothing of the next ones
        share = (following - now[1]) / max(1, now[1] - middle[1])
        return self.headroom.ends_within(begin[0], middle[0], share)

    def _widest(self, begin: int, end: int) -> int:
        widths = self.forecast.widths
        return max(widths[begin:end], default=0) if widths is not None else 0
