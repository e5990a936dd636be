"""Predictions that a search for settings asks for, each made once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mlx_preflight.core.errors import EstimateError, UntraceableError, UsageError
from mlx_preflight.memory.predict import Prediction, predict
from mlx_preflight.memory.settings import Settings


class Predictions:
    """Predictions of one model, each made once.

    Attributes:
        budget_bytes: Memory that the upper end may take.
    """

    def __init__(
        self, config: Mapping[str, Any], budget_bytes: int, note: Callable[[str], None]
    ) -> None:
        """Start without a prediction; `note` shows progress."""
        self.budget_bytes = budget_bytes
        self._config, self._note = config, note
        self._seen: dict[Settings, Prediction | None] = {}

    def predict(self, settings: Settings) -> Prediction:
        """Return a prediction, or raise why there is none."""
        known = self._seen.get(settings)
        if known is None:
            self._note(f"prediction {len(self._seen) + 1}")
            known = self._seen[settings] = predict(self._config, settings)
        return known

    def high(self, settings: Settings) -> float:
        """Return the upper end; infinite where the run cannot be traced."""
        if settings in self._seen and self._seen[settings] is None:
            return float("inf")
        try:
            return self.predict(settings).peak_high_bytes
        except EstimateError:
            raise
        except (UntraceableError, UsageError):
            self._seen[settings] = None
            return float("inf")

    def fits(self, settings: Settings) -> bool:
        """Return whether the upper end is within the budget."""
        return self.high(settings) <= self.budget_bytes

    def floor(self, settings: Settings) -> float:
        """Return what a run holds at every moment, in terms of the upper end."""
        found = self.predict(settings)
        held = ("weights", "adapters", "optimizer state")
        size = sum(found.breakdown_bytes.get(name, 0) for name in held)
        return size * found.peak_high_bytes / found.peak_bytes
