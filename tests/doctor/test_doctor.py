"""The doctor on real folders, a real loopback hub, and real limits."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import threading
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlx_preflight.core.result import CheckResult, Evidence, SessionResult, Status, write_result
from mlx_preflight.doctor import (
    DoctorTarget,
    Finding,
    Severity,
    answers,
    diagnose,
    download,
    memory,
)
from mlx_preflight.models.catalog import EMBEDDED_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "someone/some-model"

ENDOFTEXT = "<|endoftext|>"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, int]]:
    """Serve one status code on loopback as the hub; the test sets which."""
    code = {"status": 200}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code["status"])
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    yield code
    server.shutdown()
    server.server_close()


def hub_finding(found: list[Finding]) -> Finding:
    """Return what was said of the hub's answer."""
    return next(item for item in found if "127.0.0.1" in item.saw)


@pytest.mark.parametrize(
    ("status", "word"),
    [(401, "login"), (403, "ask"), (404, "spelling"), (429, "wait"), (500, "later")],
)
def test_each_refusal_of_the_hub_names_its_own_fix(
    hub: dict[str, int], status: int, word: str
) -> None:
    """401, 403, 404, 429 and 500 are five problems with five different fixes."""
    hub["status"] = status
    finding = hub_finding(download.check(MODEL, 2.0))
    assert finding.severity is Severity.PROBLEM
    assert word in finding.fix


def test_a_reachable_hub_and_an_absent_model_are_told_apart(hub: dict[str, int]) -> None:
    """The hub answers, the model is not cached, and the fix is the exact command."""
    found = download.check(MODEL, 2.0)
    assert hub_finding(found).severity is Severity.GOOD
    cached = next(item for item in found if "cache" in item.saw)
    assert cached.severity is Severity.PROBLEM
    assert cached.fix == f"mlx-preflight download {MODEL}"


@pytest.mark.parametrize(
    ("free", "severity", "word"),
    [(15_000_000_000, Severity.PROBLEM, "HF_HOME"), (99_000_000_000, Severity.GOOD, "")],
)
def test_the_disk_is_compared_with_the_models_own_size(
    hub: dict[str, int], monkeypatch: pytest.MonkeyPatch, free: int, severity: Severity, word: str
) -> None:
    """15.2 GB do not go on 15 GB; a model of unknown size is no reason to say that it fits."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=free))
    target = "Qwen/Qwen2.5-Coder-7B-Instruct"
    disk = next(item for item in download.check(target, 2.0) if "free at" in item.saw)
    assert (disk.severity, word in disk.fix) == (severity, True)
    assert "15.23 GB" in disk.why
    other = next(item for item in download.check(MODEL, 2.0) if "free at" in item.saw)
    assert other.severity is Severity.NOTE


@pytest.mark.parametrize("lost", ["model.safetensors", "tokenizer.json"])
def test_a_partial_snapshot_is_not_called_cached(
    hub: dict[str, int], tmp_path: Path, lost: str
) -> None:
    """The client returns it without an error; the checkpoint's own files tell."""
    cache = tmp_path / "hub" / f"models--{MODEL.replace('/', '--')}"
    folder = cache / "snapshots" / ("c" * 40)
    shutil.copytree(EMBEDDED_FOLDER, folder)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("c" * 40)
    assert download.check(MODEL, 2.0)[0].severity is Severity.GOOD
    (folder / lost).unlink()
    found = download.check(MODEL, 2.0)[0]
    assert found.severity is Severity.PROBLEM
    assert "only in part" in found.saw
    assert found.fix == f"mlx-preflight download {MODEL}"


def test_an_unreachable_hub_is_a_problem_not_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection is a finding, quickly."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert hub_finding(download.check(MODEL, 2.0)).severity is Severity.PROBLEM


