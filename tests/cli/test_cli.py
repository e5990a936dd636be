"""The command line, in processes of its own and in this one."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from mlx_preflight import __main__
from mlx_preflight.cli import options
from mlx_preflight.cli.app import PanelGroup, app
from mlx_preflight.core.errors import UsageError
from mlx_preflight.core.result import CheckResult, Evidence, Status, write_result
from mlx_preflight.criteria import command
from mlx_preflight.plan import register
from mlx_preflight.plan.commands import PANELS
from mlx_preflight.report import screen

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlx_preflight.core.result import SessionResult

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [
    *("list", "check", "summary", "report", "load", "generate", "sign-off", "doctor"),
    *("download", "document", "merge", "synthesize", "export", "comparison", "evaluation"),
]


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command line's own start in this process, and return how it would have ended."""
    out, err = io.StringIO(), io.StringIO()
    before = signal.getsignal(signal.SIGTERM)
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["mlx-preflight", *arguments])
        with pytest.raises(SystemExit) as ended:
            __main__.main()
    signal.signal(signal.SIGTERM, before)
    code = ended.value.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def project(tmp_path: Path) -> Path:
    """Make a project that has nothing but a table."""
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    return tmp_path


def test_help_shows_every_command_in_one_panel() -> None:
    """A command in no panel would be hidden; one that is hidden on purpose is in none."""
    shown = [name for names in PANELS.values() for name in names]
    root = get_command(app)
    assert isinstance(root, PanelGroup)
    assert sorted(shown) == sorted(name for name, item in root.commands.items() if not item.hidden)
    lines = CliRunner().invoke(app, ["--help"]).output.splitlines()
    for title, names in PANELS.items():
        start = lines.index(f"{title}:") + 1
        assert [line.split()[0] for line in lines[start : start + len(names)]] == list(names)


def test_the_core_imports_no_model_stack() -> None:
    """Nor what else the harness of a gate does not have: its venv holds no model stack."""
    absent = [
        *("mlx", "mlx_lm", "transformers", "tokenizers", "huggingface_hub", "safetensors"),
        *("numpy", "matplotlib", "datasets", "mcp", "qdrant_client", "torch"),
    ]
    code = (
        "import sys, mlx_preflight, mlx_preflight.cli.app\n"
        f"print([name for name in {absent} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_and_json(command: str) -> None:
    """`--help` of each command shows an example and the --json option."""
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert "Example" in done.output
    assert "--json" in done.output


def test_list_json_is_the_register() -> None:
    """Programs read every session and check from one document."""
    done = CliRunner().invoke(app, ["list", "--json"])
    listed = json.loads(done.output)
    assert [item["id"] for item in listed["sessions"]] == [s.id for s in register.SESSIONS]
    assert "embedded" in listed["profiles"]


def test_list_names_every_check() -> None:
    """People read every check id too."""
    done = CliRunner().invoke(app, ["list"])
    assert all(c.id in done.output for s in register.SESSIONS for c in s.checks if "." in c.id)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("check", "ac4-loadin"), "did you mean 'ac4-loading'"),
        (("check", "AC4.33"), "did you mean 'AC4.3'"),
        (("check", "ac4-loading", "--profile", "embeded"), "did you mean 'embedded'"),
        (("check", "ac4-loading", "--budget-gb", "-1"), "above 0"),
        (("report", "--format", "junitt"), "did you mean 'junit'"),
        (("load", "--model", "no-such-folder"), "no-such-folder"),
        (("chekc",), "No such command"),
    ],
)
def test_wrong_usage_exits_2_with_one_message(arguments: tuple[str, ...], said: str) -> None:
    """Misspelt ids, profiles, formats and commands end with a suggestion and no traceback."""
    done = run(*arguments)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_key_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    """A misspelt key in the table is never a silent default."""
    (tmp_path / "pyproject.toml").write_text("[tool.mlx-preflight]\ncoverage-mim = 90\n")
    done = run("check", "gate1-format", "--project", str(tmp_path))
    assert done.returncode == 2
    assert "did you mean 'coverage-min'" in done.stderr


