"""The parts of a capture: what is asked of a checkout, and what of its answers must not change."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unchanged_checkout import Checkout

BACKENDS = ("metal", "cpu", "cuda")

SETTINGS = {
    "defaults": "",
    "checkpointed": "--batch-size 1 --num-layers 6 --grad-checkpoint --rank 16 --optimizer adamw",
    "8 bits": "--batch-size 2 --max-seq-length 512 --num-layers 4 --bits 8 --group-size 32 "
    "--optimizer sgd --budget-gb 16",
    "unquantized": "--batch-size 1 --max-seq-length 1024 --num-layers 8 --bits 16 "
    "--lora-keys self_attn.q_proj,self_attn.v_proj --optimizer adafactor "
    "--grad-accumulation-steps 4",
    "inference": "--inference --prompt-tokens 4096 --generate-tokens 256 --kv-bits 8",
}
"""What `estimate` is asked for each model and backend."""

CATALOGS = ("memory/known.json", "models/catalog.json")
"""Where a checkout keeps its built-in models: at first, and today."""

SEVEN = "qwen2.5-coder-7b"
CALLS = (
    "",
    "--version",
    "--no-such-option",
    "no-such-command",
    "list",
    "list --json",
    "check no-such-check",
    "check gate1-format --profile no-such-profile",
    "check gate1-format --json",
    "check AC4.2 --json",
    "check gate3-types --project no-such-folder",
    "summary --json",
    "report --json",
    "report --format no-such-format",
    "report --format sarif",
    "load --model no-such-model",
    "load --json",
    "generate hello --max-tokens 4 --json",
    f"estimate {SEVEN} --backend metal --num-layers 2 --budget-gb 1",
    f"estimate {SEVEN} --backend metal --num-layers 2 --budget-gb 1000 --json",
    f"estimate {SEVEN} --backend metal --budget-gb -1",
    f"estimate {SEVEN} --backend metal --bits 5",
    f"estimate {SEVEN} --backend metal --prompt-tokens 5 --num-layers 2 --json",
    f"estimate {SEVEN} --batch-size many",
    "estimate no-such-model",
    "estimate embedded --num-layers -1 --max-seq-length 256 --json --backend metal",
    "measure embedded --num-layers 1 --max-seq-length 32 --steps 2 --json",
    f"fit {SEVEN} --budget-gb 16 --backend metal --num-layers 4 --json",
    f"fit {SEVEN} --budget-gb 0.5 --backend metal --num-layers 4 --json",
    f"fit {SEVEN}",
    "comparison --json",
    "evaluation",
    "document",
    "export embedded --framework no-such-framework",
    "merge",
    "selftest no-such-gate",
    "baseline record no-such-kind",
    "sign-off",
    "history step_s",
    "memory status --json",
    "memory search --json",
    "memory show no-such-run",
    "memory prune",
    "init no-such-folder",
    "synthesize no-such-model",
    "mcp --port many",
)
"""Typical calls, right and wrong, in an empty project; run in this order in one folder."""

MODULE = '"""A sample."""\n\n\ndef double(value: int) -> int:\n    return 2 * value\n'
TEST = "def test_double() -> None:\n    assert 2 * 2 == 4\n"
PROJECT = '[project]\nname = "sample"\nversion = "1"\n'
LAYOUTS = {
    "src": {
        "pyproject.toml": f'{PROJECT}dependencies = ["mlx-lm>=0.32"]\n',
        "src/sample/__init__.py": MODULE,
        "tests/test_sample.py": TEST,
        "tests/acceptance/test_all.py": TEST,
    },
    "flat": {
        "pyproject.toml": f"{PROJECT}\n[tool.black]\nline-length = 90\n",
        "noxfile.py": '"""Sessions."""\n',
        "sample/__init__.py": MODULE,
        "tests/test_sample.py": TEST,
    },
    "scripts": {"first.py": MODULE, "tools/second.py": MODULE},
}
"""Layout → files of a repository that `init` is asked to look at."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a capture was asked for.

    Attributes:
        checkout: What is captured.
        run: Project whose `.preflight` a whole run has filled; None captures no run.
        earlier: Folder of the capture whose noxfile, records and models are taken.
        out: Folder of this capture.
        folder: Folder for temporary files.
        jobs: Processes side by side.
        models: Built-in models to estimate; empty takes all.
    """

    checkout: Checkout
    run: Path | None
    earlier: Path
    out: Path
    folder: Path
    jobs: int
    models: tuple[str, ...]

    def made(self, name: str) -> Path:
        """Return a new temporary folder."""
        path = self.folder / name
        path.mkdir()
        return path


def estimates(request: Request) -> dict[str, Any]:
    """Predict each built-in model with each of the settings on each backend."""
    earlier = request.earlier / "estimates.json"
    if request.models or earlier.is_file():
        models = request.models or list(json.loads(earlier.read_text()))
    else:
        src = request.checkout.root / "src"
        (facts,) = (file for name in CATALOGS for file in src.rglob(name))
        models = [item["name"] for item in json.loads(facts.read_text()).values()]
    lines = {
        (model, f"{setting}, {backend}"): f"estimate {model} --json --backend {backend} {given}"
        for model in models
        for setting, given in SETTINGS.items()
        for backend in BACKENDS
    }
    done = request.checkout.run(lines.values(), request.made("estimates"), request.jobs)
    found: dict[str, Any] = {}
    for (model, setting), line in lines.items():
        answer = done[" ".join(line.split())]
        # The only value that may differ: how long the prediction took.
        text = re.sub(r'(?m)^ "seconds": [0-9.e-]+,$', ' "seconds": 0,', answer["stdout"])
        found.setdefault(model, {})[setting] = {**answer, "stdout": text}
    return found


def options(request: Request) -> dict[str, Any]:
    """Capture options, types and defaults of every command, and that its help is shown."""
    found: dict[str, Any] = request.checkout.ask("options")
    lines = [f"{'' if words == '(root)' else words} --help" for words in found]
    helped = request.checkout.run(lines, request.folder)
    for words, line in zip(found, lines, strict=True):
        found[words]["exit of --help"] = helped[" ".join(line.split())]["exit"]
    return found


def names(request: Request) -> dict[str, Any]:
    """Capture the public names' parameters, and the tools of the server."""
    found: dict[str, Any] = request.checkout.ask("names", cwd=request.made("names"))
    return found


