"""Facts of AC4 to AC6 on real models, gathered once; the tests vary copies of them."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from mlx_preflight import plan, register, runner
from mlx_preflight.criteria import inference, loading, memory
from mlx_preflight.result import Evidence

TINY = Path(__file__).parents[1] / "model_runtime" / "tiny.py"
SCRIPTS = ("load_model_test.py", "inference_test.py", "memory_profile.py")


@pytest.fixture(autouse=True, scope="session")
def _no_kernel_compilation():
    """MLX on a CPU compiles its first training step with g++, half a minute on a new machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLX_DISABLE_COMPILE", "1")
        yield


@pytest.fixture(scope="session")
def tiny_tools():
    """Functions that write tiny checkpoints."""
    return runpy.run_path(str(TINY))


@pytest.fixture(scope="session")
def tiny(tiny_tools, tmp_path_factory):
    """A tiny random Qwen2 checkpoint."""
    return tiny_tools["build"](tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A project with the plan's scripts and a document that names them."""
    root = tmp_path_factory.mktemp("project")
    for folder in ("scripts/training", "docs/training"):
        (root / folder).mkdir(parents=True)
    for name in SCRIPTS:
        (root / "scripts/training" / name).write_text("print('hello')\n")
    (root / "docs/training/setup.md").write_text("Run `load_model_test.py`.\n")
    return root


@pytest.fixture(scope="session")
def context_for(project):
    """Return a function that makes the context of a model."""

    def make(model, *, profile=plan.EMBEDDED, state=".preflight", **settings):
        return runner.Context(
            project=project,
            state=project / state,
            run_id="r1",
            profile=plan.find_profile(profile),
            settings=plan.Settings(**settings),
            model=str(model),
            evidence=Evidence.EMBEDDED,
            budget_bytes=16 * 10**9,
            note=lambda line: None,
        )

    return make


@pytest.fixture(scope="session")
def ac4(tiny, context_for):
    """AC4's facts on the tiny checkpoint."""
    return loading.gather(register.find_session("ac4-loading")[0], context_for(tiny))


@pytest.fixture(scope="session")
def ac5(context_for):
    """AC5's facts on the embedded model."""
    context = context_for(plan.EMBEDDED, state="embedded")
    return inference.gather(register.find_session("ac5-inference")[0], context)


@pytest.fixture(scope="session")
def ac5_random(tiny, context_for):
    """AC5's facts on random weights."""
    context = context_for(tiny, state="random", generate_tokens=40)
    return inference.gather(register.find_session("ac5-inference")[0], context)


@pytest.fixture(scope="session")
def ac6(context_for):
    """AC6's facts on the embedded model."""
    context = context_for(plan.EMBEDDED, train_steps=3, generate_tokens=20, train_tokens=64)
    return memory.gather(register.find_session("ac6-memory")[0], context)


@pytest.fixture(scope="session")
def ac6_broken(tiny_tools, context_for, tmp_path_factory):
    """AC6's facts on a checkpoint that holds a NaN."""
    folder = tiny_tools["build"](tmp_path_factory.mktemp("nan") / "model", broken=True)
    context = context_for(folder, train_steps=3, generate_tokens=20, train_tokens=32)
    return memory.gather(register.find_session("ac6-memory")[0], context)


@pytest.fixture
def absent(context_for, tmp_path, monkeypatch):
    """The context of the 7B model on a machine whose hub cache is empty."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return context_for("Qwen/Qwen2.5-Coder-7B-Instruct", profile="qwen2.5-coder-7b")
