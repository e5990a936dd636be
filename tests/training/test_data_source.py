"""Sets of the hub, through the real `datasets`, from a hub on loopback; and `hf_dataset`."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlx_preflight.core.errors import BlockedError, DataError
from mlx_preflight.training import data_source, rows
from mlx_preflight.training.training_run import read_run
from tests.models import loopback
from tests.training import rows_of

TRAINER = Path(sys.executable).parent / "mlx_lm.lora"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[loopback.Hub]:
    """Serve a set with the splits train, validation and test."""
    files = {"train": rows_of.chats(20), "validation": rows_of.chats(6, 1)}
    folder = rows_of.folder(tmp_path / "repo", files)
    server = loopback.Hub(folder)
    for name, value in {
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DOWNLOAD_TIMEOUT": "5",
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_DATASETS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    yield server
    server.shutdown()
    server.server_close()


def read(project: Path, *arguments: str, **config: Any) -> rows.Rows:
    """Read the rows of a run whose config holds some settings."""
    file = project / "x.yaml"
    file.write_text(yaml.safe_dump({"model": str(rows_of.MODEL), "train": True, **config}))
    context = rows_of.of_arguments(project, "--config", str(file), *arguments)
    return rows.read_rows(context, read_run(context), rows_of.MODEL)


def test_a_set_of_the_hub_is_read_as_mlx_lm_would(hub: loopback.Hub, tmp_path: Path) -> None:
    """`data: owner/name`: its `validation` is no `valid`; a second look needs no reading."""
    found = read(tmp_path, data=loopback.REPO)
    assert {name: len(split) for name, split in found.splits.items()} == {"train": 20}
    assert found.unread == ("validation",)
    assert not found.places
    assert min(found.splits["train"].tokens) > 0
    assert read(tmp_path, data=loopback.REPO).cached
    assert tmp_path / "home" in found.path("train").parents, "rows are not kept in a project"


def test_splits_of_hf_dataset_are_those_of_the_trainer(hub: loopback.Hub, tmp_path: Path) -> None:
    """The defaults, 80 and 10 %, and named ones; the trainer's own rows are the same."""
    one = {"path": loopback.REPO}
    parts = {name: len(s) for name, s in read(tmp_path, hf_dataset=one).splits.items()}
    assert parts == {"train": 16, "valid": 2}
    named = {**one, "train_split": "train", "valid_split": "validation"}
    found = read(tmp_path, hf_dataset=[one, named])
    assert {name: len(s) for name, s in found.splits.items()} == {"train": 36, "valid": 8}
    code = (
        "import json, types; from mlx_lm.tuner.datasets import load_dataset, CacheDataset;"
        "from mlx_lm.utils import load_tokenizer; from pathlib import Path;"
        f"args = types.SimpleNamespace(hf_dataset={[one, named]!r}, train=True, test=False);"
        f"sets = load_dataset(args, load_tokenizer(Path({str(rows_of.MODEL)!r})));"
        "print(json.dumps([[len(CacheDataset(s)[i][0]) for i in range(len(s))]"
        " for s in sets[:2]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True
    )
    train, valid = json.loads(done.stdout.splitlines()[-1])
    assert list(found.splits["train"].tokens) == train
    assert list(found.splits["valid"].tokens) == valid


def test_sets_of_other_formats_are_joined(hub: loopback.Hub, tmp_path: Path) -> None:
    """Each set has its own keys; neither is read with those of the other."""
    pairs = [{"question": f"what is {i}", "answer": "a number"} for i in range(5)]
    other = rows_of.folder(tmp_path / "pairs", {"train": pairs})
    features = {"prompt_feature": "question", "completion_feature": "answer"}
    second = {"path": str(other), "train_split": "train", "valid_split": "train", **features}
    first = {"path": loopback.REPO, "train_split": "train", "valid_split": "validation"}
    found = read(tmp_path, hf_dataset=[first, second])
    assert len(found.splits["train"]) == 25
    assert found.splits["train"].format == "ChatDataset, CompletionsDataset"
    assert min(found.splits["train"].tokens) > 0
    assert not found.of("format", "ignored")


@pytest.mark.parametrize(
    ("one", "said"),
    [
        ({"path": loopback.REPO, "train_split": "training"}, "ValueError: Unknown split"),
        ({"path": loopback.REPO, "config": {"name": "other"}}, "ValueError: BuilderConfig"),
        ({"name": loopback.REPO}, "set 1: it has no `path`"),
        ("someone/rows", "set 1: it has no `path`"),
        ({"path": loopback.REPO, "config": ["name"]}, "`config` is no mapping"),
    ],
)
def test_what_the_trainer_cannot_load_fails(
    hub: loopback.Hub, tmp_path: Path, one: Any, said: str
) -> None:
    """The trainer would end, too, and the reason is its own."""
    with pytest.raises(DataError, match=said):
        read(tmp_path, hf_dataset=[one])


def test_a_test_without_a_split_fails(hub: loopback.Hub, tmp_path: Path) -> None:
    """mlx-lm has no default for it."""
    with pytest.raises(DataError, match="no `test_split`"):
        read(tmp_path, "--test", hf_dataset={"path": loopback.REPO})


@pytest.mark.parametrize(("status", "said"), [(404, "NotFoundError"), (403, "GatedRepoError")])
def test_a_set_that_the_hub_refuses_fails(
    hub: loopback.Hub, tmp_path: Path, status: int, said: str
) -> None:
    """Absent or gated: the trainer ends with the same exception."""
    hub.status, hub.files = status, {}
    with pytest.raises(DataError, match=said):
        read(tmp_path, data=loopback.REPO)


def test_a_hub_that_does_not_answer_blocks(
    hub: loopback.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No connection says nothing about the set; neither does being offline."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    with pytest.raises(BlockedError, match="ConnectionError"):
        read(tmp_path, data=loopback.REPO)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BlockedError, match="ConnectionError"):
        read(tmp_path, data=loopback.REPO)


def test_a_kept_set_is_read_offline(
    hub: loopback.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `datasets` has in its cache needs no hub."""
    assert len(read(tmp_path, data=loopback.REPO).splits["train"]) == 20
    hub.files = {}
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert len(read(tmp_path, data=loopback.REPO).splits["train"]) == 20


class Bomb:
    """Pickle that leaves a mark where it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def test_a_pickle_is_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The builder `pandas` unpickles; it is refused before it does."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    mark, file = tmp_path / "mark", tmp_path / "rows.pkl"
    file.write_bytes(pickle.dumps(Bomb(mark)))
    one = {"path": "pandas", "config": {"data_files": str(file)}, "train_split": "train"}
    with pytest.raises(BlockedError, match="of the format pandas"):
        read(tmp_path, hf_dataset=one)
    assert not mark.exists()


def test_other_arguments_are_refused_by_name(tmp_path: Path) -> None:
    """`load_dataset` has arguments that run or fetch what nobody looked at."""
    one = {"path": "json", "config": {"storage_options": {}, "data_files": "x.jsonl"}}
    with pytest.raises(BlockedError, match="storage_options is not read here"):
        read(tmp_path, hf_dataset=one)


def test_rows_beside_those_that_are_read_are_named(tmp_path: Path) -> None:
    """A folder with validation.jsonl: mlx-lm reads valid.jsonl."""
    files = {"train": rows_of.chats(4), "validation": rows_of.chats(4, 1)}
    data = rows_of.folder(tmp_path / "data", files)
    run = read_run(rows_of.context(tmp_path, data))
    assert data_source.find(run).unread == ("validation",)
