"""The index finds runs by words, is shared without loss, and is rebuilt when it cannot be used."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock, Timeout
from qdrant_client import QdrantClient

from mlx_preflight.core.errors import ResultError, UsageError
from mlx_preflight.history import aliases, collection, encoder, qdrant_manager
from mlx_preflight.history.filters import Filter
from mlx_preflight.history.memory_manager import MemoryManager
from mlx_preflight.history.qdrant_manager import QdrantManager
from tests.mcp.support import edge_server, runs

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXTS = {
    "memory": "AC6.2 FAIL killed: the system ran out of memory at max_seq_length 2048",
    "lint": "GATE2 FAIL 3 new findings: src/app/trainer.py:12 F401 os imported but unused",
    "audit": "GATE8 BLOCKED the advisory service gave no answer: connection refused",
    "tokens": "AC5.4 FAIL decode speed 12.1 tokens/s is below 20 tokens/s",
    "adapter": "AC4.2 FAIL cannot load 0001200_adapters.safetensors: header is damaged",
}


def places() -> list[str]:
    """Return the engines that are tried; a real server where one is named, as in the workflow."""
    return ["memory", "path", "edge", *(["url"] if "QDRANT_URL" in os.environ else [])]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of Qdrant's core behind its REST interface, on loopback."""
    with edge_server.serve(tmp_path_factory.mktemp("edge")) as address:
        yield address


@pytest.fixture(params=places())
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[QdrantManager]:
    """Return an empty index of each engine."""
    if request.param == "url":
        made = QdrantManager(url=os.environ["QDRANT_URL"], api_key=os.environ.get("QDRANT_KEY"))
        made.clear()
    elif request.param == "edge":
        made = QdrantManager(url=request.getfixturevalue("server"), api_key=edge_server.KEY)
        made.clear()
    else:
        made = QdrantManager(tmp_path / "index" if request.param == "path" else None)
    yield made
    made.close()


def fill(index: QdrantManager, texts: dict[str, str] | None = None, revision: str = "1") -> str:
    """Make the index hold texts."""
    found = TEXTS if texts is None else texts
    return index.sync(dict.fromkeys(found, revision), found.__getitem__)


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("OOM", "memory"),
        ("max_seq_length", "memory"),
        ("maximum sequence length 2048", "memory"),
        ("trainer.py", "lint"),
        ("trainer", "lint"),
        ("unused imports", "lint"),
        ("service not answering", "audit"),
        ("decoding was slow, token throughput", "tokens"),
        ("0001200_adapters.safetensors", "adapter"),
        ("loading adapters damaged headers", "adapter"),
        ("corrupted LoRA weights", "adapter"),
        ("endpoint unreachable, offline?", "audit"),
        ("process crashed, RAM too small", "memory"),
    ],
)
def test_words_and_identifiers_find_their_run(index: QdrantManager, words: str, first: str) -> None:
    """Whole and in parts, in other forms and by other names."""
    fill(index)
    assert index.search(words, TEXTS, 5)[0][0] == first


def test_a_word_itself_counts_more_than_another_of_its_concept(index: QdrantManager) -> None:
    """What holds the very word comes first, what only means it comes after."""
    texts = {
        "meant": "FAIL the weights are corrupted somewhere in the file",
        "said": "FAIL the weights are truncated somewhere in the file",
        "none": "PASS the weights are as they were in the other run",
    }
    fill(index, texts)
    assert [name for name, _ in index.search("truncated", texts, 5)] == ["said", "meant"]


def test_no_word_of_a_concept_is_dead() -> None:
    """Each is one term that texts can hold: no stop word, nothing that is split."""
    for word in (word for group in aliases.GROUPS for word in group.split()):
        assert encoder.terms(word), word
        assert encoder.terms(f"a {word} b")[:1] == encoder.terms(word)[:1]
    for words in aliases.ABBREVIATIONS.values():
        assert all(encoder.terms(word) for word in words), words


@pytest.mark.slow
def test_only_what_was_admitted_is_found(index: QdrantManager) -> None:
    """Filters are exact: the best of the rest comes first, however far down it ranks."""
    texts = {f"r{number}": "FAIL out of memory" for number in range(200)}
    texts["other"] = "FAIL memory of something else entirely, at length"
    fill(index, texts)
    assert [name for name, _ in index.search("out of memory", {"other"}, 3)] == ["other"]
    assert index.search("out of memory", set(), 3) == []
    assert index.search("the of and", texts, 3) == []


def test_sync_follows_the_records(index: QdrantManager) -> None:
    """New ones are added, changed ones replaced, gone ones removed."""
    fill(index)
    fill(index, {"lint": "GATE2 PASS", "new": "out of memory again"}, "2")
    assert index.count() == 2
    assert [name for name, _ in index.search("memory", ["lint", "new"], 5)] == ["new"]
    index.clear()
    assert index.count() == 0


