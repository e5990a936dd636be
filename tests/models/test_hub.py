"""Downloads through the real client from a hub on loopback."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from mlx_preflight.models.hub import refused
from tests.models import loopback

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[loopback.Hub]:
    """Serve the embedded checkpoint with a pickle and a script beside it."""
    folder = tmp_path / "repo"
    folder.mkdir()
    for item in EMBEDDED_FOLDER.iterdir():
        if item.is_file():
            (folder / item.name).write_bytes(item.read_bytes())
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "modeling_x.py").write_text("raise SystemExit\n")
    server = loopback.Hub(folder)
    yield server
    server.shutdown()
    server.server_close()


def fetch(
    hub: loopback.Hub, home: Path, *arguments: str, **extra: str
) -> subprocess.CompletedProcess[str]:
    """Run `mlx-preflight download` against the hub in a fresh process and home."""
    return run(hub, home, "download", loopback.REPO, *arguments, **extra)


def run(
    hub: loopback.Hub, home: Path, *arguments: str, **extra: str
) -> subprocess.CompletedProcess[str]:
    """Run a command with the hub and a home of its own."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    env |= {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_HUB_DOWNLOAD_TIMEOUT": "1",
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
        **extra,
    }
    return subprocess.run(
        [sys.executable, "-m", "mlx_preflight", *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def snapshot(home: Path) -> Path:
    """Return the folder of the pinned snapshot."""
    return home / "hub" / "models--someone--tiny-model" / "snapshots" / loopback.COMMIT


def test_a_download_is_pinned_verified_and_free_of_code(hub: loopback.Hub, tmp_path: Path) -> None:
    """The snapshot of the commit is whole; pickles and scripts were never asked for."""
    done = fetch(hub, tmp_path / "home", "--json")
    assert done.returncode == 0, done.stderr
    assert loopback.COMMIT in done.stdout
    folder = snapshot(tmp_path / "home")
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]
    asked = " ".join(hub.requests)
    assert "pytorch_model.bin" not in asked
    assert "modeling_x.py" not in asked


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "hint"),
    [(401, "auth login"), (403, "access"), (404, "spelling"), (500, "try again")],
)
def test_a_refusal_is_blocked_with_its_own_step(
    hub: loopback.Hub, tmp_path: Path, status: int, hint: str
) -> None:
    """401, 403, 404 and 500 exit 3 with what to do, without a traceback or the token."""
    hub.status = status
    done = fetch(hub, tmp_path / "home", HF_TOKEN="hf_secretsecretsecret")  # noqa: S106  (made up)
    assert done.returncode == 3
    assert hint in done.stderr
    assert "Traceback" not in done.stderr
    assert "secretsecret" not in done.stdout + done.stderr


def test_a_full_disk_names_the_disk() -> None:
    """Not the connection, which is what most other errors of the client are about."""
    error = OSError(errno.ENOSPC, "No space left on device")
    blocked = refused(loopback.REPO, None, error)
    assert "No space left" in str(blocked)
    assert "free disk space" in blocked.hint


@pytest.mark.slow
def test_a_file_that_is_listed_but_not_there_is_named_as_such(
    hub: loopback.Hub, tmp_path: Path
) -> None:
    """The connection is not to blame."""
    hub.listed_only = "extra.json"
    done = fetch(hub, tmp_path / "home")
    assert done.returncode == 3
    assert "does not hold" in done.stderr


@pytest.mark.slow
def test_429_is_retried(hub: loopback.Hub, tmp_path: Path) -> None:
    """Two refusals for too many requests end in a whole download."""
    hub.busy = 2
    done = fetch(hub, tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert hub.busy == 0


@pytest.mark.slow
def test_a_cut_download_resumes_with_a_range(hub: loopback.Hub, tmp_path: Path) -> None:
    """A connection cut in the middle goes on from there, and the digest agrees."""
    # The client writes to disk in pieces of 10 MB; a smaller file would start over.
    hub.files["model.safetensors"] = os.urandom(25_000_000)
    hub.cut = 15_000_000
    done = fetch(hub, tmp_path / "home")
    if done.returncode != 0:
        done = fetch(hub, tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert any(text.startswith("bytes=") for text in hub.ranges)
    folder = snapshot(tmp_path / "home")
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


@pytest.mark.slow
def test_a_stalled_download_goes_on(hub: loopback.Hub, tmp_path: Path) -> None:
    """A server that stops sending is left after the timeout and asked again."""
    hub.stall = 20.0
    done = fetch(hub, tmp_path / "home")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_wrong_digest_is_refused_and_removed(hub: loopback.Hub, tmp_path: Path) -> None:
    """Content that differs from the listing is an error and does not stay in the cache."""
    hub.lie = True
    done = fetch(hub, tmp_path / "home")
    assert done.returncode == 3
    assert "digest" in done.stderr
    assert not (snapshot(tmp_path / "home") / "model.safetensors").exists()


@pytest.mark.slow
def test_a_partial_snapshot_is_completed(hub: loopback.Hub, tmp_path: Path) -> None:
    """A cached snapshot that lacks its weights is completed, not believed."""
    home = tmp_path / "home"
    assert fetch(hub, home).returncode == 0
    target = snapshot(home) / "model.safetensors"
    target.resolve().unlink()
    target.unlink()
    assert fetch(hub, home).returncode == 0
    assert target.is_file()


@pytest.mark.slow
def test_a_damaged_cache_is_found_and_mended(hub: loopback.Hub, tmp_path: Path) -> None:
    """A flipped byte in the cache is an error once, and gone after the next download."""
    home = tmp_path / "home"
    assert fetch(hub, home).returncode == 0
    blob = (snapshot(home) / "model.safetensors").resolve()
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    done = fetch(hub, home)
    assert done.returncode == 3
    assert "digest" in done.stderr
    assert fetch(hub, home).returncode == 0


@pytest.mark.slow
def test_a_moved_revision_gives_the_new_commit(hub: loopback.Hub, tmp_path: Path) -> None:
    """When main moves, the new commit is pinned and named; the old one stays."""
    home = tmp_path / "home"
    assert fetch(hub, home).returncode == 0
    hub.commit = "b" * 40
    done = fetch(hub, home, "--json")
    assert done.returncode == 0, done.stderr
    assert "b" * 40 in done.stdout
    assert snapshot(home).is_dir()


@pytest.mark.slow
def test_offline_mode_blocks_with_the_way_out(hub: loopback.Hub, tmp_path: Path) -> None:
    """With HF_HUB_OFFLINE set nothing is fetched, and the message says so."""
    done = fetch(hub, tmp_path / "home", HF_HUB_OFFLINE="1")
    assert done.returncode == 3
    assert "HF_HUB_OFFLINE" in done.stderr
    assert hub.requests == []


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [(), ("--revision", "main"), ("--revision", loopback.COMMIT)])
def test_what_was_downloaded_is_found_by_its_name(
    hub: loopback.Hub, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """`--model owner/name` loads it, offline, though the download was pinned to a commit."""
    assert fetch(hub, tmp_path / "home", *arguments).returncode == 0
    hub.shutdown()
    named = "@".join((loopback.REPO, *arguments[1:]))
    done = run(hub, tmp_path / "home", "load", "--model", named, "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["revision"], facts["parameters"]) == (loopback.COMMIT, 919_680)
