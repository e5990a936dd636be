"""The profile of the 7B target on a small checkpoint in the same sharded layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from mlx_preflight.core.result import CheckResult, Evidence, Status
from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from mlx_preflight.plan import register
from mlx_preflight.run import session as runner
from mlx_preflight.run.context import Context

pytestmark = pytest.mark.slow

SHARDS = 4


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """Return a copy of the embedded model as an index and four shards."""
    folder = tmp_path / "sharded"
    whole = shutil.ignore_patterns("model.safetensors", "__pycache__", "*.py")
    shutil.copytree(EMBEDDED_FOLDER, folder, ignore=whole)
    arrays = load_file(EMBEDDED_FOLDER / "model.safetensors")
    shards: dict[str, str] = {}
    for number in range(SHARDS):
        file = f"model-{number + 1:05}-of-{SHARDS:05}.safetensors"
        part = {name: arrays[name] for name in sorted(arrays)[number::SHARDS]}
        save_file(part, folder / file, metadata={"format": "pt"})
        shards |= dict.fromkeys(part, file)
    size = sum(array.nbytes for array in arrays.values())
    index = {"metadata": {"total_size": size}, "weight_map": shards}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def judge(session: str, context: Context) -> dict[str, CheckResult]:
    """Run a session and return its checks by id."""
    found, _ = register.find_session(session)
    return {check.id: check for check in runner.run_session(found, context).checks}


def test_a_local_folder_goes_on_where_the_hub_is_needed_otherwise(
    sharded: Path, context_for: Callable[..., Context]
) -> None:
    """Shards are read, verified and loaded, and the wrong size is told from the target's."""
    context = context_for(sharded, profile="qwen2.5-coder-7b", state="sharded")
    checks = judge("ac4-loading", context)
    failed = {name: check.status for name, check in checks.items() if check.status != Status.PASS}
    assert failed == {"AC4.3": Status.FAIL}
    assert "the profile expects 7,615,616,512" in checks["AC4.3"].reason
    assert f"{SHARDS} weights files" in checks["AC4.5"].reason
    trained = judge("ac6-memory", context)
    for name in ("AC6.2", "AC6.3", "AC6.4", "AC6.7"):
        assert trained[name].status is Status.PASS, trained[name].reason


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_damaged_shard_stops_the_model(
    sharded: Path, context_for: Callable[..., Context], damage: str
) -> None:
    """One shard that is gone or cut is named, and nothing is loaded."""
    shard = sharded / f"model-00002-of-{SHARDS:05}.safetensors"
    if damage == "missing":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:-8])
    checks = judge("ac4-loading", context_for(sharded, profile="qwen2.5-coder-7b"))
    assert checks["AC4.5"].status is Status.FAIL
    assert shard.name in checks["AC4.5"].reason
    assert checks["AC4.2"].status is Status.FAIL


def test_without_the_weights_the_download_is_named(
    context_for: Callable[..., Context], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What needs the weights is BLOCKED with command, size and space; memory is simulated."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    context = context_for("Qwen/Qwen2.5-Coder-7B-Instruct", profile="qwen2.5-coder-7b")
    checks = judge("ac6-memory", context)
    assert checks["AC6.3"].status is Status.BLOCKED
    assert "15.23 GB to download" in checks["AC6.3"].reason
    assert "free" in checks["AC6.3"].reason
    assert "mlx-preflight download Qwen/Qwen2.5-Coder-7B-Instruct" in checks["AC6.3"].remedy
    assert checks["AC6.7"].status is Status.PASS
    assert checks["AC6.7"].evidence is Evidence.SIMULATED
