"""The command that somebody typed: its program, its launcher, and its arguments."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from mlx_preflight.core.errors import UsageError
from mlx_preflight.core.result import Status
from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from mlx_preflight.training.command import arguments_of, command_line, request_of
from mlx_preflight.training.training_run import read_run
from tests.training.conftest import Judge, Write, failed

MODEL = str(EMBEDDED_FOLDER)


def test_a_command_is_taken_as_typed() -> None:
    """Program and interpreter are left out; options alone mean a training."""
    asked = ("-c", "x.yaml", "--train", "--iters", "5")
    for typed in (
        ["mlx_lm.lora", *asked],
        ["mlx_lm", "lora", *asked],
        [".venv/bin/mlx_lm.lora", *asked],
        ["python3", "-m", "mlx_lm", "lora", *asked],
        ["/usr/bin/python3.12", "-m", "mlx_lm.lora", *asked],
    ):
        assert arguments_of(typed) == asked
    assert arguments_of(["x.yaml", "--iters", "5"]) == ("--config", "x.yaml", "--iters", "5")
    assert arguments_of(["--model", "m"]) == ("--model", "m", "--train")
    assert arguments_of(["--model", "m", "--test"]) == ("--model", "m", "--test")
    assert arguments_of(["--config=x.yaml"]) == ("--config=x.yaml",)
    assert arguments_of(["--model", "embedded"]) == ("--model", MODEL, "--train")


def test_another_program_is_no_config() -> None:
    """Its options would be blamed otherwise; a config that is not there is a finding, later."""
    with pytest.raises(UsageError, match=r"ls: a program, and neither mlx_lm\.lora"):
        arguments_of(["ls", "-l"])
    assert arguments_of(["absent"]) == ("--config", "absent")


def test_a_launcher_says_how_many_processes_there_are(tmp_path: Path) -> None:
    """As mlx.launch itself reads its options; a host elsewhere needs no memory here."""
    asked = ("-c", "x.yaml", "--train")
    run = request_of(["mlx.launch", "-n", "2", "mlx_lm.lora", *asked], None)
    assert run.arguments == asked
    assert run.launch == ("mlx.launch", "-n", "2", "mlx_lm.lora", *asked)
    hosts = [{"ssh": "localhost", "ips": ["127.0.0.1"]}, {"ssh": "mac2", "ips": ["10.0.0.2"]}]
    (tmp_path / "hosts.json").write_text(json.dumps(hosts))
    file = ["--hostfile", str(tmp_path / "hosts.json"), "--"]
    assert request_of(["bin/mlx.launch", *file, "mlx_lm.lora", *asked], 5).arguments == asked
    assert request_of(["mlx_lm.lora", *asked], 5).launch == ()


def test_options_name_the_processes_as_the_launcher_would(tmp_path: Path) -> None:
    """--ranks and --hostfile are short for its command; two ways at once are refused."""
    run = request_of(["x.yaml"], None, ranks=2)
    assert run.arguments == ("--config", "x.yaml")
    assert run.launch == ("mlx.launch", "-n", "2", "mlx_lm.lora", "--config", "x.yaml")
    hosts = tmp_path / "hosts.json"
    hosts.write_text(
        json.dumps([{"ssh": name, "ips": [name]} for name in ("127.0.0.1", "10.0.0.2")])
    )
    assert request_of(["x.yaml"], None, hostfile=hosts).launch[1:3] == ("--hostfile", str(hosts))
    for typed, ranks, file in (
        (["mlx.launch", "-n", "2", "mlx_lm.lora"], 2, None),
        (["x.yaml"], 2, hosts),
    ):
        with pytest.raises(UsageError, match="named twice"):
            request_of(typed, None, ranks=ranks, hostfile=file)
    with pytest.raises(UsageError, match="no such file"):
        request_of(["x.yaml"], None, hostfile=tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-n", "0", "mlx_lm.lora"], "invalid positive_number"),
        (["--hostfile", "absent.json", "mlx_lm.lora"], "absent.json doesn't exist"),
        (["--backend", "carrier-pigeon", "mlx_lm.lora"], "The backend should be one of"),
        (["-n", "2"], "No script is provided"),
    ],
)
def test_what_the_launcher_refuses_is_a_usage_error(words: list[str], said: str) -> None:
    """With its own words, and nothing is started."""
    with pytest.raises(UsageError, match=said):
        request_of(["mlx.launch", *words], None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "no host is named"),
        ("null", "no host is named"),
        ('{"hosts": []}', "no host is named"),
        ('{"hosts": [{"ssh": "localhost"}], "envs": 3}', "TypeError"),
        ("[1]", "Failed to parse hostfile"),
    ],
)
def test_a_file_without_hosts_is_a_usage_error(tmp_path: Path, text: str, said: str) -> None:
    """Which mlx.launch takes, to start nothing, or to end in a traceback."""
    file = tmp_path / "hosts.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=said):
        request_of(["x.yaml"], None, hostfile=file)


def test_a_folder_is_no_file_of_hosts(tmp_path: Path) -> None:
    """Said so; it is there, after all."""
    with pytest.raises(UsageError, match="not a file"):
        request_of(["x.yaml"], None, hostfile=tmp_path)


def test_the_help_of_the_launcher_starts_nothing() -> None:
    """It is no error of its own, and its last line would say nothing."""
    with pytest.raises(UsageError, match="no program is named"):
        request_of(["mlx.launch", "--help"], None)


def test_processes_share_batch_and_machine(write_run: Write, judge_run: Judge) -> None:
    """Two here: half of the rows each, twice the memory, and the printed command launches them."""
    context = write_run()
    typed = ("mlx.launch", "-n", "2", "mlx_lm.lora", "-c", "lora_config.yaml", "--batch-size", "4")
    both = dataclasses.replace(context, training=request_of(typed, None))
    assert (read_run(both).world, read_run(both).here) == (2, 2)
    assert not failed(judge_run(both, "run1-config"))
    memory = judge_run(both, "run5-memory")
    numbers = {m.name: m.value for c in memory.values() for m in c.measurements}
    assert numbers["needed_bytes"] == 2 * numbers["training_peak_high_bytes"]
    assert "2 processes on this machine" in memory["RUN5.3"].reason
    assert "2 x" in memory["RUN5.1"].reason
    assert command_line((), both).startswith("mlx.launch -n 2 mlx_lm.lora -c")
    odd = dataclasses.replace(context, training=request_of((*typed[:-1], "3"), None))
    assert not failed(judge_run(odd, "run1-config"))
    data = judge_run(odd, "run4-data")
    assert failed(data) == {"RUN4.5", "RUN4.12"}
    assert "must be divisible by the number of workers" in data["RUN4.12"].reason
    assert data["RUN4.5"].status is Status.BLOCKED
