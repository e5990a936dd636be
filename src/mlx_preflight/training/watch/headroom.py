"""Memory that a run may still take before it has to be stopped, and where that is going.

Two rules. At once: at the rate of the last second nothing is left within the reaction time.
After a save: by the next one nothing would be left, at the rate between the last two.
"""

from __future__ import annotations

from dataclasses import dataclass, field

RATE_S = 0.5
"""Least time over which a rate is taken."""

LEAST_S = 0.25
"""Time under which two samples make no rate: one step may take much at once and nothing later."""

REACTION_S = 0.3
"""Time from a sample to the end of the run that is kept in hand, beside that between two samples:
a signal, and the step in progress (at worst 0.4 s of 33 runs, two cores under load, 2026-11-28)."""

NEAR_S, CLOSE_S = 10.0, 2.0
"""Times to the limit from which samples are taken more often."""

SAMPLE_S = {"far": 0.25, "near": 0.1, "close": 0.03}
"""Seconds between two samples; one costs about 0.05 ms per process (psutil 7.2, Linux)."""

MAX_SAMPLES = 4_000
"""Samples that are kept; then two neighbours become one, so a run of days is kept coarser."""

Sample = tuple[float, int]


@dataclass(slots=True)
class Headroom:
    """Memory left of a limit on the run, and of a margin on the system.

    Attributes:
        limit_bytes: Most that the run may hold; None for no limit: nothing is then ever stopped.
        margin_bytes: Least that must stay free on the system.
        heeds_free: Whether the margin counts: it was free when the run started.
        held_bytes: What the run holds now.
        left_bytes: What is left now; None before the first sample and without a limit.
        by_free: Whether the margin is what leaves least.
        counts_from_s: Time from which growth counts: loading a model and compiling a step end.
    """

    limit_bytes: int | None
    margin_bytes: int
    heeds_free: bool
    held_bytes: int = 0
    left_bytes: int | None = None
    by_free: bool = False
    counts_from_s: float = 0.0
    _recent: list[Sample] = field(default_factory=list)
    _lowest: list[Sample] = field(default_factory=list)

    def add(self, at_s: float, held_bytes: int, free_bytes: int | None) -> None:
        """Add a sample."""
        self.held_bytes = held_bytes
        if self.limit_bytes is None:
            return
        left = self.limit_bytes - held_bytes
        self.by_free = False
        if self.heeds_free and free_bytes is not None and free_bytes - self.margin_bytes < left:
            left, self.by_free = free_bytes - self.margin_bytes, True
        self.left_bytes = left
        self._recent = [s for s in self._recent if at_s - s[0] <= 2 * RATE_S] + [(at_s, left)]
        self._lowest.append((at_s, left))
        if len(self._lowest) > MAX_SAMPLES:
            pairs = zip(self._lowest[::2], self._lowest[1::2], strict=False)
            self._lowest = [(a[0], min(a[1], b[1])) for a, b in pairs]

    def rate(self) -> float:
        """Return the bytes per second by which less is left; 0 where it is not falling."""
        counted = [item for item in self._recent if item[0] >= self.counts_from_s]
        if not counted:
            return 0.0
        at_s, left = counted[-1]
        earlier = [item for item in counted if at_s - item[0] >= RATE_S] or counted[:1]
        passed = at_s - earlier[-1][0]
        return max(0.0, (earlier[-1][1] - left) / passed) if passed >= LEAST_S else 0.0

    def _gap_s(self) -> float:
        """Return the time between the last two samples, which is long on a busy machine."""
        return self._recent[-1][0] - self._recent[-2][0] if len(self._recent) > 1 else 0.0

    def is_exhausted(self, *, growth_is_expected: bool = False) -> bool:
        """Return whether the run must stop at once.

        Args:
            growth_is_expected: Whether the prediction explains what the run takes: then only the
                limit itself counts, and not the rate.
        """
        if self.left_bytes is None:
            return False
        reserve = 0.0 if growth_is_expected else self.rate() * (REACTION_S + self._gap_s())
        return self.left_bytes <= reserve

    def pause_s(self) -> float:
        """Return the seconds to the next sample: the nearer the limit, the fewer."""
        rate = self.rate()
        if self.left_bytes is None or rate <= 0:
            return SAMPLE_S["far"]
        left_s = self.left_bytes / rate
        return SAMPLE_S["close" if left_s < CLOSE_S else "near" if left_s < NEAR_S else "far"]

    def ends_within(self, begin_s: float, middle_s: float, share: float) -> bool:
        """Return whether nothing is left after the next stretch of time, at the rate up to now.

        Args:
            begin_s: Start of the first of two stretches.
            middle_s: End of the first and start of the second, which ends now.
            share: Length of the coming stretch over that of the second.
        """
        first = [left for at, left in self._lowest if begin_s <= at < middle_s]
        second = [left for at, left in self._lowest if at >= middle_s]
        if not first or not second:
            return False
        fall = max(0, min(first) - min(second))
        return min(second) - fall * share <= 0
