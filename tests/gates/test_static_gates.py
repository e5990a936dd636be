"""Gates 1 to 3: the real black, ruff and mypy on a real project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlx_preflight.core.result import Status
from tests.gates import sample

if TYPE_CHECKING:
    from pathlib import Path

STATIC = [
    "gate1-format",
    "gate2-lint",
    pytest.param("gate3-types", marks=pytest.mark.slow),
]


@pytest.mark.slow
@pytest.mark.parametrize("gate", STATIC)
def test_a_clean_project_passes_with_its_files_counted(tmp_path: Path, gate: str) -> None:
    """The gate passes and says how many files it examined."""
    check = sample.run(sample.make(tmp_path), gate)
    assert check.status is Status.PASS, check.reason
    assert sample.value(check, "files_examined") == 3


@pytest.mark.slow
@pytest.mark.parametrize("gate", STATIC)
def test_a_project_without_python_is_an_error(tmp_path: Path, gate: str) -> None:
    """Nothing examined is never a pass, though black and ruff exit 0."""
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert sample.run(tmp_path, gate).status is Status.ERROR


@pytest.mark.slow
@pytest.mark.parametrize("gate", STATIC)
def test_a_syntax_error_is_an_error_not_a_count(tmp_path: Path, gate: str) -> None:
    """A file that cannot be parsed is ERROR, however many findings are accepted."""
    project = sample.make(tmp_path, src__sample__bad="def broken(:\n")
    check = sample.run(project, gate, lint_max=1000, types_max=1000)
    assert check.status is Status.ERROR
    assert "bad.py" in check.reason


def test_an_unformatted_file_is_named(tmp_path: Path) -> None:
    """Black's finding names the file."""
    check = sample.run(sample.make(tmp_path, src__sample__ugly="x = {  'a':1 }\n"), "gate1-format")
    assert check.status is Status.FAIL
    assert "src/sample/ugly.py" in check.reason


@pytest.mark.slow
@pytest.mark.parametrize(("accepted", "status"), [(0, Status.FAIL), (1, Status.PASS)])
def test_ruff_findings_are_compared_with_the_accepted_number(
    tmp_path: Path, accepted: int, status: Status
) -> None:
    """One unused import fails at 0 accepted and passes at 1."""
    project = sample.make(tmp_path, src__sample__extra="import os\n")
    check = sample.run(project, "gate2-lint", lint_max=accepted)
    assert check.status is status
    assert sample.value(check, "findings") == 1
    if status is Status.FAIL:
        assert "src/sample/extra.py:1 F401" in check.reason


@pytest.mark.slow
@pytest.mark.parametrize(("accepted", "status"), [(0, Status.FAIL), (1, Status.PASS)])
def test_mypy_errors_are_compared_with_the_accepted_number(
    tmp_path: Path, accepted: int, status: Status
) -> None:
    """One wrong assignment fails at 0 accepted and passes at 1."""
    project = sample.make(tmp_path, src__sample__extra='NUMBER: int = "one"\n')
    check = sample.run(project, "gate3-types", types_max=accepted)
    assert check.status is status
    assert sample.value(check, "errors") == 1
    if status is Status.FAIL:
        assert "src/sample/extra.py:1 assignment" in check.reason


@pytest.mark.slow
def test_a_hundred_findings_are_counted_and_ten_named(tmp_path: Path) -> None:
    """A long list of findings is cut in the reason and whole in the measurement."""
    text = "".join(f"import os as module_{n}\n" for n in range(100))
    check = sample.run(sample.make(tmp_path, src__sample__many=text), "gate2-lint")
    assert sample.value(check, "findings") == 100
    assert "and 90 more" in check.reason


@pytest.mark.slow
def test_a_broken_configuration_is_an_error(tmp_path: Path) -> None:
    """A configuration that the tool refuses is ERROR with the tool's own words."""
    project = sample.make(tmp_path)
    table = project / "pyproject.toml"
    table.write_text(table.read_text() + "\n[tool.ruff]\nno-such-key = 1\n")
    check = sample.run(project, "gate2-lint")
    assert check.status is Status.ERROR
    assert "no-such-key" in check.reason
