"""The error tree."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from mlx_preflight.core import errors


def test_every_error_has_the_one_base_and_a_documented_exit_code() -> None:
    """All errors derive from PreflightError and exit with 2, 3, 4, or 130 of an interrupt."""
    found = [item for _, item in inspect.getmembers(errors, inspect.isclass)]
    kinds = [item for item in found if issubclass(item, errors.PreflightError)]
    assert len(kinds) >= 7
    assert len(kinds) == sum(issubclass(item, Exception) for item in found)
    assert {item.exit_code for item in kinds} == {2, 3, 4, 130}


def test_the_hint_is_kept_beside_the_message() -> None:
    """The message says what failed, the hint what to do."""
    error = errors.PreflightError("no weights", hint="download them")
    assert (str(error), error.hint) == ("no weights", "download them")


@pytest.mark.slow
def test_no_terminal_obeys_what_a_message_quotes() -> None:
    """An escape sequence in a name reaches stderr as a mark."""
    command = [sys.executable, "-m", "mlx_preflight", "download", "a\x1b[31mb/c"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "is not a hub id" in done.stderr
    assert "\x1b" not in done.stderr
