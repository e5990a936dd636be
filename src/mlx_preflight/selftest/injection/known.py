"""Cases that are known not to end well, each with its reason; none is left out for that."""

from __future__ import annotations

OPEN: dict[str, str] = {}
"""Id of a case → why it is missed, or a false alarm."""
