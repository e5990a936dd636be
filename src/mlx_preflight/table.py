"""Read typed TOML tables, and suggest the nearest name for a wrong one.

An unknown key is always an error: a misspelt limit that is ignored would judge by the
default. It must import nothing beyond the standard library, as `plan` imports it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from mlx_preflight.errors import UsageError


def read(where: str, table: object, types: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    """Return a TOML table's values by field name (`lint-max` becomes `lint_max`).

    Args:
        where: Name of the table for messages, such as `[tool.mlx-preflight]`.
        table: What the TOML reader found there.
        types: Field name → accepted types.

    Raises:
        UsageError: It is no table, a key is unknown, or a value has the wrong type.
    """
    if not isinstance(table, dict):
        raise UsageError(f"{where}: expected a table")
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in types or key != name.replace("_", "-"):
            allowed = [item.replace("_", "-") for item in types]
            raise UsageError(f"{where}: unknown key {key!r}{suggest(key, allowed)}")
        expected = types[name]
        if not isinstance(value, expected) or (isinstance(value, bool) and bool not in expected):
            names = " or ".join(item.__name__ for item in expected)
            raise UsageError(f"{where} {key} = {value!r}: expected {names}")
        values[name] = value
    return values


def suggest(name: str, allowed: Iterable[str]) -> str:
    """Return `; did you mean …?`, or the allowed names when none is near."""
    names = list(allowed)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(names)}"
