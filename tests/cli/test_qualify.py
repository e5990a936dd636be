"""`qualify` as a person types it, in folders that hold nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from mlx_preflight.models.catalog import EMBEDDED_FOLDER, EMBEDDED_ROWS
from tests.training import rows_of

TRAINER = Path(sys.executable).parent / "mlx_lm.lora"

SETTINGS: dict[str, Any] = {
    "model": str(EMBEDDED_FOLDER),
    "data": "data",
    "train": True,
    "iters": 3,
    "batch_size": 2,
    "num_layers": 2,
    "max_seq_length": 128,
    "steps_per_eval": 2,
    "val_batches": 1,
}


def qualify(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "mlx_preflight", "qualify", *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


def write(folder: Path, **changes: Any) -> Path:
    """Write rows and a config, None removing a setting."""
    rows_of.folder(folder / "data", {"train": rows_of.chats(8), "valid": rows_of.chats(4, seed=1)})
    settings = {key: value for key, value in {**SETTINGS, **changes}.items() if value is not None}
    (folder / "x.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return folder


BESIDE = "RUN2.2"
"""It fails while other processes use MLX, as those of tests that run side by side."""


def reasons(document: dict[str, Any]) -> dict[str, str]:
    """Return check id → reason of what did not pass, less what another test may cause."""
    found = {row["id"]: row["reason"] for row in document["report"]["findings"]}
    assert document["go"] is not bool(found)
    return {name: reason for name, reason in found.items() if name != BESIDE}


def assert_go(done: subprocess.CompletedProcess[str], command: str) -> None:
    """Check the screen of a run in which nothing is wrong but other processes."""
    screen = " ".join(done.stdout.split())
    alone = BESIDE not in screen
    assert done.returncode == (0 if alone else 1), done.stdout + done.stderr
    assert screen.startswith("GO" if alone else "NO-GO")
    assert alone or "1 FAIL)" in screen
    assert f"{'start it with' if alone else 'judged:'} {command}" in screen


def test_an_empty_folder_gets_a_green_verdict_in_a_minute(tmp_path: Path) -> None:
    """The embedded model on embedded rows: go, with the command; and again, from the cache."""
    started = time.monotonic()
    done = qualify(tmp_path)
    assert time.monotonic() - started < 120  # (60 s on two cores that do nothing else)
    assert_go(done, f"mlx_lm.lora --model {EMBEDDED_FOLDER} --data {EMBEDDED_ROWS}")
    kept = sorted((tmp_path / ".preflight" / "cache" / "rows").iterdir())
    before = [path.stat().st_mtime_ns for path in kept]
    assert kept
    assert not reasons(json.loads(qualify(tmp_path, "--json").stdout))
    assert [path.stat().st_mtime_ns for path in kept] == before


@pytest.mark.slow
def test_a_config_an_option_and_a_command_are_the_same_run(tmp_path: Path) -> None:
    """Three ways to say it; the command is one that can be typed."""
    write(tmp_path)
    ways = (
        ("x.yaml",),
        ("--", "mlx_lm.lora", "-c", "x.yaml", "--train"),
        (
            *("--model", "embedded", "--data", "data", "--iters", "5"),
            *("--batch-size", "2", "--num-layers", "-1"),
        ),
    )
    for way in ways:
        options = () if "--" in way else ("--json",)
        done = qualify(tmp_path, *options, *way)
        if options:
            document = json.loads(done.stdout)
            assert document["command"].startswith("mlx_lm.lora ")
            assert not reasons(document)
        else:
            assert_go(done, "mlx_lm.lora -c x.yaml --train")


@pytest.mark.slow
def test_a_fault_is_no_go(tmp_path: Path) -> None:
    """A key that nothing reads, and rows without a batch: exit 1, each with its remedy."""
    write(tmp_path, batch_size=6, lora_layers=4)
    done = qualify(tmp_path, "x.yaml")
    assert done.returncode == 1
    assert done.stdout.startswith("NO-GO")
    assert "lora_layers" in done.stdout
    assert "num_layers" in done.stdout
    assert "start it with" not in done.stdout
    found = json.loads(qualify(tmp_path, "--json", "x.yaml").stdout)
    assert found["go"] is False
    assert {"RUN1.2", "RUN4.3"} <= set(reasons(found))


@pytest.mark.slow
def test_a_small_budget_is_no_go(tmp_path: Path) -> None:
    """What is asked is the least limit."""
    write(tmp_path)
    done = qualify(tmp_path, "--budget-gb", "0.001", "--json", "x.yaml")
    assert done.returncode == 1
    # (and a run that pages gets no hours)
    assert set(reasons(json.loads(done.stdout))) == {"RUN5.3", "RUN7.1"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--mdoel", "embedded"), "--mdoel"),
        (("--iters", "many"), "many"),
        (("--budget-gb", "0"), "budget 0.0 GB"),
        (("--budget-gb", "nan"), "budget nan GB"),
    ],
)
def test_what_no_command_understands_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    """Usage is exit 2 with one message, never a traceback."""
    done = qualify(tmp_path, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("text", ["- a list", "model: [", "a: !!python/object:os.system {}", None])
def test_a_config_that_cannot_be_read_is_no_go(tmp_path: Path, text: str | None) -> None:
    """Each check says so, and none passes; an absent file likewise."""
    if text is not None:
        (tmp_path / "x.yaml").write_text(text, encoding="utf-8")
    done = qualify(tmp_path, "--json", "x.yaml")
    assert done.returncode in {1, 2}, done.stdout + done.stderr
    assert "x.yaml" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_absent_weights_are_blocked_with_the_download(tmp_path: Path) -> None:
    """The architecture is built in, so adapters are counted; nothing is fetched."""
    write(tmp_path, model="Qwen/Qwen2.5-Coder-7B-Instruct", num_layers=16)
    hub = {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HOME": str(tmp_path / "home")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in hub.items():
            patch.setenv(name, value)
        done = qualify(tmp_path, "--json", "x.yaml")
    assert done.returncode == 3, done.stdout + done.stderr
    document = json.loads(done.stdout)
    blocked = {row["id"]: row for row in document["report"]["findings"]}
    assert "RUN1.6" not in blocked
    assert "RUN3.1" in blocked
    assert blocked["RUN3.1"]["status"] == "BLOCKED"
    assert "download Qwen/Qwen2.5-Coder-7B-Instruct" in blocked["RUN3.1"]["remedy"]


@pytest.mark.slow
def test_ctrl_c_ends_it_and_its_children(tmp_path: Path) -> None:
    """SIGINT to the process group while rows are read: 130, nothing lives on."""
    write(tmp_path)
    rows_of.folder(tmp_path / "data", {"train": rows_of.chats(60_000)})
    command = [sys.executable, "-m", "mlx_preflight", "qualify", "x.yaml", "--json"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        text=True,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        try:
            started = wait_for(psutil.Process(child.pid), "training_data")
        finally:
            os.killpg(child.pid, signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "Traceback" not in err
    assert err.endswith("interrupted; the results written so far are kept\n")
    assert json.loads(out)["exit_code"] == 130
    _, alive = psutil.wait_procs(started, timeout=10)
    assert not alive


def wait_for(parent: psutil.Process, words: str) -> list[psutil.Process]:
    """The children of a process as soon as one of them has words in its command line."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        # A child of an earlier question may end between being listed and being asked.
        with contextlib.suppress(psutil.NoSuchProcess):
            children = parent.children(recursive=True)
            if any(words in line for line in map(command_line, children)):
                return children
        assert parent.is_running(), "it ended before"
        time.sleep(0.1)
    raise AssertionError(f"no child with {words}")


