"""Recorded baselines on real tools: moves are known, swaps are new, nothing grows silently."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mlx_preflight.core.errors import PreflightError, ResultError, UsageError
from mlx_preflight.core.result import Status
from mlx_preflight.gates.baselines import baseline, recording
from tests.gates import sample

if TYPE_CHECKING:
    from pathlib import Path

DEBT = "import os\nimport re\n\n\ndef use(x):\n    import io\n"
GATES = {"lint": "gate2-lint", "types": "gate3-types", "tests": "gate4-unit"}
UNTYPED = '''

def first(x):
    """One."""
    return x


def second(x: int) -> int:
    """Two."""
    return x
'''


@pytest.fixture(autouse=True)
def _not_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)


def record(project: Path, kind: str, **options: Any) -> recording.BaselineChange:
    """Record a baseline of a project."""
    _, context = sample.session_and_context(project, GATES[kind])
    return recording.record(kind, context, **options)


def debt(tmp_path: Path) -> Path:
    """Return a project with three accepted findings of ruff."""
    project = sample.make(tmp_path, src__sample__old=DEBT)
    done = record(project, "lint")
    assert (done.total, done.added, done.removed) == (3, 3, 0)
    return project


@pytest.mark.slow
def test_accepted_findings_pass_and_are_marked_known(tmp_path: Path) -> None:
    """Nothing new passes at the recorded number, with both numbers in the reason."""
    check = sample.run(debt(tmp_path), "gate2-lint")
    assert check.status is Status.PASS
    assert "0 new findings, 3 in all" in check.reason
    assert {item.state for item in check.diagnostics} == {"known"}
    text = (tmp_path / ".baselines" / "lint.json").read_text()
    assert '"line"' not in text
    assert text.count("\n  {") == 3


@pytest.mark.slow
def test_moves_are_not_new(tmp_path: Path) -> None:
    """Lines added above and a renamed file change no fingerprint."""
    project = debt(tmp_path)
    old = project / "src" / "sample" / "old.py"
    (old.parent / "moved.py").write_text('"""Moved."""\n\n# One line more.\n' + old.read_text())
    old.unlink()
    check = sample.run(project, "gate2-lint")
    assert check.status is Status.PASS, check.reason
    assert sample.value(check, "findings_new") == 0
    assert {item.path for item in check.diagnostics} == {"src/sample/moved.py"}


def test_a_swap_is_caught_though_the_count_is_the_same(tmp_path: Path) -> None:
    """One fixed and one new: a count sees 3 of 3, the fingerprint sees the new one."""
    project = debt(tmp_path)
    old = project / "src" / "sample" / "old.py"
    old.write_text(DEBT.replace("import re\n", "import sys\n"))
    check = sample.run(project, "gate2-lint")
    assert check.status is Status.FAIL
    assert sample.value(check, "findings") == 3
    assert sample.value(check, "findings_new") == 1
    assert "`sys` imported but unused" in check.reason


@pytest.mark.slow
def test_a_copy_is_new(tmp_path: Path) -> None:
    """The same finding once more is one more, not the same."""
    project = debt(tmp_path)
    old = project / "src" / "sample" / "old.py"
    old.write_text(DEBT + "    import io\n")
    check = sample.run(project, "gate2-lint")
    assert check.status is Status.FAIL
    assert sample.value(check, "findings_new") != 0


@pytest.mark.slow
def test_fixing_is_free_and_says_how_to_tighten(tmp_path: Path) -> None:
    """A fixed finding passes with the command; recording then shrinks the file."""
    project = debt(tmp_path)
    (project / "src" / "sample" / "old.py").write_text(DEBT.replace("import re\n", ""))
    check = sample.run(project, "gate2-lint")
    assert check.status is Status.PASS
    assert "mlx-preflight baseline record lint" in check.reason
    assert record(project, "lint").total == 2
    (project / "src" / "sample" / "old.py").write_text(DEBT)
    assert sample.run(project, "gate2-lint").status is Status.FAIL


@pytest.mark.slow
def test_growth_needs_a_reason_that_is_kept(tmp_path: Path) -> None:
    """Recording more is refused, then accepted with a reason, which the file holds."""
    project = debt(tmp_path)
    (project / "src" / "sample" / "old.py").write_text(DEBT + "    import abc\n")
    with pytest.raises(UsageError, match=r"1 more would be accepted: .*abc"):
        record(project, "lint")
    with pytest.raises(UsageError, match="--reason"):
        record(project, "lint", accept_new=True, reason=" ")
    done = record(project, "lint", accept_new=True, reason="generated code")
    assert (done.total, done.added) == (4, 1)
    (growth,) = json.loads((project / ".baselines" / "lint.json").read_text())["growth"]
    assert (growth["reason"], growth["added"]) == ("generated code", 1)


@pytest.mark.slow
def test_a_suppression_is_no_way_out(tmp_path: Path) -> None:
    """A new `noqa` fails against the baseline, and against a plain count."""
    project = debt(tmp_path)
    text = DEBT.replace("import re\n", "import re  # noqa: F401\nimport abc  # noqa\n")
    (project / "src" / "sample" / "old.py").write_text(text)
    check = sample.run(project, "gate2-lint")
    assert check.status is Status.FAIL
    assert "comments 2, 0 recorded" in check.reason
    with pytest.raises(UsageError, match="2 more would be accepted: suppressions"):
        record(project, "lint")
    (project / ".baselines" / "lint.json").unlink()
    check = sample.run(project, "gate2-lint", lint_max=9, lint_suppressions_max=1)
    assert check.status is Status.FAIL
    assert "2 suppressions, 1 accepted by count" in check.reason
    assert "raise lint-suppressions-max" in check.remedy


def test_ci_never_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody reads what is accepted, nothing is."""
    monkeypatch.setenv("CI", "true")
    with pytest.raises(UsageError, match="never written in CI"):
        record(sample.make(tmp_path), "lint")
    assert not (tmp_path / ".baselines").exists()


