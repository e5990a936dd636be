"""Untrusted text inside Markdown: nothing of it is markup, a link or a mention."""

from __future__ import annotations

import re

from mlx_preflight.core.text import MAX_LINE, one_line

_CODE = re.compile(r"`([^`<>&|\\\n]+)`")
_MARKUP = re.compile(r"([\\`*_\[\]#|~$])")


def escape(value: object, limit: int = MAX_LINE) -> str:
    """Return foreign text as one line of harmless Markdown.

    Control characters go, line breaks become spaces, and whatever Markdown or HTML could
    read as markup, a link or a mention is escaped.
    """
    return _escaped(one_line(value, limit))


def code_or_text(value: object, limit: int = MAX_LINE) -> str:
    """Return foreign text escaped, with its plain `code spans` left as such."""
    parts = _CODE.split(one_line(value, limit))
    return "".join(f"`{part}`" if n % 2 else _escaped(part) for n, part in enumerate(parts))


def _escaped(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _MARKUP.sub(r"\\\1", text).replace("://", ":&#47;&#47;")
    text = re.sub(r"\bwww\.", r"www\.", text, flags=re.IGNORECASE)
    # GitHub looks for mentions after Markdown is rendered: a joiner breaks the name.
    return re.sub(r"@(?=\w)", "@\N{WORD JOINER}", text)