def test_the_token_is_never_shown(hub: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A token in the environment is reported as present and printed nowhere."""
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecretsecret")
    found = download.check(MODEL, 2.0)
    assert any("token is present" in item.saw for item in found)
    assert "secretsecret" not in repr(found)


def broken(tmp_path: Path) -> Path:
    """Return a copy of the embedded checkpoint to break."""
    folder = tmp_path / "model"
    shutil.copytree(EMBEDDED_FOLDER, folder)
    return folder


def problems(folder: Path) -> str:
    """Return what the examination of the answers calls a problem."""
    found = answers.check(str(folder))
    return " ".join(item.saw for item in found if item.severity is Severity.PROBLEM)


def test_the_embedded_model_has_no_cause_of_gibberish() -> None:
    """Nothing in the shipped checkpoint is called a problem."""
    assert not [f for f in answers.check("embedded") if f.severity is not Severity.GOOD]


def test_a_missing_template_is_named(tmp_path: Path) -> None:
    """A checkpoint without a chat template is told to be a base model."""
    folder = broken(tmp_path)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config.pop("chat_template", None)
    path.write_text(json.dumps(config))
    for extra in folder.glob("chat_template*"):
        extra.unlink()
    assert "no chat template" in problems(folder)


def test_what_is_unusual_and_right_is_no_problem(tmp_path: Path) -> None:
    """Two stop tokens, of which mlx-lm knows both: good, and said."""
    folder = broken(tmp_path)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    other = next(iter(tokenizer["model"]["vocab"]))
    path.write_text(json.dumps({**config, "eos_token": other}))
    found = {item.saw: item for item in answers.check(str(folder))}
    fits = found["the tokenizer fits the embedding"]
    assert fits.severity is Severity.GOOD
    assert fits.why.startswith("Noted: eos_token_id is")


def rewrite(path: Path, **changes: object) -> None:
    """Change fields of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.slow
def test_a_template_that_cannot_render_is_named(tmp_path: Path) -> None:
    """Its presence asks nothing: a child renders it as mlx_lm does."""
    folder = broken(tmp_path)
    rewrite(folder / "tokenizer_config.json", chat_template="{{ messages[0].no.such }}")
    assert "the chat template fails" in problems(folder)


@pytest.mark.slow
def test_an_end_of_a_turn_that_stops_nothing_is_named(tmp_path: Path) -> None:
    """Every answer would run to the limit."""
    folder = broken(tmp_path)
    tokens = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    other = next(token["id"] for token in tokens if token["content"] == ENDOFTEXT)
    for name in ("config.json", "generation_config.json"):
        rewrite(folder / name, eos_token_id=other)
    rewrite(folder / "tokenizer_config.json", eos_token=ENDOFTEXT)
    assert "the chat template ends an answer with '<|im_end|>'" in problems(folder)


@pytest.mark.slow
def test_a_processors_template_is_none(tmp_path: Path) -> None:
    """No tokenizer reads chat_template.json."""
    folder = broken(tmp_path)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    template = config.pop("chat_template", "x")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    for extra in folder.glob("chat_template*"):
        extra.unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    assert "no chat template" in problems(folder)


@pytest.mark.slow
def test_weights_of_zeros_and_code_are_named(tmp_path: Path) -> None:
    """Neither is a NaN, and neither answers."""
    folder = broken(tmp_path)
    path = folder / "model.safetensors"
    raw = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(raw[:8], "little")
    path.write_bytes(raw[:start] + bytes(len(raw) - start))
    rewrite(folder / "config.json", model_file="custom.py")
    said = problems(folder)
    assert "hold only zeros" in said
    assert "asks for code of the folder: 'custom.py'" in said


@pytest.mark.slow
def test_a_missing_generation_config_is_said_in_words(tmp_path: Path) -> None:
    """Greedy sampling is its meaning, and no error of the system."""
    folder = broken(tmp_path)
    (folder / "generation_config.json").unlink()
    found = next(item for item in answers.check(str(folder)) if "generation_config" in item.saw)
    assert found.saw == "there is no generation_config.json: sampling is greedy"
    assert found.severity is Severity.GOOD


@pytest.mark.slow
def test_a_folders_name_commands_no_terminal(tmp_path: Path) -> None:
    """Line breaks, escapes and marks that turn text around stay out of every finding."""
    folder = tmp_path / "a\nFAKE \x1b[31m\u202e"
    shutil.copytree(EMBEDDED_FOLDER, folder)
    said = "".join(f.saw for f in diagnose(DoctorTarget(str(folder), 10**9, tmp_path)))
    assert "FAKE" in said
    assert not {"\n", "\x1b", "\u202e"} & set(said)


def test_hot_sampling_is_named(tmp_path: Path) -> None:
    """A generation config that asks for temperature 2 is a problem."""
    folder = broken(tmp_path)
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "temperature": 2.0}))
    assert "temperature 2" in problems(folder)


def test_truncated_weights_are_named(tmp_path: Path) -> None:
    """A cut weights file is a problem with the file's name."""
    folder = broken(tmp_path)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "model.safetensors" in problems(folder)


@pytest.mark.parametrize(
    ("status", "severity"),
    [
        (Status.PASS, Severity.GOOD),
        (Status.FAIL, Severity.PROBLEM),
        (Status.BLOCKED, Severity.UNKNOWN),
    ],
)
def test_the_last_memory_measurement_is_read(
    tmp_path: Path, status: Status, severity: Severity
) -> None:
    """AC6.7 of the last run decides; a blocked one is unknown, never good."""
    check = CheckResult("AC6.7", "within", status, Evidence.EMBEDDED, "0.1 GB of 16 GB")
    result = SessionResult("ac6-memory", "AC6", (check,), "r", "2026-01-01", 1.0, "embedded")
    write_result(tmp_path / "results", result)
    assert memory.check(10**9, tmp_path)[1].severity is severity


def test_no_measurement_is_unknown(tmp_path: Path) -> None:
    """Without AC6's result the doctor says that it does not know."""
    assert memory.check(10**9, tmp_path)[1].severity is Severity.UNKNOWN


def test_a_budget_over_the_machine_is_a_problem(tmp_path: Path) -> None:
    """A petabyte does not fit."""
    assert memory.check(10**15, tmp_path)[0].severity is Severity.PROBLEM


@pytest.mark.slow
def test_a_low_limit_of_open_files_is_a_problem() -> None:
    """A process whose hard limit is 1024 is told so (limits only ever go down)."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (512, 1024));"
        "from mlx_preflight.doctor import stack;"
        "print([f.saw for f in stack.check() if f.severity == 'problem'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "limit of open files is 1024" in done.stdout
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] != 1024


@pytest.mark.slow
def test_the_whole_diagnosis_covers_every_topic(tmp_path: Path) -> None:
    """All five topics are in the diagnosis, problems first, each non-good one with a fix."""
    found = diagnose(DoctorTarget("embedded", 16 * 10**9, tmp_path))
    assert {item.topic for item in found} == {"download", "memory", "import", "answers", "machine"}
    assert all(item.fix for item in found if item.severity is not Severity.GOOD)
    assert found[-1].severity is Severity.GOOD
