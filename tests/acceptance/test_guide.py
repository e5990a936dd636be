"""The installation guide, typed line by line on a copy of the project in a clean venv."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_preflight.criteria import guide
from mlx_preflight.criteria.markdown.commands import in_block
from mlx_preflight.criteria.markdown.document import read_document

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

LEFT_OUT = {
    "sudo apt-get install libopenblas0-pthread",
    "export LD_PRELOAD=/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblas.so.0",
    "python3 -m pip install -e '.[cuda]'",
    "mlx-preflight download Qwen/Qwen2.5-Coder-7B-Instruct",
    (
        "mlx_lm.convert --hf-path Qwen/Qwen2.5-Coder-7B-Instruct --mlx-path "
        "./qwen2.5-coder-7b-4bit -q --q-bits 4 --q-group-size 64"
    ),
    "mlx-preflight load --model ./qwen2.5-coder-7b-4bit",
    "python3 -m pip install nox uv",
    "python3 -m nox -- --model ./qwen2.5-coder-7b-4bit",
    "curl -I https://huggingface.co/Qwen/Qwen2.5-Coder-7B-Instruct",
    (
        "mlx_lm.lora --model ./qwen2.5-coder-7b-4bit --train --data ./data --batch-size 1 "
        "--num-layers 4 --max-seq-length 1024 --grad-checkpoint"
    ),
}
"""Commands that want root, a GPU, 15 GB from the network, or the 7B model."""

PRINTS = {
    "python3 -m pip check": "No broken requirements found",
    "import mlx_lm": "MLX-LM version: 0.32",
    "import mlx.core": "MLX version: 0.32",
    "mlx-preflight check ac3-installation": "AC3.7",
    "mlx-preflight load": "Model loaded successfully",
    "load_model_test.py": "Model loaded successfully",
    "inference_test.py": "tokens",
    "memory_profile.py": "Headroom",
    "mlx-preflight generate": "tokens",
}
"""What the guide says that a command prints, by a part of the command."""


def blocks(*infos: str) -> list[str]:
    """Return the distinct commands of the guide's blocks that are marked in one of these ways."""
    document = read_document(ROOT / guide.PATH)
    found = [
        command
        for section in document.root.walk()
        for code in section.codes
        if code.info in infos
        for command in in_block(code)
    ]
    return list(dict.fromkeys(found))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project without anything that was built."""
    folder = tmp_path_factory.mktemp("guide") / "project"
    kept = ("src", "scripts", "docs", "pyproject.toml", "noxfile.py", "README.md", "LICENSE")
    for name in kept:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def test_every_block_is_run_or_left_out_for_a_reason() -> None:
    """No command of the guide escapes the test below unnoticed."""
    document = read_document(ROOT / guide.PATH)
    infos = {code.info for section in document.root.walk() for code in section.codes}
    assert infos == {"bash", "bash uv", "bash macos", "bash manual", "bash linux manual"}
    assert set(blocks("bash manual", "bash linux manual")) == LEFT_OUT


def test_every_command_of_the_guide_works_in_a_clean_venv(project: Path) -> None:
    """Typed in order into one shell, each command succeeds and prints what the guide says."""
    commands = blocks("bash", "bash macos" if sys.platform == "darwin" else "bash linux")
    if shutil.which("uv"):
        # The guide's quick way first: pip then finds everything installed and only confirms it.
        commands = blocks("bash uv") + [line for line in commands if "activate" not in line]
    outputs = _type(commands, project)
    for command, (code, output) in outputs.items():
        # A check of the plan that is BLOCKED makes `check` exit 3; its rows are looked at below.
        allowed = (0, 3) if "check ac3" in command else (0,)
        assert code in allowed, f"{command}: exit {code}\n{output[-2000:]}"
        for part, text in PRINTS.items():
            if part in command:
                assert text in output, f"{command}: {text!r} is not in\n{output[-2000:]}"
    assert all(any(part in command for command in outputs) for part in PRINTS)
    rows = outputs["mlx-preflight check ac3-installation"][1].splitlines()
    for row in ("AC3.1", "AC3.2", "AC3.3", "AC3.4", "AC3.5", "AC3.7"):
        assert any(row in line and "PASS" in line for line in rows), rows


def _type(commands: list[str], folder: Path) -> dict[str, tuple[int, str]]:
    """Type commands into one shell and return each one's exit code and output."""
    logs = folder.parent / "logs"
    logs.mkdir()
    script = "".join(
        f"{command} > {logs}/{n}.out 2>&1; echo $? $SECONDS > {logs}/{n}.code\n"
        for n, command in enumerate(commands)
    )
    kept = ("HOME", "LANG", "TMPDIR", "UV_CACHE_DIR", "XDG_CACHE_HOME", "SSL_CERT_FILE")
    prefixes = ("PIP_", "UV_", "HTTP", "http", "REQUESTS_")
    environment = {k: v for k, v in os.environ.items() if k in kept or k.startswith(prefixes)}
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    # Plain output of a known width, so that a row of a table stays one line.
    environment |= {"COLUMNS": "200", "NO_COLOR": "1"}
    subprocess.run(["bash", "-c", script], cwd=folder, env=environment, timeout=500, check=False)
    outputs = {}
    for n, command in enumerate(commands):
        code, seconds = (logs / f"{n}.code").read_text().split()
        print(f"{command}: exit {code} after {seconds} s")
        outputs[command] = (int(code), (logs / f"{n}.out").read_text())
    return outputs
