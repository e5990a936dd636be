"""The harness on the null framework: what it records, and how a failure ends."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.json_file import write_json
from mlx_preflight.core.result import Status
from mlx_preflight.frameworks import __main__ as command
from mlx_preflight.frameworks import framework, install, measure, recipe, record

STEPS = 6
NULL = framework.find("null")


def order(folder: Path, **changes: Any) -> measure.BenchOptions:
    """Return an order for this interpreter, with nothing to install."""
    known: dict[str, Any] = {
        "python": Path(sys.executable),
        "folder": folder / "work",
        "timeout_s": 60.0,
        "installing": False,
        "steps": STEPS,
    }
    return measure.BenchOptions(**known | changes)


@pytest.fixture(scope="module")
def measured(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[record.FrameworkRecord, list[str], Path]:
    """Return the null framework's record, what was said meanwhile, and the folder."""
    folder = tmp_path_factory.mktemp("null")
    said: list[str] = []
    return measure.measure(NULL, order(folder), said.append), said, folder


@pytest.mark.slow
def test_every_figure_is_there(measured: tuple[record.FrameworkRecord, list[str], Path]) -> None:
    """Steps, speed, memory, import, adapter and the 4-bit error of a framework that trains."""
    found, said, _ = measured
    assert (found.status, found.framework) == (Status.PASS, "null"), found.reason
    figures = found.figures
    assert len(figures["import_s"]) == measure.IMPORTS
    assert measure.RUNS <= len(figures["train"]) <= measure.MOST_RUNS
    for run in figures["train"]:
        assert len(run["loss"]) == len(run["at_s"]) == STEPS
        assert run["at_s"] == sorted(run["at_s"])
        assert run["first_step_s"] == pytest.approx(run["at_s"][0], abs=1e-3)
        assert run["tokens_per_s"] > 0 < run["peak_rss_bytes"]
    assert figures["adapter"]["changed"] == figures["adapter"]["questions"] == measure.QUESTIONS
    assert figures["adapter"]["scale"] == 20.0
    assert figures["qlora"]["runs"] is False
    assert "NotImplementedError: four bits of nothing" in figures["qlora"]["error"]
    assert [line for line in said if line.startswith("null: run 1")]


@pytest.mark.slow
def test_it_trained_with_exactly_the_exported_file(
    measured: tuple[record.FrameworkRecord, list[str], Path],
) -> None:
    """The file in the working folder is what `export` writes."""
    file = measured[2] / "work" / "run 1" / "null.yaml"
    assert file.read_text() == recipe.text(NULL, recipe.embedded(steps=STEPS))


def test_a_child_sees_this_package_and_no_other_of_its_folder(
    measured: tuple[record.FrameworkRecord, list[str], Path],
) -> None:
    """The path that children get holds one name."""
    names = [path.name for path in (measured[2] / "work" / "path").iterdir()]
    assert names == ["mlx_preflight"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [
        ("nan", "FloatingPointError: the loss of step 2 is nan"),
        ("changed", "No such option: --launcher"),
        ("hang", "did not end within 2 s and was killed"),
    ],
)
def test_a_training_that_goes_wrong_is_an_error_with_its_cause(
    tmp_path: Path, behaviour: str, cause: str
) -> None:
    """NaN, a command that changed and a hang: the phase, the cause, and what was found before."""
    told = order(tmp_path, extra={"behaviour": behaviour}, timeout_s=2.0)
    found = measure.measure(NULL, told, lambda _: None)
    assert found.status is Status.ERROR
    assert found.reason.startswith("train: ")
    assert cause in found.reason
    assert "import_s" in found.figures
    assert "train" not in found.figures
    assert found.log or behaviour == "hang"


def test_an_interpreter_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A venv that somebody deleted."""
    gone = order(tmp_path, python=tmp_path / "venv" / "bin" / "python")
    found = measure.measure(NULL, gone, lambda _: None)
    assert (found.status, "cannot start" in found.reason) == (Status.ERROR, True)


def wheel(folder: Path) -> None:
    """Write a package of one line that pip can install."""
    about = "thing-1.0.dist-info"
    files = {
        "thing.py": "",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record_file = "".join(f"{name},,\n" for name in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(folder / "thing-1.0-py3-none-any.whl", "w") as archive:
        for name, text in {**files, f"{about}/RECORD": record_file}.items():
            archive.writestr(name, text)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is full")
def test_a_disk_that_is_full_during_an_installation_stops_that_framework_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real pip on a full device: ERROR with the cause, no stamp, and the next try begins anew."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "v")], check=True)
    wheel(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    plugin: Any = SimpleNamespace(**vars(NULL))
    plugin.FRAMEWORK = dataclasses.replace(NULL.FRAMEWORK, requirements=(("thing==1.0",),))
    told = order(tmp_path, python=tmp_path / "v" / "bin" / "python", installing=True)
    with monkeypatch.context() as full:
        full.setenv("PIP_REPORT", "/dev/full")
        found = measure.measure(plugin, told, lambda _: None)
    assert found.status is Status.ERROR
    assert found.reason.startswith("install: pip install failed: ERROR: ")
    assert "No space left on device" in found.reason
    assert "No space left on device" in "\n".join(found.log)
    assert found.figures == {}
    assert not (tmp_path / "v" / install.STAMP).exists()
    site = next((tmp_path / "v").glob("lib/python3.*/site-packages"))
    (site / "half").mkdir()
    (site / "half" / "unpacked.bin").write_bytes(b"x" * 1_000_000)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path / "cache"))
    again = measure.measure(plugin, told, lambda _: None)
    assert again.status is Status.PASS, again.reason
    assert again.figures["install"]["packages"] == {"thing": "1.0"}
    assert not (site / "half").exists()
    assert (site / "pip").is_dir()
    # Compiled code counts wherever the caller keeps that of others.
    assert list((site / "__pycache__").glob("thing.*.pyc"))


def test_too_few_steps_give_no_speed() -> None:
    """A median of nothing is an error, not zero."""
    with pytest.raises(ValueError, match="too few"):
        measure.seconds([1.0, 2.0, 3.0])
    assert measure.seconds([1, 2, 4, 7, 11, 16]) == [3, 4, 5]


def arguments(project: Path, *more: str) -> list[str]:
    """Return the command line for the null framework."""
    return ["null", "--python", sys.executable, "--project", str(project), "--no-install", *more]


@pytest.mark.slow
def test_a_finished_framework_is_not_measured_again_unless_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second call reads the record, the third measures, a changed input does, too."""
    state = tmp_path / ".preflight"
    whole = order(tmp_path, steps=20)
    fresh = record.FrameworkRecord(
        "null", Status.PASS, "x", measure.digest(NULL, whole), "2026-01-02", {}
    )
    record.write(state, fresh)
    assert command.main(arguments(tmp_path)) == 0
    assert "finished on 2026-01-02; --again" in capsys.readouterr().out
    assert record.read(state, "null") == fresh
    record.write(
        state, record.FrameworkRecord("null", Status.PASS, "x", "0" * 64, "2026-01-02", {})
    )
    assert command.main(arguments(tmp_path)) == 0
    again = record.read(state, "null")
    assert again is not None
    assert again.inputs == fresh.inputs
    assert again.date > fresh.date