def test_the_same_texts_are_written_once(index: QdrantManager) -> None:
    """A second sync asks for no text at all."""
    fill(index)
    asked: list[str] = []

    def document(name: str) -> str:
        asked.append(name)
        return ""

    index.sync(dict.fromkeys(TEXTS, "1"), document)
    assert asked == []


@pytest.mark.parametrize(
    "spoil",
    ["meta.json", "storage.sqlite", "encoder", "shape"],
)
def test_a_damaged_or_foreign_index_is_rebuilt_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    """Truncated files, another encoder and another shape lose nothing: the records are there."""
    memory = MemoryManager(tmp_path / "history")
    memory.record(runs.report(1, failed={"AC6.2": "out of memory"}))
    memory.record(runs.report(2))
    assert memory.search("memory").hits[0].run_id == "run-00001"
    memory.close()
    folder = tmp_path / "history" / "index"
    if spoil == "encoder":
        monkeypatch.setattr(encoder, "VERSION", "another")
    elif spoil == "shape":
        (folder / "held.json").unlink()
        with monkeypatch.context() as patch:
            patch.setattr(collection, "VECTOR", "other")
            other = QdrantManager(folder)
            other.count()
            other.close()
    else:
        (path,) = folder.rglob(spoil)
        path.write_bytes(path.read_bytes()[:20])
    again = MemoryManager(tmp_path / "history")
    found = again.search("memory")
    assert found.hits[0].run_id == "run-00001"
    assert "rebuilt" in found.message
    assert again.search("memory").message == ""
    again.close()


@pytest.mark.parametrize(
    ("warn", "most", "said"),
    [(6, 9, ""), (5, 9, "become slow"), (3, 5, "use a Qdrant server")],
)
def test_an_index_that_grows_too_large_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warn: int, most: int, said: str
) -> None:
    """From one size on searches become slow, from another a server is advised."""
    monkeypatch.setattr(qdrant_manager, "WARN_POINTS", warn)
    monkeypatch.setattr(qdrant_manager, "MAX_POINTS", most)
    made = QdrantManager(tmp_path / "index")
    try:
        message = fill(made)
        assert (said in message, bool(message)) == (True, bool(said))
    finally:
        made.close()


def test_the_sizes_that_are_warned_of() -> None:
    """Ten and twenty thousand runs, as documented."""
    assert (qdrant_manager.WARN_POINTS, qdrant_manager.MAX_POINTS) == (10_000, 20_000)


def test_a_lost_index_is_made_anew(tmp_path: Path) -> None:
    """Without the folder the records are enough; `rebuild` does it on demand."""
    memory = MemoryManager(tmp_path)
    for number in range(3):
        memory.record(runs.report(number, failed={"GATE2": "unused import"}))
    assert memory.rebuild() == 3
    memory.close()
    assert MemoryManager(tmp_path).search("import").matched == 3


def test_a_folder_for_others_eyes_is_closed(tmp_path: Path) -> None:
    """What is unpickled belongs to its owner alone."""
    folder = tmp_path / "index"
    folder.mkdir(mode=0o755)
    index = QdrantManager(folder)
    fill(index)
    assert folder.stat().st_mode & 0o077 == 0
    index.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
def test_a_folder_of_somebody_else_is_not_opened(tmp_path: Path) -> None:
    """It could hold a pickle that runs code."""
    folder = tmp_path / "index"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    with pytest.raises(ResultError, match="somebody else"):
        QdrantManager(folder).count()


def test_threads_share_the_index(tmp_path: Path) -> None:
    """Eight threads sync and search side by side; the embedded client alone breaks here."""
    index = QdrantManager(tmp_path / "index")
    fill(index)

    def work(number: int) -> int:
        if number % 4 == 0:
            fill(index, revision=str(number))
        return len(index.search("memory", TEXTS, 5))

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(40))) == {1}
    assert index.count() == len(TEXTS)
    index.close()


@pytest.mark.slow
def test_an_idle_index_leaves_the_folder_to_others(tmp_path: Path) -> None:
    """The lease ends on its timer's thread, and the lock with it, whoever searched last."""
    index = QdrantManager(tmp_path / "index")
    fill(index)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(index.search, "OOM", set(TEXTS), 1).result()
    other = FileLock(str(tmp_path / "index") + ".lock")
    with pytest.raises(Timeout):
        other.acquire(timeout=0)
    # Far beyond the lease, for a machine that is busy.
    with other.acquire(timeout=20 * qdrant_manager.LEASE_S):
        pass
    assert index.search("OOM", set(TEXTS), 1)
    index.close()