def test_nothing_ran_has_its_own_exit_code(tmp_path: Path) -> None:
    """`summary` and `report` without a run exit 4 and name the next step."""
    for name in ("summary", "report"):
        done = run(name, "--project", str(project(tmp_path)))
        assert done.returncode == 4
        assert "nox" in done.stderr


@pytest.mark.slow
def test_a_check_writes_its_result_and_exits_by_status(tmp_path: Path) -> None:
    """A gate that examines nothing is ERROR: exit 3, and the result file says why."""
    done = run("check", "gate2-lint", "--project", str(project(tmp_path)), "--json")
    assert done.returncode == 3, done.stderr
    stored = json.loads((tmp_path / ".preflight" / "results" / "gate2-lint.json").read_text())
    assert stored["status"] == json.loads(done.stdout)["status"] == "ERROR"


def test_a_state_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A result that cannot be written ends with exit 3 and a hint, not a traceback."""
    project(tmp_path)
    (tmp_path / ".preflight").write_text("a file where the folder belongs")
    done = run("check", "gate2-lint", "--project", str(tmp_path))
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "try:" in done.stderr


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function that runs a command in this process from the project's root."""
    monkeypatch.chdir(ROOT)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


@pytest.mark.slow
def test_load_says_what_the_model_is(invoke: Callable[..., Result]) -> None:
    """`load --json` counts parameters exactly and names where the model is."""
    done = invoke("load", "--json")
    facts = json.loads(done.output)
    assert facts["parameters"] == 919_680
    assert facts["source"] == "embedded"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("config.json", {"hidden_size": 256}, "config.json implies [1024, 256]"),
        ("generation_config.json", {"eos_token_id": [500]}, "end token: "),
        ("tokenizer_config.json", {"chat_template": None}, "there is no chat template"),
        ("model.safetensors", b"\xff" * 4, "1 values are NaN or infinite"),
    ],
)
def test_load_refuses_a_faulty_checkpoint(
    tmp_path: Path, file: str, change: Any, said: str
) -> None:
    """What loads but disagrees with itself does not end as loaded."""
    folder = tmp_path / "model"
    shutil.copytree(ROOT / "src" / "mlx_preflight" / "models" / "embedded", folder)
    path = folder / file
    if isinstance(change, bytes):
        raw = bytearray(path.read_bytes())
        raw[-len(change) :] = change
        path.write_bytes(raw)
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    done = run("load", "--model", str(folder))
    assert done.returncode == 3
    assert said in done.stderr
    assert "successfully" not in done.stdout


@pytest.mark.slow
def test_generate_does_not_answer_from_damaged_weights(tmp_path: Path) -> None:
    """NaN answers, too, and would end as a success; a base model without template is asked."""
    folder = tmp_path / "model"
    shutil.copytree(ROOT / "src" / "mlx_preflight" / "models" / "embedded", folder)
    template = folder / "tokenizer_config.json"
    template.write_text(json.dumps({**json.loads(template.read_text()), "chat_template": None}))
    asked = run("generate", "def add", "--model", str(folder), "--max-tokens", "4")
    assert asked.returncode == 0
    assert "warning: there is no chat template" in asked.stderr
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\xff" * 4)
    done = run("generate", "def add", "--model", str(folder), "--max-tokens", "4")
    assert done.returncode == 3
    assert "1 values are NaN or infinite" in done.stderr


@pytest.mark.slow
def test_generate_answers_and_measures(invoke: Callable[..., Result]) -> None:
    """`generate` prints the answer, the tokens and the speed."""
    done = invoke("generate", "Write a function that adds two numbers.")
    text = done.output
    assert "def " in text
    assert "tokens" in text


def test_progress_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """The name of a model's folder is anybody's, in a line of progress, too."""
    name = "a\x1b[31m\n\u202ePASS [red]x"
    options.note(f"loading {name}")
    with options.progress(f"loading {name}", quiet=False):
        pass
    shown = capsys.readouterr().err
    assert shown.startswith("loading a PASS [red]x\n")
    assert not {"\u202e", "\x1b"} & set(shown)


