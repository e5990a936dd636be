"""AC4 on real checkpoints: each check once passing and once failing."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlx_preflight.core.errors import ChildError
from mlx_preflight.core.result import Evidence, Outcome, Status
from mlx_preflight.criteria import loading, model_under_test, script
from mlx_preflight.models import validation
from mlx_preflight.plan import profiles, register
from mlx_preflight.run import session
from mlx_preflight.run.context import Context
from mlx_preflight.runtime import workers

SESSION = register.find_session("ac4-loading")[0]


def values(outcome: Any) -> Any:
    """Return the measurements of an outcome by name."""
    return {item.name: item.value for item in outcome.measurements}


@pytest.mark.parametrize("name", [check.id for check in SESSION.checks])
def test_an_intact_model_passes(ac4: Any, name: str) -> None:
    """A complete checkpoint passes every check of AC4."""
    outcome = loading.CHECKS[name](ac4)
    assert outcome.status is Status.PASS, outcome.reason


def test_what_was_loaded_is_recorded(ac4: Any) -> None:
    """Times, sizes, place, digests and counts stand in the result."""
    seen = values(loading.ac4_2(ac4)) | values(loading.ac4_3(ac4))
    assert ("cold_load_s" in seen) is ac4.loads.forced
    assert ("first_load_s" in seen) is not ac4.loads.forced
    assert seen["import_s"] > seen["warm_load_s"] > 0
    assert seen["disk_bytes"] > seen["weight_bytes"] > 300_000
    assert seen["parameters"] == seen["parameters_in_files"]
    assert seen["architecture"] == "Qwen2ForCausalLM"
    assert ac4.model["fingerprint"] == values(loading.ac4_5(ac4))["fingerprint"]
    assert ac4.model["digests"].keys() >= {"config.json", "model.safetensors", "tokenizer.json"}


def test_a_warm_load_is_not_called_cold(ac4: Any) -> None:
    """Where the page cache stayed, no cold time is claimed."""
    loads = dataclasses.replace(ac4.loads, forced=False)
    outcome = loading.ac4_2(dataclasses.replace(ac4, loads=loads))
    assert "cold_load_s" not in values(outcome)
    assert "could not be forced" in outcome.reason


def test_another_parameter_count_fails(ac4: Any) -> None:
    """A model of another size than the profile names fails."""
    profile = profiles.find_profile("qwen2.5-coder-7b")
    context = dataclasses.replace(ac4.context, profile=profile)
    outcome = loading.ac4_3(dataclasses.replace(ac4, context=context))
    assert outcome.status is Status.FAIL
    assert "7,615,616,512" in outcome.reason


@pytest.mark.parametrize(
    ("stored", "status", "said"),
    [(1, Status.FAIL, "the files hold 1"), (None, Status.PASS, "not compared with the files")],
)
def test_a_count_that_differs_from_the_files_fails(
    ac4: Any, stored: int | None, status: Status, said: str
) -> None:
    """A loaded model must have what the files hold, where that can be counted."""
    warm = dataclasses.replace(ac4.loads.warm, stored_parameters=stored)
    outcome = loading.ac4_3(
        dataclasses.replace(ac4, loads=dataclasses.replace(ac4.loads, warm=warm))
    )
    assert outcome.status is status
    assert said in outcome.reason


@pytest.mark.slow
def test_another_models_tokenizer_fails(
    tiny: Path,
    tiny_tools: dict[str, Any],
    tmp_path: Path,
    context_for: Callable[..., Context],
) -> None:
    """A tokenizer with other ids is seen statically and in use."""
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    tiny_tools["write_tokenizer"](folder, tiny_tools["tokenizer"](first=40))
    context, loaded = context_for(folder), workers.load(folder)
    loads = loading.Loads(loaded, False, loaded)
    found = model_under_test.find(context)
    sound = validation.validate(found.ready[1])
    named = script.inspect(context.project, loading.SCRIPT)
    facts = loading.LoadingFacts(context, found, loads, None, sound, named)
    outcome = loading.ac4_4(facts)
    assert outcome.status is Status.FAIL
    assert "end token" in outcome.reason
    assert loading.ac4_5(facts).status is Status.FAIL


@pytest.mark.slow
def test_a_nan_in_the_weights_fails(ac6_broken: Any, ac4: Any) -> None:
    """One value that is not a number fails the integrity check, by tensor name."""
    found = ac6_broken.subject
    sound = validation.validate(found.ready[1])
    outcome = loading.ac4_5(dataclasses.replace(ac4, subject=found, soundness=sound))
    assert outcome.status is Status.FAIL
    assert "model.layers.1.input_layernorm.weight" in outcome.reason


def test_a_truncated_download_is_never_loaded(
    tiny: Path, tmp_path: Path, context_for: Callable[..., Context]
) -> None:
    """A cut-off weights file fails loading and integrity without a worker being started."""
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    facts = loading.gather(SESSION, context_for(folder))
    assert facts.loads is None
    for check in (loading.ac4_2, loading.ac4_5):
        outcome = check(facts)
        assert outcome.status is Status.FAIL
        assert "model.safetensors" in outcome.reason


def test_a_worker_that_died_is_an_error_not_a_failure(ac4: Any) -> None:
    """A killed child says nothing about the model."""
    facts = dataclasses.replace(ac4, loads=None, failure=ChildError("load: killed by SIGKILL"))
    assert loading.ac4_2(facts).status is Status.ERROR


def test_a_worker_that_never_answers_is_an_error(
    tiny: Path, context_for: Callable[..., Context]
) -> None:
    """A load that runs past its time is an error with the cause."""
    facts = loading.gather(SESSION, context_for(tiny, timeout_s=0.1))
    outcome = loading.ac4_2(facts)
    assert outcome.status is Status.ERROR
    assert "was killed" in outcome.reason


def test_an_absent_hub_model_is_blocked_with_its_command(absent: Context) -> None:
    """Without the weights AC4 says what to download; the script is judged all the same."""
    finished = session.run_session(SESSION, absent)
    status = {check.id: check.status for check in finished.checks}
    assert status["AC4.1"] is Status.PASS
    for check in finished.checks[1:5]:
        assert check.status is Status.BLOCKED
        assert "15.23 GB" in check.reason
        assert check.remedy == "mlx-preflight download Qwen/Qwen2.5-Coder-7B-Instruct"


def test_scripts_must_exist_parse_and_be_documented(ac4: Any, tmp_path: Path) -> None:
    """A missing, broken or empty script and a missing document fail."""

    def judged(check: str) -> Outcome:
        found = script.inspect(tmp_path, loading.SCRIPT)
        return loading.CHECKS[check](dataclasses.replace(ac4, script=found))

    assert judged(register.AC4_1).status is Status.FAIL
    assert judged(register.AC4_6).status is Status.FAIL
    (tmp_path / "scripts/training").mkdir(parents=True)
    for broken in ("def (", "", '"""Load the model."""\n\npass\n'):
        (tmp_path / "scripts/training/load_model_test.py").write_text(broken)
        outcome = judged(register.AC4_1)
        assert outcome.status is Status.FAIL
        assert outcome.evidence is Evidence.STATIC
