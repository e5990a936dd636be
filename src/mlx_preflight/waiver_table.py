"""Hold `[[tool.mlx-preflight.audit-waivers]]`: advisories accepted for a time, with a reason.

It must import nothing beyond the standard library, as `plan` imports it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from mlx_preflight import table
from mlx_preflight.errors import UsageError


@dataclass(frozen=True, slots=True)
class Waiver:
    """Hold one accepted advisory.

    Attributes:
        id: Its id, or one of its aliases.
        reason: Why it does no harm here.
        expires: First day on which it no longer counts.
    """

    id: str
    reason: str
    expires: dt.date

    def expired(self, today: dt.date) -> bool:
        """Return whether it no longer counts."""
        return today >= self.expires


_TYPES: dict[str, tuple[type, ...]] = {"id": (str,), "reason": (str,), "expires": (dt.date, str)}


def read(found: object) -> tuple[Waiver, ...]:
    """Return the waivers that a project's table lists.

    Raises:
        UsageError: One lacks id, reason or date, holds another key, or is listed twice.
    """
    where = "[[tool.mlx-preflight.audit-waivers]]"
    waivers = []
    for item in found if isinstance(found, list) else [found]:
        values = table.read(where, item, _TYPES)
        missing = [name for name in _TYPES if not str(values.get(name, "")).strip()]
        if missing:
            raise UsageError(f"{where}: {', '.join(missing)} missing in {item!r}")
        try:
            expires = dt.date.fromisoformat(str(values["expires"])[:10])
        except ValueError as error:
            raise UsageError(f"{where} expires = {values['expires']!r}: {error}") from error
        waivers.append(Waiver(values["id"].strip(), values["reason"].strip(), expires))
    names = [waiver.id for waiver in waivers]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{where}: {', '.join(twice)} listed twice")
    return tuple(waivers)