def command_line(process: psutil.Process) -> str:
    """Its words; empty of one that has ended (a zombie counts as ended)."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def train(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Start the printed command with the trainer of this environment."""
    program, *arguments = shlex.split(command)
    assert program == "mlx_lm.lora"
    return subprocess.run(
        [str(TRAINER), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fine_tune_type": "full", "num_layers": 0, "optimizer": "adamw", "batch_size": 1},
        {"grad_checkpoint": True, "mask_prompt": True, "grad_accumulation_steps": 3},
    ],
)
def test_what_gets_a_go_trains(tmp_path: Path, changes: dict[str, Any]) -> None:
    """The printed command, as it is, ends well and writes its adapters."""
    write(tmp_path, **changes)
    document = json.loads(qualify(tmp_path, "--json", "x.yaml").stdout)
    assert not reasons(document)
    done = train(tmp_path, document["command"])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "adapters" / "adapters.safetensors").is_file()
    losses = re.findall(r"(?:Train|Val) loss:? ([\d.]+|nan)", done.stdout, re.IGNORECASE)
    assert "nan" not in losses


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "check", "announced", "ends"),
    [
        ({"lora_parameters": {"rank": 8, "dropout": 0.0}}, "RUN1.3", "scale", "KeyError"),
        ({"num_layers": 5}, "RUN1.6", "num_layers", "ValueError"),
        ({"steps_per_eval": 0}, "RUN1.3", "steps_per_eval", "ZeroDivisionError"),
        ({"batch_size": 5}, "RUN4.3", "ValueError", "ValueError"),
        (
            {"lora_parameters": {"rank": 8, "scale": 1.0, "dropout": 0.0, "keys": ["q_proj"]}},
            "RUN1.6",
            "",
            "",
        ),
    ],
)
def test_what_gets_a_no_go_does_not_train(
    tmp_path: Path, changes: dict[str, Any], check: str, announced: str, ends: str
) -> None:
    """The exception that is announced, or a run that trains nothing, is what really happens."""
    write(tmp_path, **changes)
    document = json.loads(qualify(tmp_path, "--json", "x.yaml").stdout)
    assert document["go"] is False
    assert announced in reasons(document)[check]
    done = train(tmp_path, document["command"])
    if ends:
        assert done.returncode != 0
        assert ends in done.stderr
    else:
        assert "Trainable parameters: 0.000%" in done.stdout


@pytest.mark.slow
def test_nothing_is_left_in_the_folder_but_the_state(tmp_path: Path) -> None:
    """No adapters, no model, no log: nothing is trained."""
    write(tmp_path)
    assert not reasons(json.loads(qualify(tmp_path, "--json", "x.yaml").stdout))
    assert {path.name for path in tmp_path.iterdir()} == {"data", "x.yaml", ".preflight"}
    shutil.rmtree(tmp_path / ".preflight")