def test_foreign_text_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences and markup in a model's answer are shown, not obeyed."""
    screen.show_answer(
        {
            "text": "\x1b]0;owned\x07[red]x[/red]\x1b[2J",
            "token_ids": [1],
            "decode_tokens_per_s": None,
            "first_token_s": 0.1,
            "finish_reason": "stop",
        }
    )
    shown = capsys.readouterr().out
    assert "\x1b]0" not in shown
    assert "\x1b[2J" not in shown
    assert "[red]x[/red]" in shown


def test_sign_off_without_answers_is_refused(tmp_path: Path) -> None:
    """There is nothing to sign before answers exist."""
    done = run("sign-off", "AC5", "--note", "fine", "--who", "Ada", "--project", str(tmp_path))
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


def test_find_session_takes_either_id() -> None:
    """A check id finds its session; an unknown one is a usage error."""
    session, check = register.find_session("ac4.3")
    assert (session.id, check and check.id) == ("ac4-loading", "AC4.3")
    with pytest.raises(UsageError):
        register.find_session("nothing-like-it")


def stored(tmp_path: Path, report: dict[str, Any]) -> Path:
    """Make a project whose last run left this report."""
    state = project(tmp_path) / ".preflight"
    state.mkdir()
    (state / "report.json").write_text(json.dumps(report))
    return tmp_path


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("terminal", "AC4.2"),
        ("markdown", "# Preflight: "),
        ("junit", "<testsuites"),
        ("json", '"AC4.2"'),
    ],
)
def test_a_report_is_shown_again_in_every_form(
    tmp_path: Path, make_report: Callable[..., dict[str, Any]], form: str, said: str
) -> None:
    """Each form names the failed check, and the exit code is the verdict's."""
    failed = CheckResult("AC4.2", "loads", Status.FAIL, Evidence.EMBEDDED, "it does not")
    report = make_report({"AC4.2": failed})
    done = run("report", "--format", form, "--project", str(stored(tmp_path, report)))
    assert done.returncode == report["exit_code"] == 1
    assert said in done.stdout
    assert "it does not" in done.stdout


def test_a_damaged_report_is_an_error(tmp_path: Path) -> None:
    """Half a report is never shown as one."""
    state = project(tmp_path) / ".preflight"
    state.mkdir()
    (state / "report.json").write_text('{"status": "PASS"')
    done = run("report", "--project", str(tmp_path))
    assert done.returncode == 3
    assert "report.json" in done.stderr


@pytest.mark.parametrize(
    "change",
    [{"exit_code": 0}, {"status": "PASS"}, {"verdict": "ready_for_integrator"}, {"rows": []}],
)
def test_a_report_that_says_better_than_its_rows_is_an_error(
    tmp_path: Path, make_report: Callable[..., dict[str, Any]], change: dict[str, Any]
) -> None:
    """A changed headline over a failed check never exits with success."""
    failed = CheckResult("AC4.2", "loads", Status.FAIL, Evidence.EMBEDDED, "it does not")
    report = {**make_report({"AC4.2": failed}), **change}
    done = run("report", "--project", str(stored(tmp_path, report)))
    assert done.returncode == 3
    assert "contradicts" in done.stderr


def test_summary_judges_what_a_run_left(
    tmp_path: Path, make_run: Callable[..., dict[str, SessionResult]]
) -> None:
    """The table and the files agree on the verdict; a missing session spoils it."""
    results = make_run()
    del results["ac6-memory"]
    for item in results.values():
        write_result(project(tmp_path) / ".preflight" / "results", item)
    done = run("summary", "--project", str(tmp_path))
    assert done.returncode != 0
    assert "ac6-memory" in done.stdout
    for name in ("report.json", "report.md", "junit.xml"):
        assert "ac6-memory" in (tmp_path / ".preflight" / name).read_text()