@pytest.mark.slow
def test_processes_share_the_index(tmp_path: Path) -> None:
    """Three processes open, write and search one folder in turns."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom mcp_local.qdrant_manager import QdrantManager\n"
        "index = QdrantManager(Path(sys.argv[1]))\n"
        "for number in range(10):\n"
        "    texts = {f'r{n}': f'run {n} out of memory' for n in range(20)}\n"
        "    index.sync(dict.fromkeys(texts, f'{sys.argv[2]}-{number}'), texts.__getitem__)\n"
        "    assert len(index.search('memory', texts, 30)) == 20\n"
        "    index.close()\n"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "index"), str(number)])
        for number in range(3)
    ]
    assert [child.wait(120) for child in children] == [0, 0, 0]
    index = QdrantManager(tmp_path / "index")
    assert index.count() == 20
    index.close()


def test_a_server_that_is_down_is_an_error() -> None:
    """The address is named in the status, and nothing hangs."""
    index = QdrantManager(url="http://127.0.0.1:9", api_key="secret-key")
    with pytest.raises(ResultError) as caught:
        index.count()
    assert "secret-key" not in str(caught.value)
    assert "error" in index.status()


def test_a_server_that_refuses_the_key_is_an_error(server: str) -> None:
    """What it answered is told, the key is not."""
    index = QdrantManager(url=server, api_key="another-key")
    for ask in (index.count, lambda: fill(index), index.clear):
        with pytest.raises(ResultError) as caught:
            ask()
        assert "401" in str(caught.value)
        assert "another-key" not in str(caught.value)
    assert "401" in index.status()["error"]


@pytest.mark.parametrize("spoil", ["encoder", "shape"])
def test_a_foreign_collection_on_a_server_is_rebuilt(
    server: str, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    """Another encoder's and another shape's; a neighbour is left alone."""
    other = QdrantManager(url=server, api_key=edge_server.KEY, name="other")
    fill(other)
    with monkeypatch.context() as patch:
        if spoil == "encoder":
            patch.setattr(encoder, "VERSION", "another")
        else:
            patch.setattr(collection, "VECTOR", "other")
        before = QdrantManager(url=server, api_key=edge_server.KEY, name=spoil)
        fill(before)
    index = QdrantManager(url=server, api_key=edge_server.KEY, name=spoil)
    assert "rebuilt" in fill(index)
    assert index.search("OOM", TEXTS, 1)[0][0] == "memory"
    assert (index.count(), other.count()) == (len(TEXTS), len(TEXTS))


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
def test_a_collection_that_somebody_deleted_is_made_anew(server: str) -> None:
    """The operation that meets its absence fails and says so; the next one begins anew."""
    index = QdrantManager(url=server, api_key=edge_server.KEY, name="deleted")
    fill(index)
    other = QdrantClient(url=server, api_key=edge_server.KEY, check_compatibility=False)
    other.delete_collection("deleted")
    with pytest.raises(ResultError, match="404"):
        index.search("OOM", TEXTS, 1)
    fill(index)
    assert index.search("OOM", TEXTS, 1)[0][0] == "memory"


def test_memories_share_a_server(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has its own collection, and finds its own runs only."""
    monkeypatch.setenv("PREFLIGHT_QDRANT_URL", server)
    monkeypatch.setenv("PREFLIGHT_QDRANT_API_KEY", edge_server.KEY)
    for number, name in enumerate(("one", "two")):
        memory = MemoryManager(tmp_path / name)
        memory.record(runs.report(number, failed={"AC6.2": "out of memory"}))
        assert [hit.run_id for hit in memory.search("OOM").hits] == [f"run-0000{number}"]
        assert memory.status()["index"]["points"] == 1
        memory.close()


def test_a_floor_keeps_noise_out(tmp_path: Path) -> None:
    """A floor above every score answers nothing instead of the least bad."""
    memory = MemoryManager(tmp_path)
    memory.record(runs.report(1, failed={"GATE2": "unused import"}))
    memory.record(runs.report(2))
    assert memory.search("unused import", floor=0.01).matched == 1
    assert memory.search("unused import", floor=1000).matched == 0
    assert memory.search("entirely unrelated zebra").matched == 0
    assert memory.search("unused import", Filter(status="PASS")).matched == 0
    memory.close()


def test_vectors_are_stable_and_bounded() -> None:
    """A text has one vector, whatever else is indexed; long texts are cut."""
    assert encoder.encode_document("out of memory") == encoder.encode_document("out of memory")
    assert (
        len(encoder.encode_document(" ".join(f"w{n}" for n in range(5000)))[0])
        == encoder.MAX_DISTINCT
    )
    assert encoder.encode_document("") == ([], [])
    assert encoder.terms("maxSeqLength") == encoder.terms("max_seq_length")


def test_a_key_does_not_go_over_the_network_in_plain_words() -> None:
    """Beyond loopback a key wants https."""
    with pytest.raises(UsageError, match="sent unencrypted"):
        QdrantManager(url="http://qdrant.example:6333", api_key="secret-key").count()