def change(project: Path, **fields: Any) -> None:
    """Change top-level fields of the recorded baseline."""
    path = project / ".baselines" / "lint.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.slow
@pytest.mark.parametrize("field", ["version", "config", "tool"])
def test_a_baseline_for_something_else_is_an_error(tmp_path: Path, field: str) -> None:
    """Another tool version or configuration means other findings: ERROR, with the fix."""
    project = debt(tmp_path)
    change(project, **{field: "0.0.1"})
    check = sample.run(project, "gate2-lint")
    assert check.status is Status.ERROR
    assert "recorded for something else" in check.reason
    assert "mlx-preflight baseline record lint" in check.remedy


@pytest.mark.slow
def test_the_running_python_does_not_change_what_ruff_finds(tmp_path: Path) -> None:
    """A baseline that another Python recorded holds, so a matrix of Pythons can be green."""
    project = debt(tmp_path)
    assert json.loads((project / ".baselines" / "lint.json").read_text())["python"] == ""
    change(project, python="3.9")
    check = sample.run(project, "gate2-lint")
    assert check.status is Status.PASS, check.reason


def test_what_a_baseline_is_bound_to(tmp_path: Path) -> None:
    """Ruff to its configuration; mypy to the Python that it is told, else to the running one."""
    table = tmp_path / "pyproject.toml"

    def bound(kind: str) -> str:
        return baseline.binding(kind, tmp_path, "tool", "1", "3.12").python

    table.write_text("[project]\nname = 'x'\n")
    assert bound("types") == "3.12"
    table.write_text("[tool.mypy]\npython_version = '3.11'\n[tool.ruff]\ntarget-version='py310'\n")
    assert (bound("types"), bound("lint")) == ("3.11", "py310")
    table.write_text("")
    (tmp_path / "mypy.ini").write_text("[mypy]\npython_version = 3.10\n")
    assert bound("types") == "3.10"
    then, now = (baseline.Binding("mypy", "1", python, "") for python in ("3.11", "3.12"))
    assert then.difference(now) == "Python 3.11 then, 3.12 now"


@pytest.mark.slow
def test_a_changed_rule_set_is_an_error_until_recorded_again(tmp_path: Path) -> None:
    """Fewer rules would hide findings; the file is bound to the configuration."""
    project = debt(tmp_path)
    table = project / "pyproject.toml"
    table.write_text(table.read_text().replace('select = ["E", "F"]', 'select = ["E"]'))
    assert sample.run(project, "gate2-lint").status is Status.ERROR
    assert record(project, "lint").total == 0
    assert sample.run(project, "gate2-lint").status is Status.PASS


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"schema": 2},
        {"entries": [{"n": 1}]},
        {"entries": [{"path": 1, "code": "", "message": "", "where": "", "text": "", "n": 1}]},
        {"entries": [{"path": "", "code": "", "message": "", "where": "", "text": "", "n": 0}]},
        {"entries": 3},
        {"suppressions": {"comments": "many"}},
        {"growth": [{"date": "now"}]},
        {"extra": 1},
        {"version": None},
    ],
)
def test_a_damaged_baseline_is_an_error(tmp_path: Path, fields: dict[str, Any]) -> None:
    """What cannot be read accepts nothing."""
    project = debt(tmp_path)
    change(project, **fields)
    check = sample.run(project, "gate2-lint")
    assert check.status is Status.ERROR
    assert "damaged" in check.reason


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_no_document_at_all_is_an_error(tmp_path: Path, text: str) -> None:
    """An empty, cut or binary file is not an absent one."""
    project = debt(tmp_path)
    (project / ".baselines" / "lint.json").write_text(text)
    assert sample.run(project, "gate2-lint").status is Status.ERROR


def test_nothing_is_recorded_from_a_tool_that_did_not_look(tmp_path: Path) -> None:
    """A file that cannot be parsed hides the rest, so its findings are not accepted."""
    project = sample.make(tmp_path, src__sample__bad="def broken(:\n")
    with pytest.raises(ResultError, match="cannot be parsed"):
        record(project, "lint")


