"""Tests of the sanitizers on hostile texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_preflight.core import text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x07", "link"),
        ("\x1b]0;never ended", "0;never ended"),
        ("\x1bcreset", "reset"),
        ("a\r\n\tb  c\x0bd", "a b c d"),
        ("a\x00\x08\u200e\u202eb", "ab"),
        ("abcdef", "ab…"),
    ],
)
def test_control_characters_go(raw: str, shown: str) -> None:
    """Terminal escapes vanish whole, line breaks become blanks, cuts are marked."""
    assert text.one_line(raw, 3 if raw == "abcdef" else 300) == shown


@given(st.text(st.characters(), max_size=60), st.integers(1, 30))
def test_one_line_is_printable_and_short(raw: str, limit: int) -> None:
    """Whatever comes in, one printable line of at most the limit comes out."""
    shown = text.one_line(raw, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    assert text.one_line(shown, limit) == shown


def test_line_breaks_survive_where_lines_are_shown() -> None:
    """A message of several lines keeps them; what commands the terminal is marked."""
    assert text.strip_control("a\nb\x1b[31m\u202ec\t") == "a\nb\ufffd[31m\ufffdc\ufffd"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\x1b\u202eü", r"'a\x1b\u202e\xfc'"),
        ("x" * 80, f"'{'x' * 80}'"),
        ("x" * 81, f"'{'x' * 12}...{'x' * 13}'"),
        ([1, "ü"], r"[1, '\xfc']"),
        (10**100, "100000000000000000...0000000000000000000"),
    ],
)
def test_a_value_is_repeated_in_ascii(value: object, shown: str) -> None:
    """Values of a stranger's file are quoted, escaped and short."""
    assert text.printable(value) == shown


def test_a_list_names_how_many_it_leaves_out() -> None:
    """Ten names, then the number of the others."""
    assert text.printable_list(["a", "b"]) == "'a', 'b'"
    assert text.printable_list([str(n) for n in range(12)]).endswith("'9' and 2 more")


@pytest.mark.parametrize(("limit", "shown"), [(4, "abc…"), (5, "abcde"), (1, "…")])
def test_a_cut_is_marked(limit: int, shown: str) -> None:
    """A text never grows over its limit, and a cut one says so."""
    assert text.truncate("abcde", limit) == shown


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("token hf_abcdefghijkl in use", "token *** in use"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer ***"),
        ("authorization: bearer abc", "authorization: bearer ***"),
        ("https://user:pass@host/x", "https://***@host/x"),
        ("https://onlytoken@host/x", "https://***@host/x"),
        ("https://host/a@b and me@example.org", "https://host/a@b and me@example.org"),
        ("hf_hub is a name", "hf_hub is a name"),
    ],
)
def test_secrets_are_redacted(raw: str, shown: str) -> None:
    """Tokens and credentials in output become asterisks, all else stays."""
    assert text.redact(raw) == shown
