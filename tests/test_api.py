"""The public API: what the page says, what a type checker sees, and what a command answers."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import mlx_preflight
from mlx_preflight.cli.app import app
from mlx_preflight.core.result import SessionResult, write_result
from mlx_preflight.memory import calibration
from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from mlx_preflight.run import manifest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "api.md"
SMALL: dict[str, Any] = {"batch_size": 1, "max_seq_length": 128, "num_layers": 4}


def python(code: str, folder: Path | None = None) -> str:
    """Run a program in a fresh interpreter that must end well, and return its output."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def command(*arguments: str) -> dict[str, Any]:
    """Return the document of a command."""
    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def document_of(answer: Any) -> Any:
    """Return what JSON makes of a frozen answer."""
    return json.loads(json.dumps(dataclasses.asdict(answer)))


def as_run(folder: Path, results: dict[str, SessionResult]) -> manifest.Manifest:
    """Write what nox leaves of a complete run, and return its plan."""
    first = next(iter(results.values()))
    plan = manifest.Manifest(
        first.run_id, "preflight", tuple(results), first.started, first.profile, first.profile
    )
    (folder / "pyproject.toml").touch()
    for item in results.values():
        write_result(folder / ".preflight" / "results", item)
    manifest.write(folder / ".preflight", plan)
    return plan


def test_importing_the_package_imports_nothing_else() -> None:
    """A noxfile imports it before anything is installed, and `--help` must stay fast."""
    code = "import sys\nbefore = {*sys.modules}\nimport mlx_preflight\n"
    loaded = python(code + "print(*sorted({*sys.modules} - before))").split()
    assert loaded == ["mlx_preflight"]


@pytest.mark.slow
def test_judging_needs_no_dependency() -> None:
    """A program that reads verdicts has neither mlx nor a terminal."""
    code = "import sys\nfrom mlx_preflight import judge, Manifest, SessionResult, Verdict\n"
    loaded = set(python(code + "print(*sys.modules)").split())
    assert loaded & {"mlx", "mlx.core", "mlx_lm", "numpy", "rich", "typer"} == set()


def test_every_name_is_there_and_no_other() -> None:
    """`__all__` is sorted, complete, and what the page has headings and rows for."""
    names = mlx_preflight.__all__
    assert names == sorted(names)
    assert all(getattr(mlx_preflight, name).__name__ == name for name in names)
    assert set(names) <= set(dir(mlx_preflight))
    text = PAGE.read_text(encoding="utf-8")
    shown = re.findall(r"^(?:### |\| )`(\w+)`", text.partition("## Functions")[2], re.MULTILINE)
    errors = [name for name in shown if name.endswith("Error")]
    headings = re.findall(r"^### `(\w+)`$", text, re.MULTILINE)
    assert {*headings, *errors} == set(names)
    name = "predicted"
    with pytest.raises(AttributeError, match="has no attribute 'predicted'"):
        getattr(mlx_preflight, name)


