"""Worker children on a tiny real checkpoint: what they answer, and how they die."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import family_models
import mlx.core as mx
import pytest

from mlx_preflight.core import child, child_run
from mlx_preflight.core.errors import (
    BlockedError,
    CheckpointError,
    ChildError,
    UsageError,
    WorkerError,
)
from mlx_preflight.models import catalog, locate
from mlx_preflight.runtime import page_cache, workers

pytestmark = pytest.mark.slow

PROMPTS = [
    {"id": "one", "prompt": "add"},
    {"id": "two", "prompt": "Write a Python function."},
]


@pytest.fixture
def start_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes every child run some code when it starts."""

    def plant(code: str) -> None:
        (tmp_path / "sitecustomize.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return plant


@pytest.fixture(scope="module")
def generations(tiny: Path) -> Any:
    """Two generations with one seed, the second on the last prompt only, sampled."""
    settings: dict[str, Any] = {"max_tokens": 24, "seed": 7, "temperature": 0.8}
    return (
        workers.generate(tiny, PROMPTS, **settings),
        workers.generate(tiny, PROMPTS[1:], **settings, warm_up=False),
    )


def test_answers_carry_their_raw_times(generations: Any) -> None:
    """Every answer has its tokens, its times and its score; the warm-up stands apart."""
    first, second = generations
    assert [answer.id for answer in first.answers] == ["one", "two"]
    assert first.warm_up is not None
    assert second.warm_up is None
    assert first.import_s > first.load_s > 0
    for answer in first.answers:
        assert 0 < len(answer.token_ids) <= 24
        assert answer.first_token_s > 0
        assert answer.decode_tokens_per_s > 0
        assert answer.mean_logprob < 0
        assert answer.finish_reason in {"stop", "length"}
    assert first.memory.peak_bytes >= first.memory.active_bytes > 0
    assert first.memory.rss_bytes > first.memory.active_bytes


def test_one_seed_gives_one_answer_in_any_order(generations: Any) -> None:
    """A sampled answer does not depend on the prompts asked before it, nor on the process."""
    first, second = generations
    assert first.answers[1].token_ids == second.answers[0].token_ids
    assert first.answers[0].token_ids != first.answers[1].token_ids


def test_a_killed_worker_is_named_by_its_signal(
    tiny: Path, start_up: Callable[[str], None]
) -> None:
    """A SIGKILL, as the out-of-memory killer sends it, is reported as such."""
    start_up("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    with pytest.raises(ChildError, match="killed by SIGKILL: the system ran out of memory"):
        workers.load(tiny)


def test_a_worker_without_an_answer_is_an_error(
    tiny: Path, start_up: Callable[[str], None]
) -> None:
    """Exit status 0 without an answer file is not success."""
    start_up("import os\nos._exit(0)\n")
    with pytest.raises(ChildError, match="exit code 0 and no answer") as raised:
        workers.load(tiny)
    assert not isinstance(raised.value, WorkerError)


def test_running_out_of_memory_is_said(tiny_tools: dict[str, Any], tmp_path: Path) -> None:
    """Rows too long for any machine end in "out of memory" and advice, not in a stack trace."""
    folder = tiny_tools["build"](tmp_path / "endless")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 10**16}))
    prompts = [{**PROMPTS[0], "function": "add", "examples": []}]
    with pytest.raises(WorkerError, match="train: out of memory") as raised:
        workers.train(folder, prompts, steps=3, row_tokens=10**15)
    assert "smaller" in raised.value.hint


@pytest.mark.parametrize(
    ("kind", "message", "said"),
    [
        ("RuntimeError", "[malloc] Unable to allocate 9 bytes.", "out of memory"),
        ("MemoryError", "", "out of memory"),
        ("RuntimeError", "[METAL] Insufficient Memory (kIOGPU...)", "out of memory"),
        ("ValueError", "current limit exceeds maximum limit", "ulimit"),
        ("ValueError", "bad hf_abcdefghijklmnop token", "***"),
        ("ValueError", "Missing 1 parameters: \nmodel.x.weight.", "parameters: model.x.weight."),
    ],
)
def test_known_failures_come_with_advice(kind: str, message: str, said: str) -> None:
    """Messages of the framework that users meet are put into words, without secrets."""
    error = child_run.task_error("load", kind, message)
    assert said in f"{error} {error.hint}"
    assert "hf_abc" not in str(error)


def test_a_hanging_worker_is_killed(tiny: Path) -> None:
    """A worker past its time is killed and said to have been."""
    with pytest.raises(ChildError, match="was killed"):
        workers.load(tiny, timeout_s=0.2)


def test_what_the_framework_raises_is_a_worker_error(
    tiny: Path, tiny_tools: dict[str, Any], tmp_path: Path
) -> None:
    """A model that cannot be loaded is told from a worker that died."""
    folder = tiny_tools["build"](tmp_path / "unknown")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "no_such_model"}))
    with pytest.raises(WorkerError, match="no_such_model"):
        workers.load(folder)