def exits(request: Request) -> dict[str, Any]:
    """Capture exit codes of typical calls, and the keys of what they print as JSON."""
    folder = request.made("exits")
    write(folder, {"pyproject.toml": PROJECT, "sample.py": MODULE})
    done = request.checkout.run(CALLS, folder)
    return {
        line or "(nothing)": {"exit": item["exit"], "stdout": shape(item["stdout"])}
        for line, item in done.items()
    }


def init(request: Request) -> dict[str, Any]:
    """Capture what `init` would write into repositories of three layouts."""
    found = {}
    for layout, files in LAYOUTS.items():
        folder = request.made(f"init-{layout}") / "sample"
        write(folder, files)
        lines = (f"init {folder} --dry-run", f"init {folder} --dry-run --json")
        done = request.checkout.run(lines, folder)
        found[layout] = {
            name: {**done[line], "stdout": done[line]["stdout"].replace(str(folder), "FOLDER")}
            for name, line in zip(("text", "json"), lines, strict=True)
        }
    return found


def noxfile(request: Request) -> dict[str, Any]:
    """Capture the sessions that nox lists from the noxfile that the earlier checkout wrote."""
    folder = request.made("noxfile") / "sample"
    kept = request.out / "project"
    if request.earlier == request.out:
        write(folder, LAYOUTS["src"])
        request.checkout.run([f"init {folder} --yes --no-baselines"], folder)
        for name in ("noxfile.py", "pyproject.toml"):
            (kept / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / name, kept / name)
    else:
        write(folder, LAYOUTS["src"])
        for name in ("noxfile.py", "pyproject.toml"):
            shutil.copy(request.earlier / "project" / name, folder / name)
    command = [str(request.checkout.python), "-m", "nox", "--list"]
    done = subprocess.run(
        command, cwd=folder, env=request.checkout.env(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"nox cannot list the noxfile: {done.stderr}")
    listed = re.findall(r"(?m)^([*-]) (\S+)(?: \[(.*?)\])?", done.stdout)
    return {name: {"default": mark == "*", "tags": tags} for mark, name, tags in listed}


def run(request: Request) -> dict[str, Any]:
    """Capture ids, statuses, evidence and measurements' names of a whole run, no values."""
    if request.run is None:
        return {}
    state = request.run / ".preflight"
    results = [json.loads(path.read_text()) for path in sorted(state.glob("results/*.json"))]
    report = json.loads((state / "report.json").read_text())
    return {
        "results": {
            item["id"]: {
                **{key: item[key] for key in ("status", "schema", "profile")},
                "keys": sorted(item),
                "checks": {check["id"]: judged(check) for check in item["checks"]},
            }
            for item in results
        },
        "report": {
            **{key: report.get(key) for key in ("schema", "status", "verdict", "exit_code")},
            "keys": shape(json.dumps({key: report[key] for key in report if key != "environment"})),
            "rows": {row["id"]: judged(row) for row in report["rows"]},
        },
        "files": sorted(path.name for path in state.iterdir()),
    }


def judged(check: dict[str, Any]) -> dict[str, Any]:
    """Return what of a check may not change: neither values nor words."""
    return {
        **{key: check[key] for key in ("status", "evidence")},
        "keys": sorted(check),
        "measurements": {
            item["name"]: [item.get("unit"), type(item["value"]).__name__, sorted(item)]
            for item in check["measurements"]
        },
    }


def records(request: Request) -> dict[str, Any]:
    """Capture what the commands answer on the records that the earlier checkout kept."""
    source = request.earlier / "project" / ".preflight"
    if request.earlier == request.out and request.run is not None:
        shutil.rmtree(source, ignore_errors=True)
        ignored = shutil.ignore_patterns("artifacts", "index", "*.lock")
        shutil.copytree(request.run / ".preflight", source, ignore=ignored)
    if not source.is_dir():
        return {}
    project = request.made("records")
    shutil.copytree(source, project / ".preflight")
    listed = request.checkout.run(["memory search --json"], project)["memory search --json"]
    known = re.findall(r'"run_id": "([^"]+)"', listed["stdout"])
    shown = {f"memory show {run_id} --json" for run_id in known}
    report = json.loads((source / "report.json").read_text())
    measured = {
        f"history {row['id']}/{item['name']} --json"
        for row in report["rows"]
        for item in row["measurements"]
        if not isinstance(item["value"], str)
    }
    lines = [
        *sorted(shown),
        *sorted(measured)[::8],
        *(f"memory compare {known[0]} {other} --json" for other in known[1:]),
        "memory search rows --json",
        "memory status --json",
        "memory export exported.jsonl",
        "report --json",
        "report --format sarif",
        "report --format junit",
        "summary --json",
    ]
    found = {"memory search --json": listed, **request.checkout.run(lines, project)}
    # The only value that may differ: when the run was judged again.
    judged_again = found["summary --json"]
    judged_again["stdout"] = re.sub(
        r'(?m)^ "generated": ".*",$', ' "generated": "",', judged_again["stdout"]
    )
    for line in ("report --format sarif", "report --format junit"):
        found[line]["stdout"] = shape(found[line]["stdout"])
    found["exported"] = {"lines": (project / "exported.jsonl").read_text().splitlines()}
    return found


def shape(text: str) -> Any:
    """Return the keys of a JSON or XML document with their types; of other text, nothing."""
    places: set[str] = set()

    def walk(value: Any, place: str) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                walk(item, f"{place}.{key}")
        elif isinstance(value, list):
            for item in value:
                walk(item, f"{place}[]")
        else:
            places.add(f"{place}: {type(value).__name__}")

    try:
        walk(json.loads(text), "")
    except ValueError:
        if not text.startswith("<?xml"):
            return "text" if text else ""
        for tag, given in re.findall(r'<(\w+)((?:\s+\w+="[^"]*")*)', text):
            attributes = re.findall(r'(\w+)="[^"]*"', given)
            places.add(f"{tag} {sorted(attributes)}")
    return sorted(places)


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files into a folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


PARTS: dict[str, Callable[[Request], dict[str, Any]]] = {
    "options": options,
    "names": names,
    "init": init,
    "noxfile": noxfile,
    "exits": exits,
    "run": run,
    "records": records,
    "estimates": estimates,
}
"""Part → function that captures it, quick ones first."""
