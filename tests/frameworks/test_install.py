"""Installing into a venv: what is counted, what is refused, and how it fails."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_preflight.core.errors import ChildError, UsageError
from mlx_preflight.frameworks import framework, install

NULL = framework.find("null").FRAMEWORK
SITE = Path("lib", "python3.11", "site-packages")


def venv(folder: Path, *packages: str) -> Path:
    """Write a folder that looks like a venv with these packages; return its interpreter."""
    for name in packages:
        (folder / SITE / f"{name}.dist-info").mkdir(parents=True)
    (folder / "bin").mkdir(parents=True)
    return folder / "bin" / "python"


def test_what_is_there_is_counted_without_pip(tmp_path: Path) -> None:
    """Names are normalised, seeds left out, links and folders weigh nothing."""
    venv(tmp_path, "mlx_lm-0.32.2", "pip-26.3", "numpy-2.4.6")
    (tmp_path / SITE / "a.py").write_bytes(b"x" * 1000)
    (tmp_path / SITE / "b.py").symlink_to("a.py")
    assert install.packages(tmp_path) == {"mlx-lm": "0.32.2", "numpy": "2.4.6"}
    assert install.size_bytes(tmp_path) == 1000


def test_a_finished_installation_is_not_repeated(tmp_path: Path) -> None:
    """The stamp's figures are those of the first time; another requirement voids them."""
    python = venv(tmp_path)
    asked = dataclasses.replace(NULL, requirements=())
    first = install.install(asked, python, 10, lambda _: None)
    assert first.packages == {}
    stamp = tmp_path / install.STAMP
    stamp.write_text(json.dumps(json.loads(stamp.read_text()) | {"install_s": 42.0}))
    said: list[str] = []
    assert install.install(asked, python, 10, said.append).install_s == 42.0
    assert said == ["null: installed already"]
    other = dataclasses.replace(NULL, requirements=(("absent",),))
    with pytest.raises(ChildError, match="cannot start"):
        install.install(other, python, 10, lambda _: None)
    stamp.write_text("{")
    assert install.install(asked, python, 10, lambda _: None).install_s != 42.0


def test_a_venv_that_something_else_filled_is_left_alone(tmp_path: Path) -> None:
    """Emptying it would take a user's packages away."""
    python = venv(tmp_path, "numpy-2.4.6")
    with pytest.raises(UsageError, match="no comparison installed"):
        install.install(NULL, python, 10, lambda _: None)
    assert install.packages(tmp_path) == {"numpy": "2.4.6"}


def test_what_an_unfinished_installation_left_is_removed(tmp_path: Path) -> None:
    """Packages, half-unpacked folders and scripts go, so that the next one is whole."""
    python = venv(tmp_path, "pip-26.3")
    asked = dataclasses.replace(NULL, requirements=(("absent",),))
    for _ in range(2):
        with pytest.raises(ChildError, match="cannot start"):
            install.install(asked, python, 10, lambda _: None)
        there = {path.name for path in tmp_path.rglob("*")} - {install.BEGUN}
        assert there == {"bin", *SITE.parts, "pip-26.3.dist-info"}
        (tmp_path / SITE / "numpy-2.4.6.dist-info").mkdir()
        (tmp_path / SITE / "half").mkdir()
        (tmp_path / SITE / "half" / "file").write_bytes(b"x")
        (tmp_path / "bin" / "f2py").write_text("")


@pytest.mark.slow
def test_without_an_index_pip_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real pip, no index: the message has its last lines, and no stamp is left."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "v")], check=True)
    python = tmp_path / "v" / "bin" / "python"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    asked = dataclasses.replace(NULL, requirements=(("surely-not-there-1234==1.0",),))
    with pytest.raises(ChildError, match="No matching distribution found for surely-not-there"):
        install.install(asked, python, 120, lambda _: None)
    assert not (tmp_path / "v" / install.STAMP).exists()
    assert (tmp_path / "v" / install.BEGUN).exists()


@pytest.mark.slow
def test_an_index_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real pip says that no version was found, which is not why it failed."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "v")], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    asked = dataclasses.replace(NULL, requirements=(("surely-not-there-1234==1.0",),))
    with pytest.raises(ChildError, match=r"index cannot be reached: .*refused") as raised:
        install.install(asked, tmp_path / "v" / "bin" / "python", 120, lambda _: None)
    assert "surely-not-there-1234" in raised.value.log
    assert str(raised.value).endswith("refused")
