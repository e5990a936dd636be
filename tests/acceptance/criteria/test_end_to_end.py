"""Integration test 1 and the scripts, on real models."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlx_preflight.core.errors import ChildError
from mlx_preflight.core.result import Evidence, Status
from mlx_preflight.criteria import command, e2e, loading, memory
from mlx_preflight.plan import profiles, register
from mlx_preflight.run import context, session

pytestmark = pytest.mark.slow

SESSION = register.find_session("e2e")[0]
SCRIPTS = Path(__file__).parents[3] / "scripts" / "training"
DOCUMENTS = Path(__file__).parents[3] / "docs" / "training"


@pytest.fixture(scope="module")
def facts(context_for: Callable[..., context.Context]) -> Any:
    """The workflow on the embedded model."""
    return e2e.gather(SESSION, context_for(profiles.EMBEDDED, train_tokens=32))


@pytest.mark.parametrize("name", [check.id for check in SESSION.checks])
def test_the_workflow_passes(facts: Any, name: str) -> None:
    """Import, load, answer and profile work one after the other."""
    outcome = e2e.CHECKS[name](facts)
    assert outcome.status is Status.PASS, outcome.reason


def test_what_ran_carries_the_models_evidence(facts: Any) -> None:
    """Steps on the model say which tier they hold for."""
    for check in (e2e.int1_2, e2e.int1_3, e2e.int1_4):
        assert check(facts).evidence is Evidence.EMBEDDED


def test_steps_after_a_failure_are_blocked_by_it(facts: Any) -> None:
    """The failed step has the error; later steps name it, earlier ones keep passing."""
    stopped = dataclasses.replace(
        facts, answered=None, trained=None, failure=ChildError("killed"), failed_step=3
    )
    assert e2e.int1_2(stopped).status is Status.PASS
    assert e2e.int1_3(stopped).status is Status.ERROR
    assert e2e.int1_4(stopped).status is Status.BLOCKED
    assert "step 3 failed" in e2e.int1_4(stopped).reason


def test_empty_text_and_infinite_losses_fail(facts: Any) -> None:
    """White space is no answer, and a loss that is not finite is no profile."""
    answer = dataclasses.replace(facts.answered.answers[0], text=" \n")
    answered = dataclasses.replace(facts.answered, answers=(answer,))
    assert e2e.int1_3(dataclasses.replace(facts, answered=answered)).status is Status.FAIL
    trained = dataclasses.replace(facts.trained, losses=(None,))
    assert e2e.int1_4(dataclasses.replace(facts, trained=trained)).status is Status.FAIL
    lost = dataclasses.replace(facts, trained=None)
    assert e2e.int1_4(lost).status is Status.ERROR


def test_gibberish_is_no_answer(facts: Any, ac5_random: Any) -> None:
    """Random weights answer with text, too; only where they are meant to be does that pass."""
    random = dataclasses.replace(facts, answered=ac5_random.generation)
    outcome = e2e.int1_3(random)
    assert outcome.status is Status.FAIL
    assert "mean log-probability" in outcome.reason
    synthetic = dataclasses.replace(random.context, evidence=Evidence.SYNTHETIC)
    assert e2e.int1_3(dataclasses.replace(random, context=synthetic)).status is Status.PASS


def test_an_absent_model_blocks_after_the_import(absent: context.Context) -> None:
    """The import is judged; the rest says what to download."""
    finished = session.run_session(SESSION, absent)
    assert [check.status for check in finished.checks] == [Status.PASS, *[Status.BLOCKED] * 3]


def run_script(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> Any:
    """Run a script's main in this process and return its exit code and output."""
    import runpy
    import sys

    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPTS / name), run_name="__main__")
    return ended.value.code, capsys.readouterr()


@pytest.fixture
def sample(tmp_path: Path) -> Any:
    """A project with nothing but the documents of this one."""
    shutil.copytree(DOCUMENTS, tmp_path / "docs" / "training")
    (tmp_path / "pyproject.toml").write_text("[tool.mlx-preflight]\ntrain-steps = 3\n")
    return str(tmp_path)


def test_the_loading_script_prints_what_the_plan_greps(
    ac4: Any, sample: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan's greps for success, parameters, tokenizer and time find their lines."""
    monkeypatch.setattr(loading, "gather", lambda *_: ac4)
    code, output = run_script("load_model_test.py", monkeypatch, capsys, "--project", sample)
    assert code == 0, output.out
    for text in ("Model loaded successfully", "Parameters: 0.", "Tokenizer: ", " seconds"):
        assert text in output.out
    assert not (Path(sample) / ".preflight" / "results").exists()


def test_the_session_runs_the_shipped_script(
    ac4: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On what was just measured, so nothing is loaded again; a broken script is no success."""
    monkeypatch.setattr(loading, "gather", lambda *_: ac4)
    plan, path = register.find_session("ac4-loading")[0], project / "scripts/training"
    done = session.run_session(plan, ac4.context)
    assert {check.status for check in done.checks} == {Status.PASS}
    script = path / "load_model_test.py"
    text = script.read_text()
    script.write_text(text.replace("import sys", "import no_such_module"))
    try:
        done = session.run_session(plan, ac4.context)
    finally:
        script.write_text(text)
    assert [check.id for check in done.checks if check.status is not Status.PASS] == ["AC4.2"]
    assert "no_such_module" in done.checks[1].reason


def test_the_inference_script_shows_prompts_and_answers(
    sample: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every prompt stands beside its answer and its speed."""
    code, output = run_script("inference_test.py", monkeypatch, capsys, "--project", sample)
    assert code == 0, output.out
    for text in ("Test prompt: ", "Response:\n", "Response generated: ", " tokens/sec)"):
        assert text in output.out


def test_the_memory_script_answers_in_gb(
    ac6: Any, sample: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Inference, training, peak and headroom are printed in GB."""
    monkeypatch.setattr(memory, "gather", lambda *_: ac6)
    code, output = run_script("memory_profile.py", monkeypatch, capsys, "--project", sample)
    assert code == 0, output.out
    for text in ("Inference memory: ", "Training memory (QLoRA", "Peak memory", "Headroom: "):
        assert text in output.out
    assert output.out.count(" GB") >= 5


@pytest.mark.usefixtures("absent")
def test_a_script_without_its_model_does_not_succeed(
    sample: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A blocked criterion exits 3, still prints the estimate, and names the command."""
    arguments = ("--project", sample, "--profile", "qwen2.5-coder-7b")
    code, output = run_script("memory_profile.py", monkeypatch, capsys, *arguments)
    assert code == 3
    assert re.search(r"estimated, nothing run\): [5-9]\.\d+ GB", output.out)
    assert "mlx-preflight download" in output.out
    code, output = run_script("inference_test.py", monkeypatch, capsys, *arguments, "--json")
    assert code == 3
    assert json.loads(output.out)["status"] == "FAIL"


def test_a_wrong_profile_is_a_usage_error(sample: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown profile exits 2 and suggests the right one."""
    arguments = ["--project", sample, "--profile", "embeded"]
    assert command.main("ac4-loading", (), lambda _: [], arguments) == 2
    assert "embedded" in capsys.readouterr().err
