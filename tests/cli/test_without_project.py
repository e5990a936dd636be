"""Commands in an empty folder: a model and a training run need no repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mlx_preflight.cli.app import app
from mlx_preflight.core.errors import UsageError
from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from mlx_preflight.plan import register
from mlx_preflight.plan.settings import ProjectSettings, load_settings

SMALL = ("embedded", "--batch-size", "1", "--max-seq-length", "64", "--num-layers", "4")
"""Arguments of a training that the embedded model allows."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments: str) -> tuple[int, str]:
    """Return exit code and stdout of a command."""
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout


def refusal(*arguments: str) -> str:
    """Return the usage error of a command, which its start would show."""
    error = CliRunner().invoke(app, list(arguments)).exception
    assert isinstance(error, UsageError)
    return str(error)


def checks_of(*arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return exit code and checks of a session's command."""
    code, text = invoke("check", *arguments, "--json")
    return code, {item["id"]: item for item in json.loads(text)["checks"]}


def test_the_table_is_its_defaults_where_none_is_required(folder: Path) -> None:
    """A file that is there is read all the same, and a folder must be one."""
    assert load_settings(folder, required=False) == ProjectSettings()
    with pytest.raises(UsageError, match="not a folder"):
        load_settings(folder / "nowhere", required=False)
    (folder / "pyproject.toml").write_text("[tool.mlx-preflight]\nbudget = 3\n")
    with pytest.raises(UsageError, match="budget"):
        load_settings(folder, required=False)


def test_sessions_of_a_model_or_a_run_need_no_project() -> None:
    """All others judge what a repository holds."""
    free = [item.id for item in register.SESSIONS if not register.needs_project(item)]
    assert free == [
        *("ac4-loading", "ac5-inference", "ac6-memory"),
        *("run1-config", "run2-machine", "run3-model", "run4-data", "run5-memory"),
        *("run6-rehearsal", "run7-duration", "finish1-adapter", "finish2-model"),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "gate1-format"),
        ("check", "GATE8"),
        ("check", "ac1-evaluation"),
        ("check", "ac8-dependencies"),
        ("check", "e2e"),
        ("baseline", "record", "lint"),
        ("selftest",),
    ],
)
def test_what_judges_a_repository_refuses_an_empty_folder(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    """A usage error that names the file, and nothing is written."""
    assert "pyproject.toml: not found" in refusal(*arguments)
    assert list(folder.iterdir()) == []


def test_a_folder_that_is_none_is_refused(folder: Path) -> None:
    """Also where no project is required."""
    for command in (("check", "ac4-loading"), ("doctor",)):
        assert "not a folder" in refusal(*command, "--project", str(folder / "nowhere"))


@pytest.mark.slow
def test_one_check_of_loading_works_alone(folder: Path) -> None:
    """AC4.2 decides its exit code; the missing script is named as such."""
    code, found = checks_of("AC4.2")
    assert code == 0
    assert found["AC4.2"]["status"] == "PASS"
    assert found["AC4.1"]["status"] == "FAIL"
    assert "No such file" in found["AC4.1"]["reason"]
    assert (folder / ".preflight").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize(("session", "missing"), [("ac5-inference", {"AC5.1", "AC5.6"}),
                                                  ("ac6-memory", {"AC6.1", "AC6.8"})])  # fmt: skip
def test_only_what_a_repository_holds_is_missing(
    folder: Path, session: str, missing: set[str]
) -> None:
    """Everything measured on the model passes; script and evidence are FAIL with a reason."""
    code, found = checks_of(session)
    assert code == 1
    assert folder.is_dir()
    wrong = {name: item for name, item in found.items() if item["status"] != "PASS"}
    assert set(wrong) == missing
    assert {item["status"] for item in wrong.values()} == {"FAIL"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("doctor",),
        ("load",),
        ("generate", "Write a function that adds two numbers."),
        ("estimate", *SMALL),
        ("measure", *SMALL),
        ("fit", *SMALL, "--budget-gb", "1"),
    ],
)
def test_commands_on_a_model_work_in_an_empty_folder(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    """One JSON document each; the doctor may find a fault of this machine."""
    assert not (folder / "pyproject.toml").exists()
    code, text = invoke(*arguments, "--json")
    assert code in ({0, 1, 3} if arguments == ("doctor",) else {0})
    assert json.loads(text)


@pytest.mark.slow
@pytest.mark.parametrize("session", ["run1-config", "run2-machine", "run3-model"])
def test_a_run_is_judged_in_an_empty_folder(folder: Path, session: str) -> None:
    """A config is all that is there."""
    config = f"model: {EMBEDDED_FOLDER}\ndata: rows\ntrain: true\nnum_layers: 2\niters: 4\n"
    (folder / "run.yaml").write_text(config)
    code, found = checks_of(session, "--config", "run.yaml")
    assert code in {0, 1}
    assert not {"ERROR", "BLOCKED"} & {item["status"] for item in found.values()}


@pytest.mark.slow
def test_a_run_that_is_not_named_is_said(folder: Path) -> None:
    """Without a config there is no run, and every check says so."""
    code, found = checks_of("run3-model")
    assert code == 3
    assert folder.is_dir()
    assert all("no training run is named" in item["reason"] for item in found.values())