def test_an_error_is_the_exit_code_and_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What failed leaves a record, exit code 3, and is measured anew by the next call."""
    broken = [*arguments(tmp_path), "--timeout-s", "0.01"]
    assert command.main(broken) == 3
    found = record.read(tmp_path / ".preflight", "null")
    assert found is not None
    assert found.status is Status.ERROR
    assert "null: ERROR: import: " in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "child", "code", "said"),
    [
        (signal.SIGINT, False, 130, 'null: interrupted; `nox -s "compare(null)"`'),
        (signal.SIGTERM, False, 130, "null: interrupted"),
        (signal.SIGKILL, True, 3, "null: ERROR: train: killed by SIGKILL: the system ran out"),
    ],
)
def test_a_signal_ends_a_measurement_in_one_line(
    tmp_path: Path, number: signal.Signals, child: bool, code: int, said: str
) -> None:
    """Ctrl-C, a terminating nox and a killed training: no traceback, and nothing lives on."""
    steps = tmp_path / ".preflight" / "artifacts" / "compare" / "null" / "run 1" / "steps.jsonl"
    program = (
        "import functools, sys; from mlx_preflight.frameworks import __main__ as m; "
        "hang = functools.partial(m.measure.BenchOptions, extra={'behaviour': 'hang'}); "
        "m.measure.BenchOptions = hang; "
        "sys.exit(m.main(sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not (steps.is_file() and steps.read_text()):
        assert process.poll() is None
        time.sleep(0.05)
    listed = subprocess.check_output(["ps", "-axo", "pid=,ppid="], text=True)
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    training = next(pid for pid, parent in pairs if parent == process.pid)
    os.kill(training if child else process.pid, number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == code, out
    assert said in out
    assert "Traceback" not in out
    with pytest.raises(ProcessLookupError):
        os.kill(training, 0)


def test_an_unknown_framework_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and the nearest name."""
    assert command.main(["axolot", "--python", sys.executable, "--project", str(tmp_path)]) == 2
    assert "'axolotl'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        json.dumps({"schema": 1}),
        json.dumps({"schema": 2}),
    ],
)
def test_a_damaged_record_is_an_error(tmp_path: Path, content: str) -> None:
    """What cannot be read is never taken for a measurement."""
    path = record.path(tmp_path, "null")
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(ResultError):
        record.read(tmp_path, "null")


def test_a_record_of_another_framework_is_an_error(tmp_path: Path) -> None:
    """A copied file does not count."""
    item = record.FrameworkRecord("mlx-lm", Status.PASS, "x", "0", "2026-01-02", {})
    record.write(tmp_path, item)
    write_json(
        record.path(tmp_path, "null"), json.loads(record.path(tmp_path, "mlx-lm").read_text())
    )
    with pytest.raises(ResultError, match="not a measurement of null"):
        record.read(tmp_path, "null")


@pytest.mark.slow
def test_mlx_lm_trains_reloads_and_quantizes(tmp_path: Path) -> None:
    """The reference end to end in this venv: losses fall, the adapter changes the answers."""
    plugin = framework.find("mlx-lm")
    found = measure.measure(plugin, order(tmp_path, timeout_s=400.0), lambda _: None)
    assert found.status is Status.PASS, found.reason
    figures = found.figures
    for run in figures["train"]:
        assert run["loss"][-1] < run["loss"][0]
        assert run["tokens_per_step"] == 254
        assert run["peak_rss_bytes"] > 50_000_000
    assert figures["train"][0]["loss"] == figures["train"][1]["loss"]
    batch = [value for row in figures["probe"]["losses"] for value in row]
    assert sum(batch) / len(batch) == pytest.approx(figures["train"][0]["loss"][0], rel=1e-3)
    assert figures["probe"]["padding_counted"] != figures["probe"]["padding_left_out"]
    assert figures["qlora"]["runs"] is True
    assert figures["adapter"]["scale"] == 20.0
