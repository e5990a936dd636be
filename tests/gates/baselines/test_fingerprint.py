"""Findings are recognised after moves, and never confused when one replaces another."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from mlx_preflight.core.diagnostic import Diagnostic
from mlx_preflight.gates.baselines import fingerprint, suppressions
from mlx_preflight.gates.baselines.fingerprint import Fingerprint, compare

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

few = st.sampled_from("abc")
fingerprints = st.builds(Fingerprint, path=few, code=few, message=few, where=few, text=few)
lists = st.lists(fingerprints, max_size=12)


@given(lists, st.randoms(use_true_random=False))
def test_the_same_findings_in_any_order_are_known(
    recorded: list[Fingerprint], random: Random
) -> None:
    """A tool that prints in another order found nothing new."""
    shuffled = list(recorded)
    random.shuffle(shuffled)
    changed = compare(Counter(recorded), shuffled)
    assert (changed.new, changed.fixed) == ((), ())


@given(lists, lists)
def test_new_and_fixed_balance(recorded: list[Fingerprint], found: list[Fingerprint]) -> None:
    """Every finding is paired at most once: found - new = recorded - fixed."""
    changed = compare(Counter(recorded), found)
    assert len(found) - len(changed.new) == len(recorded) - len(changed.fixed)
    assert len(set(changed.new)) == len(changed.new)


@given(lists, fingerprints)
def test_one_more_is_one_new(recorded: list[Fingerprint], extra: Fingerprint) -> None:
    """A copy of a known finding is new: a set would not see it."""
    changed = compare(Counter(recorded), [*recorded, extra])
    assert len(changed.new) == 1
    assert not changed.fixed


@given(lists)
def test_renamed_files_hold_nothing_new(recorded: list[Fingerprint]) -> None:
    """Another path with the same code, message and line is a move."""
    moved = [Fingerprint(f"new/{m.path}", m.code, m.message, m.where, m.text) for m in recorded]
    assert compare(Counter(recorded), moved).new == ()


def test_a_new_finding_does_not_hide_behind_a_fixed_one() -> None:
    """The count stays the same, and the finding is new."""
    old = Fingerprint("a.py", "no-untyped-def", "generic", "first", "def first(x):")
    new = Fingerprint("a.py", "no-untyped-def", "generic", "second", "def second(x):")
    changed = compare(Counter([old]), [new])
    assert changed.new == (0,)
    assert changed.fixed == (old,)


def test_place_and_text_come_from_the_file(tmp_path: Path) -> None:
    """The enclosing definition is dotted, the line squeezed, a line number left out."""
    (tmp_path / "a.py").write_text(
        "class Box:\n    @property\n    def size(self):\n        return   open( 1 )\n"
    )
    found = [
        Diagnostic("ruff", "X1", "redefined from line 12", "a.py", 4, 1),
        Diagnostic("ruff", "X1", "m", "a.py", 2, 1),
        Diagnostic("ruff", "X1", "m", "gone.py", 9, 1),
    ]
    inner, decorator, gone = fingerprint.compute(tmp_path, found)
    assert inner == Fingerprint(
        "a.py", "X1", "redefined from line N", "Box.size", "return open( 1 )"
    )
    assert decorator.where == "Box.size"
    assert (gone.where, gone.text) == ("", "")


def test_suppressions_are_comments_not_words(tmp_path: Path) -> None:
    """Every form counts, and a string that looks like one does not."""
    path = tmp_path / "a.py"
    path.write_text(
        "import os  # noqa\n"
        "import re  # noqa: F401\n"
        "# ruff: noqa: E501\n"
        "import io  # ruff: ignore[F401]\n"
        "# ruff: file-ignore[E501]\n"
        "text = '# noqa'\n"
        "x: int = 'a'  # type: ignore[assignment]\n"
        "# mypy: ignore-errors\n"
    )
    (tmp_path / "pyproject.toml").write_text(
        "[tool.ruff.lint]\nignore = ['E1']\nper-file-ignores = {'a.py' = ['F401', 'E2']}\n"
        "[[tool.mypy.overrides]]\nmodule = 'x.*'\nignore_errors = true\n"
    )
    (tmp_path / "mypy.ini").write_text("[mypy-y.*]\nignore_missing_imports = True\n")
    lint = suppressions.count("lint", tmp_path, [path])
    types = suppressions.count("types", tmp_path, [path])
    assert lint == {"comments": 5, "configured": 3}
    assert types == {"comments": 2, "configured": 2}
