r"""Sanitizers of untrusted text, one per kind of output.

Model files, tools and earlier runs decide what stands in a message; none of it may command
a terminal, turn text around, or fill a page. Markup is escaped where a format is rendered:
a text without control characters is still no Markdown, HTML or XML.
"""

from __future__ import annotations

import re
import reprlib
import unicodedata
from collections.abc import Sequence

MAX_LINE = 300
"""Longest line that a report shows unless it asks for another length."""

MAX_VALUE = 80
"""Longest untrusted value that a message repeats in full."""

MAX_VALUES = 10
"""Most untrusted names that a message lists."""

_ESCAPES = re.compile(
    # CSI, then OSC and its relatives with their terminator, then two-character escapes.
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x80-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)

_SECRETS = re.compile(r"\bhf_[A-Za-z0-9]{8,}|(?i:(?<=bearer ))\S+|(?<=://)[^/\s@]+(?=@)")


def is_control(char: str) -> bool:
    """Return whether a character commands a terminal, turns text around, or means nothing."""
    return unicodedata.category(char)[0] == "C"


def strip_escapes(text: str) -> str:
    """Remove terminal escape sequences, such as colours."""
    return _ESCAPES.sub("", text)


def strip_control(text: str) -> str:
    """Replace control characters by U+FFFD, line breaks kept."""
    return "".join(
        char if char == "\n" or not is_control(char) else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )


def one_line(value: object, limit: int = MAX_LINE) -> str:
    """Return a value as one line without control characters and terminal escapes.

    What is longer than `limit` characters is cut, and ends in `…` to say so.
    """
    # Escapes and blanks shrink the text, so more than the limit is looked at.
    text = str(value)[: 20 * limit]
    if not text.isprintable():
        kept = (
            " " if char.isspace() else "" if is_control(char) else char
            for char in strip_escapes(text)
        )
        text = "".join(kept)
    return truncate(" ".join(text.split()), limit)


def truncate(text: str, limit: int) -> str:
    """Cut a text to `limit` characters, the last of which is then `…`."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def printable(value: object) -> str:
    """Return a short ASCII form of a value in quotes, safe for any terminal."""
    if isinstance(value, str) and len(value) <= MAX_VALUE:
        return ascii(value)
    return reprlib.repr(value).encode("ascii", "backslashreplace").decode("ascii")


def printable_list(values: Sequence[str]) -> str:
    """Return the first names of a list in printable form, and how many more there are."""
    more = f" and {len(values) - MAX_VALUES} more" if len(values) > MAX_VALUES else ""
    return ", ".join(map(printable, values[:MAX_VALUES])) + more


def join_findings(findings: Sequence[str], most: int = MAX_VALUES) -> str:
    """Return the first findings in one line, and how many there are beyond them."""
    more = f"; and {len(findings) - most} more" if len(findings) > most else ""
    return "; ".join(findings[:most]) + more


def redact(text: str) -> str:
    """Replace hub tokens, bearer tokens and URL credentials in a text by `***`."""
    return _SECRETS.sub("***", text)