def test_a_check_shows_reasons_and_remedies(tmp_path: Path) -> None:
    """People read what was seen and what to do."""
    done = run("check", "ac1-evaluation", "--project", str(project(tmp_path)))
    assert done.returncode == 1
    assert "T001_framework_evaluation.md" in done.stdout
    assert "try: " in done.stdout


def test_the_shipped_documents_agree_with_their_evidence() -> None:
    """`document --check` compares and writes nothing."""
    done = run("document", "--check", "--json")
    assert done.returncode == 0, done.stdout
    assert set(json.loads(done.stdout).values()) == {""}


def test_a_document_needs_a_measurement(tmp_path: Path) -> None:
    """Without a result there is no evidence, and no document is written."""
    done = run("document", "--project", str(project(tmp_path)))
    assert done.returncode == 3
    assert "nothing was measured" in done.stderr
    assert not (tmp_path / "docs").exists()


def test_doctor_names_what_is_wrong_and_the_fix(tmp_path: Path) -> None:
    """A folder that is no model is a problem with a fix, in both forms."""
    empty = tmp_path / "empty"
    empty.mkdir()
    arguments = ("doctor", "--model", str(empty), "--project", str(project(tmp_path)))
    seen = run(*arguments)
    found = run(*arguments, "--json")
    assert seen.returncode == found.returncode == 1
    problems = [item for item in json.loads(found.stdout) if item["severity"] == "problem"]
    assert problems
    assert all(item["saw"] and item["why"] and item["fix"] for item in problems)
    assert "fix: " in seen.stdout


def test_facts_and_answers_are_shown_with_units(capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes, seconds and nested facts are readable; what is unknown says so."""
    screen.show_facts(
        "Model",
        {"disk_bytes": 4_284_000_000, "load_s": 1.23456, "parameters": 7_615_616_512}
        | {"revision": None, "config": {"layers": 28}, "files": [{"name": "a", "size": 3}]},
    )
    shown = capsys.readouterr().out
    for text in ("4.28 GB", "1.23 s", "7,615,616,512", "unknown", "config.layers", "name: a"):
        assert text in shown


def test_a_script_prints_its_lines_and_exits_by_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The entry of the scripts exits 3 where nothing can be judged, 2 on a wrong argument."""
    folder = str(project(tmp_path))
    lines = "Criteria: {}".format

    def main(*arguments: str) -> int:
        return command.main(
            "ac2-selection",
            ["AC2.1"],
            lambda done: [lines(len(done.result.checks))],
            ["--project", folder, *arguments],
        )

    assert main() == 3
    shown = capsys.readouterr().out
    assert "Criteria: 5" in shown
    assert "ERROR AC2.1: " in shown
    assert main("--json") == 3
    assert json.loads(capsys.readouterr().out)["id"] == "ac2-selection"
    assert main("--profile", "embeded") == 2
    assert "did you mean 'embedded'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("rehearse", "embedded", "--budget-gb", "nan", "--json"), 2),
        (("rehearse", "embedded", "--budget-gb", "inf", "--json"), 2),
        (("rehearse", "--json", "x.yaml", "--budget-gb", "-1"), 2),
        (("rehearse", "--json"), 2),
        (("rehearse", "embedded", "--json", "--num-layers", "5", "--max-seq-length", "64"), 2),
        (("qualify", "--json", "--iters", "many"), 2),
        (("calibration", "show", "--json"), 3),
        (("estimate", "no such model", "--json"), 2),
        (("fit", "embedded", "--json", "--budget-gb", "1", "--prefer", "speed"), 2),
    ],
)
def test_an_error_is_one_document_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int
) -> None:
    """A program that reads stdout gets JSON in every case, and no slice is trained first."""
    monkeypatch.setenv("MLX_PREFLIGHT_DATA", str(tmp_path / "data"))
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == code
    document = json.loads(done.stdout)
    assert document["exit_code"] == code
    assert document["error"]
    assert "rehearsal" not in done.stderr


def test_flags_of_another_program_ask_for_no_document(tmp_path: Path) -> None:
    """What is behind `--` is the command that is judged."""
    done = run("qualify", "--", "mlx_lm.lora", "--json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
