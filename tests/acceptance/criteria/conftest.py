"""Facts of AC4 to AC6 on real models, gathered once; the tests vary copies of them."""

from __future__ import annotations

import dataclasses
import functools
import runpy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlx_preflight.core.result import Evidence
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.criteria import (
    answers,
    generated_docs,
    inference,
    loading,
    memory,
    model_under_test,
    script,
)
from mlx_preflight.criteria.memory_facts import PeakFacts
from mlx_preflight.documents import training_documents
from mlx_preflight.memory import calibration
from mlx_preflight.plan import profiles, register
from mlx_preflight.plan import settings as project_table
from mlx_preflight.run.context import Context
from mlx_preflight.runtime import workers

DOCUMENTS = Path(__file__).parents[3] / "docs" / "training"
TINY = Path(__file__).parents[2] / "runtime" / "tiny.py"
SCRIPTS = ("load_model_test.py", "inference_test.py", "memory_profile.py")


@pytest.fixture(autouse=True, scope="session")
def _calibrated_once() -> Iterator[None]:
    """The predictor's error on this machine is measured for real, and once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "calibrate", functools.cache(calibration.calibrate))
        yield


@pytest.fixture(scope="session")
def tiny_tools() -> Any:
    """Functions that write tiny checkpoints."""
    return runpy.run_path(str(TINY))


@pytest.fixture(scope="session")
def tiny(tiny_tools: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny random Qwen2 checkpoint."""
    return tiny_tools["build"](tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A project with the plan's scripts, a guide that names them and this project's documents."""
    root = tmp_path_factory.mktemp("project")
    (root / "scripts/training").mkdir(parents=True)
    shutil.copytree(DOCUMENTS, root / "docs/training")
    for name in SCRIPTS:
        shutil.copy(DOCUMENTS.parents[1] / "scripts/training" / name, root / "scripts/training")
    (root / "docs/training/setup.md").write_text("Run `load_model_test.py`.\n")
    return root


@pytest.fixture(scope="session")
def context_for(project: Path) -> Any:
    """Return a function that makes the context of a model."""

    def make(
        model: Any, *, profile: str = profiles.EMBEDDED, state: str = ".preflight", **settings: Any
    ) -> Any:
        context = Context.of(
            project,
            project_table.ProjectSettings(**settings),
            profiles.find_profile(profile),
            run_id="r1",
            workspace=Workspace(project / state),
            note=lambda _: None,
        )
        return dataclasses.replace(context, model=str(model), evidence=Evidence.EMBEDDED)

    return make


@pytest.fixture(scope="session")
def ac4(tiny: Path, context_for: Callable[..., Context]) -> Any:
    """AC4's facts on the tiny checkpoint."""
    return loading.gather(register.find_session("ac4-loading")[0], context_for(tiny))


@pytest.fixture(scope="session")
def ac5(context_for: Callable[..., Context]) -> Any:
    """AC5's facts on the embedded model."""
    context = context_for(profiles.EMBEDDED, state="embedded")
    return inference.gather(register.find_session("ac5-inference")[0], context)


@pytest.fixture(scope="session")
def ac5_random(tiny: Path, context_for: Callable[..., Context]) -> Any:
    """AC5's facts on random weights, asked once."""
    context = context_for(tiny, state="random", generate_tokens=40)
    found = model_under_test.find(context)
    prompts = workers.prompts_for(found.ready[0])
    generation = workers.generate(tiny, prompts, max_tokens=40, warm_up=False)
    judgements = inference.judge_all(generation, prompts, run=True)
    judged = answers.canonical(found.fingerprint, generation, prompts)
    answers.save(context.state, judged, generation, judgements, found.describe())
    return inference.InferenceFacts(
        context,
        found,
        script.inspect(context.project, inference.SCRIPT),
        generated_docs.compare(training_documents.INFERENCE, context.project),
        prompts,
        generation,
        judgements=judgements,
        digest=answers.digest(judged),
    )


@pytest.fixture(scope="session")
def ac6(context_for: Callable[..., Context]) -> Any:
    """AC6's facts on the embedded model."""
    context = context_for(profiles.EMBEDDED, train_steps=3, generate_tokens=20, train_tokens=64)
    return memory.gather(register.find_session("ac6-memory")[0], context)


@pytest.fixture(scope="session")
def ac6_broken(
    ac6: Any,
    tiny_tools: dict[str, Any],
    context_for: Callable[..., Context],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """AC6's facts on a checkpoint that holds a NaN, trained only."""
    folder = tiny_tools["build"](tmp_path_factory.mktemp("nan") / "model", broken=True)
    context = context_for(folder, train_steps=3)
    found = model_under_test.find(context)
    prompts = workers.prompts_for(found.ready[0])
    training = workers.train(folder, prompts, steps=3, row_tokens=32)
    return PeakFacts(context, found, ac6.script, ac6.document, ac6.inference, training)


@pytest.fixture
def absent(
    context_for: Callable[..., Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """The context of the 7B model on a machine whose hub cache is empty."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return context_for("Qwen/Qwen2.5-Coder-7B-Instruct", profile="qwen2.5-coder-7b")
