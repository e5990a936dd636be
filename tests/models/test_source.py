"""The model that a command names: what is no model is told what it is."""

from __future__ import annotations

import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mlx_preflight.core.errors import UsageError
from mlx_preflight.models import source


def test_a_training_file_is_told_from_a_model(tmp_path: Path) -> None:
    """It was read as a damaged config.json, with the advice to download it again."""
    file = tmp_path / "lora_config.yaml"
    file.write_text("model: x\n")
    with pytest.raises(UsageError, match="a training's YAML, and no model") as caught:
        source.find(str(file))
    assert f"qualify {file}" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("qwen3-4", "did you mean 'qwen3-4b'"),
        ("qwen2.5-coder-7", "did you mean 'qwen2.5-coder-7b'"),
        ("qwen25-coder-7b", "did you mean 'qwen2.5-coder-7b'"),
        ("qwen3.5-4b", "no qwen3.5 is built in, of its family qwen2.5-coder-0.5b"),
        ("mistal-7b", "did you mean 'mistral-7b'"),
    ],
)
def test_the_nearest_name_is_of_the_same_generation(name: str, part: str) -> None:
    """A model one letter away may be another one."""
    with pytest.raises(UsageError) as caught:
        source.find(name)
    assert part in str(caught.value)


@pytest.mark.slow
def test_a_hub_that_does_not_answer_is_asked_once(tmp_path: Path) -> None:
    """The client would ask six times, for 40 s."""
    asked: list[object] = []

    class Dead(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            asked.append(self.client_address)

    with socketserver.TCPServer(("127.0.0.1", 0), Dead) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{hub.server_address[1]}"
        env = {"HF_ENDPOINT": place, "HF_HOME": str(tmp_path), "PATH": "", "NO_PROXY": "*"}
        text = "from mlx_preflight.models import source; source.find('owner/name')"
        done = subprocess.run(
            [sys.executable, "-c", text], env=env, capture_output=True, text=True, check=False
        )
        hub.shutdown()
    assert "BlockedError" in done.stderr
    assert 0 < len(asked) < 4