@pytest.mark.slow
def test_the_page_follows_from_the_docstrings() -> None:
    """It is up to date, and every argument and attribute has a meaning."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "document_api.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "|  |" not in PAGE.read_text(encoding="utf-8").partition("## Errors")[0]


@pytest.mark.slow
def test_the_examples_of_the_page_run(
    tmp_path: Path, make_run: Callable[..., dict[str, SessionResult]]
) -> None:
    """One after the other, beside a checkpoint and a run."""
    shutil.copytree(EMBEDDED_FOLDER, tmp_path / "my-model")
    as_run(tmp_path, make_run())
    blocks = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    said = python("\n".join(blocks), tmp_path)
    assert "ready_for_integrator []" in said
    assert "did you mean 'qwen2.5-coder-7b'" in said


@pytest.mark.parametrize("model", ["embedded", "qwen2.5-coder-7b", "llama-3.2-1b"])
def test_a_prediction_is_that_of_estimate(model: str) -> None:
    """Every figure, setting and warning; an option that changes nothing is named by both."""
    options = ("--batch-size=1", "--max-seq-length=256", "--num-layers=4", "--kv-bits=8")
    said = command("estimate", model, *options, "--backend=metal")
    found = mlx_preflight.predict(
        model, batch_size=1, max_seq_length=256, num_layers=4, kv_bits=8, backend="metal"
    )
    answer = document_of(found)
    del answer["timeline"], answer["seconds"], answer["costs"]
    (warning,) = answer.pop("warnings")
    assert said["warnings"] == [warning.replace("kv_bits", "--kv-bits").replace("add ", "add --")]
    assert answer == {name: said[name] for name in answer}
    assert found.evidence == said["evidence"] == "simulated"


@pytest.mark.parametrize(
    "model", ["embedded", pytest.param("llama-3.2-1b", marks=pytest.mark.slow)]
)
def test_a_search_is_that_of_fit(model: str) -> None:
    """The same settings in the same order, and the same that is kept."""
    options = (
        "--max-seq-length=512",
        "--num-layers=4",
        "--keep=rank,max-seq-length",
        "--backend=metal",
    )
    said = command("fit", model, *options, "--budget-gb=4")
    found = mlx_preflight.fit(
        model,
        budget_bytes=4 * 10**9,
        max_seq_length=512,
        num_layers=4,
        keep="rank, max-seq-length",
        backend="metal",
    )
    answers = [(item["settings"], item["given_up"], item["cost"]) for item in said["fits"]]
    ours = [document_of(item) for item in found.fits]
    assert answers == [(item["settings"], item["given_up"], item["cost"]) for item in ours]
    assert found.smallest.peak_high_bytes == said["smallest_bytes"]


@pytest.mark.slow
def test_a_measurement_is_that_of_measure() -> None:
    """The same run; the same peak but for the timing of its worker."""
    arguments = ("--batch-size=1", "--max-seq-length=128", "--num-layers=4", "--steps=2")
    said = command("measure", "embedded", *arguments)
    found = mlx_preflight.measure("embedded", **SMALL, steps=2)
    assert found.peak_bytes == pytest.approx(said["peak_bytes"], rel=0.05)
    assert document_of(found).keys() <= said.keys()


def test_a_report_names_what_load_refuses(tmp_path: Path) -> None:
    """A sound checkpoint has no problem; another is refused with the report's words."""
    assert mlx_preflight.load_checkpoint_report(EMBEDDED_FOLDER).problems == ()
    folder = tmp_path / "model"
    shutil.copytree(EMBEDDED_FOLDER, folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 48}), "utf-8")
    report = mlx_preflight.load_checkpoint_report(str(folder))
    assert report.problems
    done = CliRunner().invoke(app, ["load", "--model", str(folder)])
    assert str(done.exception) == f"{folder}: {report.summary()}"
    with pytest.raises(mlx_preflight.CheckpointError, match="does not exist"):
        mlx_preflight.load_checkpoint_report(tmp_path / "nowhere")


@pytest.mark.parametrize("missing", [(), ("ac6-memory",), ("gate1-format", "ac1-evaluation")])
def test_a_verdict_is_that_of_summary(
    tmp_path: Path, make_run: Callable[..., dict[str, SessionResult]], missing: tuple[str, ...]
) -> None:
    """State, exit code and every row; a session without a result is no pass."""
    results = make_run()
    plan = as_run(tmp_path, results)
    for name in missing:
        del results[name]
        (tmp_path / ".preflight" / "results" / f"{name}.json").unlink()
    verdict = mlx_preflight.judge(plan, results)
    said = command("summary", "--project", str(tmp_path))
    assert (verdict.state, verdict.exit_code) == (said["verdict"], said["exit_code"])
    assert (verdict.state == "ready_for_integrator") is not bool(missing)
    rows = [(row.check.id, row.check.status, row.check.reason) for row in verdict.rows]
    assert rows == [(row["id"], row["status"], row["reason"]) for row in said["rows"]]


def test_a_part_of_a_plan_is_no_plan(make_run: Callable[..., dict[str, SessionResult]]) -> None:
    """A shorter list would let a part pass for the whole, and an unknown group has no list."""
    plan = manifest.Manifest("run-1", "ac", ("ac1-evaluation",), "now", "embedded", "embedded")
    for wrong in (plan, dataclasses.replace(plan, group="al")):
        with pytest.raises(mlx_preflight.ResultError):
            mlx_preflight.judge(wrong, make_run())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"batchsize": 1}, "did you mean 'batch_size'"),
        ({"batch_size": "1"}, "batch_size is '1'; allowed: an integer"),
        ({"batch_size": True}, "batch_size is True; allowed: an integer"),
        ({"batch_size": 0}, "allowed: an integer of at least 1"),
        ({"kv_bits": 8.0}, "allowed: an integer or None"),
        ({"lora_keys": ("self_attn.q_proj",)}, "allowed: text or None"),
        ({"lora_keys": "self_attn.q_prj"}, "self_attn.q_proj"),
        ({"grad_checkpoint": 1}, "allowed: True or False"),
        ({"backend": "metel"}, "allowed: metal, cpu, cuda"),
    ],
)
def test_a_wrong_option_is_refused_with_what_is_right(given: dict[str, Any], said: str) -> None:
    """The nearest name, or what the value may be; never a traceback from within."""
    with pytest.raises(mlx_preflight.UsageError, match=re.escape(said)):
        mlx_preflight.predict("embedded", **{**SMALL, **given})