@pytest.mark.skipif(mx.default_device() == mx.gpu, reason="Metal has what the CPU lacks")
def test_what_this_backend_lacks_is_no_fault_of_the_model(tmp_path: Path) -> None:
    """Experts in bfloat16 do not run on the CPU: BLOCKED, with where they do."""
    config = family_models.config_of("qwen3_moe", dtype="bfloat16")
    folder = family_models.save(config, tmp_path / "model")
    with pytest.raises(BlockedError, match="only supports float32") as raised:
        workers.generate(folder, PROMPTS[:1], max_tokens=2, warm_up=False)
    assert "Apple silicon" in raised.value.hint


def test_a_quantization_that_is_only_declared_trains_nothing_as_such(
    tiny_tools: dict[str, Any], tmp_path: Path
) -> None:
    """Float weights under a block are quantized here, and reported as that."""
    folder = tiny_tools["build"](tmp_path / "declared")
    config = json.loads((folder / "config.json").read_text())
    declared = {"quantization": {"bits": 8, "group_size": 64}}
    (folder / "config.json").write_text(json.dumps({**config, **declared}))
    prompts = [{**PROMPTS[0], "function": "add", "examples": []}]
    run = workers.train(folder, prompts, steps=1, row_tokens=32)
    assert (run.bits, run.quantized_here) == (4, True)


def test_python_of_a_model_folder_is_never_run(tiny_tools: dict[str, Any], tmp_path: Path) -> None:
    """A config that asks for its own code gets an error, and the code does not run."""
    folder = tiny_tools["build"](tmp_path / "evil")
    witness = tmp_path / "witness"
    (folder / "evil.py").write_text(f"open({str(witness)!r}, 'w').write('ran')\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_file": "evil.py", "auto_map": {"AutoTokenizer": ["evil.T", "evil.T"]}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WorkerError) as raised:
        workers.load(folder)
    assert "never run" in raised.value.hint
    assert not witness.exists()


def test_the_parent_imports_no_mlx() -> None:
    """Everything a session imports leaves mlx, mlx_lm and transformers alone."""
    code = (
        "import sys\n"
        "from mlx_preflight.criteria import loading, inference, memory, sign_off, command\n"
        "from mlx_preflight.criteria import e2e\n"
        "print([m for m in ('mlx', 'mlx_lm', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_workers_get_no_token_and_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens stay in the parent, and the hub's libraries are told to stay offline."""
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    monkeypatch.setenv("MLXLM_USE_MODELSCOPE", "True")
    environment = child.offline_environment()
    assert "HF_TOKEN" not in environment
    assert environment["HF_HUB_OFFLINE"] == environment["TRANSFORMERS_OFFLINE"] == "1"
    assert environment["MLXLM_USE_MODELSCOPE"] == "False"


def test_nothing_to_ask_is_refused(tiny: Path) -> None:
    """An empty list of prompts is a usage error, not a fast success."""
    with pytest.raises(UsageError):
        workers.generate(tiny, [], max_tokens=4)


def test_models_are_found_where_they_are(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded model, folders and cached hub snapshots resolve; others say what to do."""
    from huggingface_hub import constants

    assert locate.resolve("embedded").source == "embedded"
    assert locate.resolve(str(tiny)).path == tiny.resolve()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BlockedError, match=r"15\.23 GB to download") as raised:
        locate.resolve("Qwen/Qwen2.5-Coder-7B-Instruct")
    assert raised.value.hint == "mlx-preflight download Qwen/Qwen2.5-Coder-7B-Instruct"
    with pytest.raises(BlockedError, match="unknown size"):
        locate.resolve("someone/model")
    repository = tmp_path / "models--someone--model"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    (snapshot / "config.json").write_text("{}")
    with pytest.raises(BlockedError):
        locate.resolve("someone/model")
    (snapshot / "model.safetensors").write_bytes(b"")
    found = locate.resolve("someone/model")
    assert (found.source, found.revision) == ("hub cache", "a" * 40)


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere", "nowhere", "a/b/c", "a b/c"])
def test_what_is_no_model_is_a_usage_error(name: str) -> None:
    """A path that does not exist is never looked up as a hub id, and the remedy is one."""
    with pytest.raises(UsageError, match="no such folder") as caught:
        locate.resolve(name)
    assert "--model" in caught.value.hint


def test_a_missing_embedded_model_is_blocked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An installation without the embedded model says so."""
    monkeypatch.setattr(catalog, "EMBEDDED_FOLDER", tmp_path)
    with pytest.raises(BlockedError, match="embedded"):
        locate.resolve("embedded")


def test_a_cold_load_is_claimed_only_when_forced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file, a missing file and a system without the call are never called cold."""
    file = tmp_path / "weights"
    file.write_bytes(b"x" * 100_000)
    assert page_cache.evict([file]) in {True, False}
    assert page_cache.evict([]) is False
    assert page_cache.evict([tmp_path / "missing"]) is False
    monkeypatch.delattr("os.posix_fadvise", raising=False)
    assert page_cache.evict([file]) is False


def test_built_in_prompts_are_complete(tiny: Path) -> None:
    """Every built-in prompt names its function and has examples that are JSON."""
    prompts = locate.prompts_for(locate.resolve(str(tiny)))
    assert len(prompts) >= 6
    for item in prompts:
        assert item["function"] in item["prompt"]
        assert len(item["examples"]) >= 2


def test_a_refused_checkpoint_is_an_error_of_its_own() -> None:
    """Refusals of the static validation are no worker errors."""
    assert not issubclass(CheckpointError, WorkerError)
