"""Random weights of real shapes: made whole or not at all, loaded, and never taken for a model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import mlx_preflight
from mlx_preflight import cli_options, plan, verdict
from mlx_preflight.criteria import inference
from mlx_preflight.criteria.answering import Facts
from mlx_preflight.criteria.subject import Subject
from mlx_preflight.doctor import download
from mlx_preflight.errors import BlockedError, ChildError, ResultError, UsageError
from mlx_preflight.memory import known
from mlx_preflight.memory.known import Known
from mlx_preflight.model import checkpoint, location, runtime, synthetic
from mlx_preflight.plan import PROFILES
from mlx_preflight.project_table import Settings
from mlx_preflight.result import Evidence, Status

PROFILE = PROFILES["qwen2.5-coder-7b-synthetic"]
SMALLEST = "qwen2.5-coder-0.5b"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what is made in a folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "mlx-preflight" / "synthetic"


def tiny(*, tied: bool) -> Known:
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
    return Known("tiny", "owner/tiny", 0, 0, config, "this test")


@pytest.mark.slow
@pytest.mark.parametrize("tied", [True, False])
def test_a_model_of_real_architecture_answers_within_its_tokenizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, tied: bool
) -> None:
    """The files are sound, load in a worker, and no token lies beyond the tokenizer."""
    monkeypatch.setattr(known, "find", lambda _: tiny(tied=tied))
    folder = tmp_path / "made"
    folder.mkdir()
    assert synthetic.main(["tiny", str(folder)]) == 0
    found = checkpoint.inspect(folder)
    assert (found.tied, found.vocab_size) == (tied, 4096)
    assert found.quantization is not None
    assert found.quantization["bits"] == 4
    shapes = checkpoint.check_shapes(found)
    assert shapes.checked
    assert not shapes.problems
    values = checkpoint.check_values(found)
    assert values.tensors
    assert not values.nonfinite
    assert not values.all_zero
    done = runtime.generate(folder, [{"id": "a", "prompt": "Write a function."}], max_tokens=24)
    (answer,) = done.answers
    assert answer.token_ids
    assert max(answer.token_ids) < 1024
    (tmp_path / "pyproject.toml").write_text("")
    context = cli_options.context_of(tmp_path, profile=PROFILE.name)
    judged = inference.ac5_4(Facts(context, Subject(), generation=done))
    assert judged.status is Status.BLOCKED
    assert "real model" in judged.remedy


def test_the_same_name_gives_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results of two runs are about the same files."""
    monkeypatch.setattr(known, "find", lambda _: tiny(tied=True))
    prints = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        synthetic.main(["tiny", str(tmp_path / name)])
        digests = checkpoint.digests(checkpoint.inspect(tmp_path / name))
        prints.add(checkpoint.fingerprint(digests))
    assert len(prints) == 1


def test_what_is_not_made_is_blocked_with_the_command() -> None:
    """Nothing is made by looking."""
    with pytest.raises(BlockedError, match=r"4\.3 GB") as caught:
        location.resolve(PROFILE.model)
    assert caught.value.hint == "mlx-preflight synthesize qwen2.5-coder-7b"
    (finding,) = download.examine(PROFILE.model, 1.0)
    assert finding.fix == "mlx-preflight synthesize qwen2.5-coder-7b"


def test_an_unknown_name_suggests_the_nearest() -> None:
    """A misspelt model is a usage error everywhere."""
    for ask in (location.resolve, lambda name: synthetic.make(name, print)):
        with pytest.raises(UsageError, match=r"qwen2\.5-coder-7b"):
            ask("synthetic:qwen2.5-coder-7")


def test_a_full_disk_is_said_before_anything_is_written(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size is known beforehand."""
    monkeypatch.setattr(synthetic, "size_bytes", lambda _: 10**18)
    with pytest.raises(ResultError, match="needed"):
        synthetic.make(SMALLEST, print)
    assert not list(cache.glob("*/*"))


def test_a_child_that_fails_leaves_no_folder(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a checkpoint never carries the name of a whole one."""
    source = Path(mlx_preflight.__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", f"{cache.parent / 'broken'}{os.pathsep}{source}")
    broken = cache.parent / "broken" / "mlx_lm"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise SystemExit('no mlx_lm today')")
    with pytest.raises(ChildError, match="no mlx_lm today"):
        synthetic.make(SMALLEST, print)
    assert not list(cache.iterdir())


def test_it_is_evidence_of_its_own_tier() -> None:
    """A custom name keeps the tier, and the verdict says that answers mean nothing."""
    chosen = plan.choose(Settings(), model=f"synthetic:{SMALLEST}")
    assert (chosen.evidence, chosen.parameters) == (Evidence.SYNTHETIC, None)
    judged = verdict._holds_for(PROFILE, PROFILE.parameters)
    assert "random 4-bit weights of the shapes of Qwen2.5-Coder-7B-Instruct" in judged
    assert "nothing about any answer" in judged


@pytest.mark.slow
def test_the_smallest_known_model_has_exactly_its_parameters(cache: Path) -> None:
    """Half a billion weights are made in a child, once."""
    notes: list[str] = []
    folder = synthetic.make(SMALLEST, notes.append)
    found = checkpoint.inspect(folder)
    expected = known.find(SMALLEST)
    assert expected is not None
    assert found.parameters == expected.parameters
    assert abs(found.weight_bytes / synthetic.size_bytes(expected) - 1) < 0.02
    assert synthetic.make(SMALLEST, notes.append) == folder
    assert "there already" in notes[-1]
    assert [path.name for path in cache.iterdir()] == [SMALLEST]
    assert json.loads((folder / "config.json").read_text())["vocab_size"] == 151_936
