"""Random weights of real shapes: made whole or not at all, loaded, and never taken for a model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import mlx_preflight
from mlx_preflight.cli import options
from mlx_preflight.core.errors import BlockedError, ChildError, ResultError, UsageError
from mlx_preflight.core.result import Evidence, Status
from mlx_preflight.criteria import generated_docs, inference, script
from mlx_preflight.criteria.inference import InferenceFacts
from mlx_preflight.criteria.model_under_test import ModelUnderTest
from mlx_preflight.doctor import download
from mlx_preflight.documents import training_documents
from mlx_preflight.models import catalog, checkpoint, locate
from mlx_preflight.models.catalog import KnownModel
from mlx_preflight.plan.options import RunOptions
from mlx_preflight.plan.profiles import PROFILES
from mlx_preflight.plan.settings import ProjectSettings
from mlx_preflight.run import scope
from mlx_preflight.run.context import choose
from mlx_preflight.runtime import synthesize, workers

PROFILE = PROFILES["qwen2.5-coder-7b-synthetic"]
SMALLEST = "qwen2.5-coder-0.5b"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what is made in a folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "mlx-preflight" / "synthetic"


def tiny(*, tied: bool) -> KnownModel:
    """Return a model of the reference's architecture that takes no time."""
    config = {
        "model_type": "qwen2",
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 256,
        "vocab_size": 4096,
        "tie_word_embeddings": tied,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    }
    return KnownModel("tiny", "owner/tiny", 0, 0, config, "this test")


@pytest.mark.slow
@pytest.mark.parametrize("tied", [True, False])
def test_a_model_of_real_architecture_answers_within_its_tokenizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, tied: bool
) -> None:
    """The files are sound, load in a worker, and no token lies beyond the tokenizer."""
    monkeypatch.setattr(catalog, "find", lambda _: tiny(tied=tied))
    folder = tmp_path / "made"
    folder.mkdir()
    assert synthesize.write({"name": "tiny", "target": str(folder)}) == str(folder)
    found = checkpoint.inspect(folder)
    assert (found.tied, found.vocab_size) == (tied, 4096)
    assert found.quantization is not None
    assert found.quantization.bits == 4
    shapes = checkpoint.check_shapes(found)
    assert shapes.checked
    assert not shapes.problems
    values = checkpoint.check_values(found)
    assert values.tensors
    assert not values.nonfinite
    assert not values.all_zero
    done = workers.generate(folder, [{"id": "a", "prompt": "Write a function."}], max_tokens=24)
    (answer,) = done.answers
    assert answer.token_ids
    assert max(answer.token_ids) < 1024
    (tmp_path / "pyproject.toml").write_text("")
    context = options.load_context(tmp_path, RunOptions(profile=PROFILE.name))
    named = script.inspect(tmp_path, inference.SCRIPT)
    page = generated_docs.compare(training_documents.INFERENCE, tmp_path)
    judged = inference.ac5_4(
        InferenceFacts(context, ModelUnderTest(), named, page, generation=done)
    )
    assert judged.status is Status.BLOCKED
    assert "real model" in judged.remedy


def test_the_same_name_gives_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results of two runs are about the same files."""
    monkeypatch.setattr(catalog, "find", lambda _: tiny(tied=True))
    prints = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        synthesize.write({"name": "tiny", "target": str(tmp_path / name)})
        digests = checkpoint.digests(checkpoint.inspect(tmp_path / name))
        prints.add(checkpoint.fingerprint(digests))
    assert len(prints) == 1


def test_what_is_not_made_is_blocked_with_the_command() -> None:
    """Nothing is made by looking."""
    with pytest.raises(BlockedError, match=r"4\.28 GB") as caught:
        locate.resolve(PROFILE.model)
    assert caught.value.hint == "mlx-preflight synthesize qwen2.5-coder-7b"
    (finding,) = download.check(PROFILE.model, 1.0)
    assert finding.fix == "mlx-preflight synthesize qwen2.5-coder-7b"


def test_an_unknown_name_suggests_the_nearest() -> None:
    """A misspelt model is a usage error everywhere."""
    for ask in (locate.resolve, lambda name: synthesize.make(name, print)):
        with pytest.raises(UsageError, match=r"qwen2\.5-coder-7b"):
            ask("synthetic:qwen2.5-coder-7")


def test_a_full_disk_is_said_before_anything_is_written(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size is known beforehand."""
    monkeypatch.setattr(catalog, "synthetic_size_bytes", lambda _: 10**18)
    with pytest.raises(ResultError, match="needed"):
        synthesize.make(SMALLEST, print)
    assert not list(cache.glob("*/*"))


def test_a_child_that_fails_leaves_no_folder(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a checkpoint never carries the name of a whole one."""
    source = Path(mlx_preflight.__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", f"{cache.parent / 'broken'}{os.pathsep}{source}")
    broken = cache.parent / "broken" / "mlx_lm"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise SystemExit('no mlx_lm today')")
    with pytest.raises(ChildError, match="no mlx_lm today"):
        synthesize.make(SMALLEST, print)
    assert not list(cache.iterdir())


def test_it_is_evidence_of_its_own_tier() -> None:
    """A custom name keeps the tier, and the verdict says that answers mean nothing."""
    chosen = choose(ProjectSettings(), model=f"synthetic:{SMALLEST}")
    assert (chosen.evidence, chosen.parameters) == (Evidence.SYNTHETIC, None)
    judged = scope.of_model(PROFILE, PROFILE.parameters)
    assert "random 4-bit weights of the shapes of Qwen2.5-Coder-7B-Instruct" in judged
    assert "nothing about any answer" in judged


@pytest.mark.slow
def test_the_smallest_known_model_has_exactly_its_parameters(cache: Path) -> None:
    """Half a billion weights are made in a child, once."""
    notes: list[str] = []
    folder = synthesize.make(SMALLEST, notes.append)
    found = checkpoint.inspect(folder)
    expected = catalog.find(SMALLEST)
    assert expected is not None
    assert found.parameters == expected.parameters
    assert abs(found.weight_bytes / catalog.synthetic_size_bytes(expected) - 1) < 0.02
    assert synthesize.make(SMALLEST, notes.append) == folder
    assert "there already" in notes[-1]
    assert [path.name for path in cache.iterdir()] == [SMALLEST]
    assert json.loads((folder / "config.json").read_text())["vocab_size"] == 151_936