@pytest.mark.parametrize("kind", ["types", "tests"])
def test_nothing_is_recorded_of_an_environment_that_is_not_the_projects(
    tmp_path: Path, kind: str
) -> None:
    """A venv that is older than pyproject.toml would be accepted in the project's name."""
    project = sample.make(tmp_path)
    table = project / "pyproject.toml"
    text = table.read_text()
    needs = 'name = "sample"\ndependencies = ["no-such-package-x"]'
    table.write_text(text.replace('name = "sample"', needs, 1))
    with pytest.raises(ResultError, match="no-such-package-x is declared"):
        record(project, kind)


@pytest.mark.slow
def test_a_generic_message_is_told_apart_by_its_function(tmp_path: Path) -> None:
    """Mypy says the same of every untyped function; the enclosing name tells them apart."""
    project = sample.make(tmp_path, src__sample__typed='"""Typed."""' + UNTYPED)
    table = project / "pyproject.toml"
    table.write_text(table.read_text() + "\n[tool.mypy]\nstrict = true\n")
    assert record(project, "types").total == 1
    path = project / "src" / "sample" / "typed.py"
    swapped = path.read_text().replace("def first(x)", "def first(x: int) -> int")
    path.write_text(swapped.replace("def second(x: int) -> int", "def second(x)"))
    check = sample.run(project, "gate3-types")
    assert check.status is Status.FAIL
    assert sample.value(check, "errors") == 1
    assert sample.value(check, "errors_new") == 1
    assert check.diagnostics[0].path == "src/sample/typed.py"


MORE = '''"""More."""

import pytest


def test_more() -> None:
    """More."""


@pytest.mark.skip(reason="needs a GPU")
def test_later() -> None:
    """Later."""
'''


@pytest.mark.slow
def test_tests_are_compared_by_name(tmp_path: Path) -> None:
    """A vanished or newly skipped test fails; a new one is welcome; giving up needs a reason."""
    project = sample.make(tmp_path, tests__test_more=MORE)
    assert record(project, "tests").total == 4
    assert sample.run(project, "gate4-unit").status is Status.PASS
    path = project / "tests" / "test_more.py"
    path.write_text(MORE.replace("test_more", "test_other"))
    check = sample.run(project, "gate4-unit")
    assert check.status is Status.FAIL
    assert "test_more vanished" in check.reason
    with pytest.raises(UsageError, match="would be given up"):
        record(project, "tests")
    path.write_text(MORE.replace("def test_more", '@pytest.mark.skip(reason="x")\ndef test_more'))
    assert "skipped, and passed when" in sample.run(project, "gate4-unit").reason
    path.write_text(MORE + '\n\ndef test_new() -> None:\n    """New."""\n')
    assert sample.run(project, "gate4-unit").status is Status.PASS
    check = sample.run(project, "gate4-unit", tests_select="not slow")
    assert check.status is Status.ERROR
    assert "tests-select" in check.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("skip", "status"),
    [("@pytest.mark.skip(reason='no GPU')", Status.PASS), ("@pytest.mark.skip", Status.FAIL)],
)
def test_a_skip_needs_a_reason(tmp_path: Path, skip: str, status: Status) -> None:
    """A bare skip says nothing, and fails."""
    text = f"import pytest\n\n\n{skip}\ndef test_x() -> None: ...\n"
    check = sample.run(sample.make(tmp_path, tests__test_more=text), "gate4-unit")
    assert check.status is status, check.reason


@pytest.mark.slow
def test_too_many_skips_fail(tmp_path: Path) -> None:
    """More skips than accepted fail by count."""
    text = "import pytest\n\n\n@pytest.mark.skip(reason='no GPU')\ndef test_x() -> None: ...\n"
    project = sample.make(tmp_path, tests__test_more=text)
    check = sample.run(project, "gate4-unit", tests_skipped_max=0)
    assert check.status is Status.FAIL
    assert "at most 0 may be skipped" in check.reason


@pytest.mark.slow
def test_a_damaged_baseline_of_tests_is_an_error(tmp_path: Path) -> None:
    """Tests that cannot be compared are not judged."""
    project = sample.make(tmp_path)
    (project / ".baselines").mkdir()
    for text in ("{}", '{"schema": 1, "select": "", "gates": {"gate4-unit": {"a": "failed"}}}'):
        (project / ".baselines" / "tests.json").write_text(text)
        assert sample.run(project, "gate4-unit").status is Status.ERROR
    empty = {"schema": 1, "select": "", "gates": {}}
    (project / ".baselines" / "tests.json").write_text(json.dumps(empty))
    assert "holds no tests of gate4-unit" in sample.run(project, "gate4-unit").reason


def test_the_command_records_and_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line writes the file, prints what it did, and suggests a kind."""
    from typer.testing import CliRunner

    from mlx_preflight.cli.app import app

    project = sample.make(tmp_path, src__sample__old=DEBT)
    arguments = ["baseline", "record", "lint", "--project", str(project)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    assert "3 recorded, 3 new, 0 gone" in done.output
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert (found["total"], found["added"]) == (3, 0)
    wrong = CliRunner().invoke(app, ["baseline", "record", "lints", "--project", str(project)])
    assert isinstance(wrong.exception, PreflightError)
    assert "did you mean 'lint'" in str(wrong.exception)
