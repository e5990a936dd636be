"""Hold `[tool.mlx-preflight.selection]`: what each criterion weighs, how old evidence may be.

It must import nothing beyond the standard library, as `plan` imports it.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from mlx_preflight import table
from mlx_preflight.errors import UsageError

CRITERIA = ("memory", "speed", "ease", "qlora", "m1_max")
"""The five criteria of the test plan; each weighs 1 unless the table says otherwise."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Hold the weights and the age limit.

    Attributes:
        memory: Weight of the peak memory of a training.
        speed: Weight of its tokens per second.
        ease: Weight of installation, import and configuration.
        qlora: Weight of training on a base model in four bits.
        m1_max: Weight of the support for Apple silicon.
        max_evidence_age_days: Oldest measurement that a document may rest on.
    """

    memory: float = 1.0
    speed: float = 1.0
    ease: float = 1.0
    qlora: float = 1.0
    m1_max: float = 1.0
    max_evidence_age_days: int = 180

    @property
    def weights(self) -> dict[str, float]:
        """Return criterion → weight."""
        return {name: float(getattr(self, name)) for name in CRITERIA}


_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(CRITERIA, (int, float)),
    "max_evidence_age_days": (int,),
}


def read(found: object) -> Selection:
    """Return the project's weights.

    Raises:
        UsageError: A key is unknown, a weight is no finite number of at least 0, all are 0,
            or the age is below 1 day.
    """
    where = "[tool.mlx-preflight.selection]"
    chosen = dataclasses.replace(Selection(), **table.read(where, found, _TYPES))
    for name, weight in chosen.weights.items():
        if not 0 <= weight < math.inf:
            key = name.replace("_", "-")
            raise UsageError(f"{where} {key} = {weight}: expected a number of at least 0")
    if not any(chosen.weights.values()):
        raise UsageError(f"{where}: every weight is 0, so nothing could be selected")
    if chosen.max_evidence_age_days < 1:
        age = chosen.max_evidence_age_days
        raise UsageError(f"{where} max-evidence-age-days = {age}: expected at least 1")
    return chosen
