"""Write docs/configuration.md from the declarations of the settings.

Usage: `python scripts/document_settings.py`, or with `--check`: code 1 where the file differs.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_origin

from mlx_preflight.core.toml_table import Setting, Table, settings
from mlx_preflight.plan.settings import NAME, ProjectSettings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"

HEAD = f"""# Configuration

Every setting is a key of `[{NAME}]` in the project's `pyproject.toml`. Each
has a default. An unknown key, a wrong type and a value out of range are errors; the message says
what was expected, and which key is the nearest.

This page is written by `python scripts/document_settings.py`; edit the declarations instead.
"""

KINDS = {dt.date: "date", str: "string", int: "integer", float: "number", bool: "boolean"}


def page() -> str:
    """Return the text of the page."""
    lines = [HEAD, *_section(NAME, ProjectSettings)]
    shown = "\n".join(_example(ProjectSettings))
    lines += ["## All keys", "", "What stands behind a `#` is an example, not the default.", ""]
    return "\n".join([*lines, f"```toml\n[{NAME}]\n{shown}\n```", ""])


def _nested(item: Setting) -> type[Table] | None:
    """Return the table that a setting holds, or lists."""
    kind = get_args(item.kind)[0] if get_origin(item.kind) is tuple else item.kind
    return kind if isinstance(kind, type) and issubclass(kind, Table) else None


def _section(name: str, table: type[Table]) -> Iterator[str]:
    """Yield a heading, the rows of a table's own keys, and the sections of the tables in it."""
    yield f"## `[{name}]`\n"
    yield "| key | type | default | meaning |\n| --- | --- | --- | --- |"
    for item in settings(table):
        yield f"| `{item.key}` | {_kind(item)} | {_default(item)} | {_meaning(item)} |"
    yield ""
    for item in settings(table):
        nested = _nested(item)
        if nested is not None:
            inner = f"{name}.{item.key}"
            yield from _section(f"[{inner}]" if get_origin(item.kind) is tuple else inner, nested)


def _kind(item: Setting) -> str:
    if get_origin(item.kind) is tuple:
        return "array of tables" if _nested(item) else "array of strings"
    if _nested(item) or get_origin(item.kind) is dict:
        return "table"
    return KINDS[item.kind]


def _default(item: Setting) -> str:
    if item.default is dataclasses.MISSING:
        return "required"
    if item.default is None or _nested(item) or item.default == {}:
        return ""
    return f"`{json.dumps(item.default)}`"


def _meaning(item: Setting) -> str:
    words = item.rule.words if item.rule else ""
    return f"{item.meaning} {words[0].upper()}{words[1:]}." if words else item.meaning


def _example(table: type[Table]) -> Iterator[str]:
    """Yield a line per key: its default, or an example in a comment."""
    tables = []
    for item in settings(table):
        if _nested(item):
            tables.append(item)
        elif item.example:
            hidden = item.default is not dataclasses.MISSING
            yield f"{'# ' * hidden}{item.key} = {item.example}"
        else:
            yield f"{item.key} = {json.dumps(item.default)}"
    for item in tables:
        many = get_origin(item.kind) is tuple
        yield f"\n{'[' * (1 + many)}{NAME}.{item.key}{']' * (1 + many)}"
        yield from _example(_nested(item) or Table)


def main() -> int:
    """Write the page, or compare it."""
    if "--check" not in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        print(f"{PAGE} differs: run `python scripts/document_settings.py`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