@pytest.mark.parametrize(
    ("name", "args", "given", "said"),
    [
        ("fit", ("embedded",), {}, "fit() needs budget_bytes"),
        ("fit", ("embedded",), {"budget_bytes": 0}, "allowed: an integer of at least 1"),
        ("fit", ("embedded",), {"budget_bytes": 1, "keep": "speed"}, "keep is 'speed'"),
        ("measure", ("embedded",), {"steps": 1}, "allowed: an integer of at least 2"),
        ("measure", ("embedded",), {"timeout_s": float("nan")}, "a number of at least 1"),
        ("predict", ("embedded", 1), {}, "every option is named"),
        ("predict", (7,), {}, "expected a name or a path"),
        ("predict", ("qwen2.5-coder-7",), {}, "did you mean 'qwen2.5-coder-7b'"),
    ],
)
def test_a_wrong_call_is_a_usage_error(
    name: str, args: tuple[Any, ...], given: dict[str, Any], said: str
) -> None:
    """One tree of errors, whatever is wrong with a call."""
    with pytest.raises(mlx_preflight.UsageError, match=re.escape(said)) as caught:
        getattr(mlx_preflight, name)(*args, **given)
    assert caught.value.exit_code == 2


def test_measuring_for_another_machine_is_refused() -> None:
    """As by the command."""
    other = "cuda" if calibration.backend() == "metal" else "metal"
    with pytest.raises(mlx_preflight.EstimateError, match="the one of this machine"):
        mlx_preflight.measure("embedded", **SMALL, backend=other)


@pytest.mark.slow
def test_a_model_may_be_a_path() -> None:
    """As everywhere in Python."""
    by_path = mlx_preflight.predict(EMBEDDED_FOLDER, **SMALL)
    assert by_path.peak_bytes == mlx_preflight.predict("embedded", **SMALL).peak_bytes


def test_what_is_returned_is_frozen() -> None:
    """Every type of the page; nobody changes a verdict behind another's back."""
    public = [getattr(mlx_preflight, name) for name in mlx_preflight.__all__]
    types = [item for item in public if dataclasses.is_dataclass(item)]
    assert len(types) > 10
    assert all(vars(item)["__dataclass_params__"].frozen for item in types)
    settings = mlx_preflight.Settings()
    for field in dataclasses.fields(settings):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(settings, field.name, 0)


CONSUMER = """
import mlx_preflight
from mlx_preflight import PreflightError, judge, predict

found = predict("embedded", batch_size=1, lora_keys=None)
reveal_type(found.peak_bytes)
reveal_type(mlx_preflight.fit("embedded", budget_bytes=1).fits[0].given_up)
reveal_type(judge)
reveal_type(mlx_preflight.load_checkpoint_report("x").problems)
reveal_type(PreflightError("x").hint)
predict("embedded", batch_size="1")  # line 11
predict("embedded", batchsize=1)  # line 12
mlx_preflight.fit("embedded")  # line 13
found.peak_bytes = 1  # line 14
mlx_preflight.predicted  # line 15
"""


@pytest.mark.slow
def test_another_package_sees_the_types(tmp_path: Path) -> None:
    """Under mypy --strict, through py.typed: types, options by name, and typing errors."""
    (tmp_path / "consumer.py").write_text(CONSUMER, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "consumer.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert [re.sub(r"builtins\.|, fallback=.*", "", kind) for kind in revealed] == [
        "int",
        "tuple[str, ...]",
        revealed[2],
        "tuple[str, ...]",
        "str",
    ], done.stdout
    assert "run.verdict.Verdict" in revealed[2]
    errors = re.findall(r"consumer.py:(\d+): error: .*\[([\w-]+)\]", done.stdout)
    assert errors == [
        ("11", "arg-type"),
        ("12", "call-arg"),
        ("13", "call-arg"),
        ("14", "misc"),
        ("15", "attr-defined"),
    ], done.stdout
