"""Compare three ways to run the test plan's eight gates on this project, and print JSON.

`python benchmarks/pipeline.py > pipeline.json` takes about half an hour on two cores. Every
way starts from a fresh clone of HEAD and runs the same tools on the same tests
(`tests-select`): the plan's eight commands, each in a pip venv of its own, one after the
other; tox with the same eight environments; `nox -s gates`, serial and side by side. The
first run of each has empty venvs and warm package caches, the second reuses what is there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from mlx_preflight.core import environment
from mlx_preflight.core.child import child_environment

PROJECT = Path(__file__).resolve().parents[1]
SELECT = "not slow"

GATES: dict[str, tuple[str, list[str]]] = {
    "black": ("black>=25.9,<27", ["black", "--check", "."]),
    "ruff": ("ruff>=0.17,<0.18", ["ruff", "check", "."]),
    "mypy": (".[tests]", ["mypy"]),
    "unit": (".[tests]", ["pytest", "-q", "-m", SELECT]),
    "acceptance": (".[tests]", ["pytest", "-q", "-m", SELECT, "tests/acceptance"]),
    "coverage": (
        ".[tests]",
        ["pytest", "-q", "-m", SELECT, "--cov=src", "--cov-fail-under=85"],
    ),
    "build": ("build>=1.3,<2", ["build"]),
    "audit": (".[tests]", ["pip_audit"]),
}
"""What an environment holds, and the plan's command as `python -m`."""


def run(command: list[str], project: Path, **variables: str) -> tuple[float, int]:
    """Run a command in a clone and return wall seconds and exit code."""
    env = {key: value for key, value in child_environment().items() if key != "CI"} | variables
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=project, env=env, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False
    )
    return time.perf_counter() - began, done.returncode


def clone(folder: Path, name: str) -> Path:
    """Return a fresh clone of HEAD."""
    target = folder / name
    subprocess.run(["git", "clone", "-q", str(PROJECT), str(target)], check=True)
    return target


def by_hand(project: Path) -> dict[str, Any]:
    """Run each command in a pip venv of its own."""
    gates = {}
    for name, (wanted, command) in GATES.items():
        print(f"pip: {name}", file=sys.stderr, flush=True)
        began = time.perf_counter()
        # Beside the project: black and mypy would examine a venv within it.
        home = project.with_name(f"{project.name}-venvs") / name
        venv.create(home, with_pip=True)
        python = str(home / "bin" / "python")
        chosen = ["-e", wanted] if wanted.startswith(".") else [wanted]
        run([python, "-m", "pip", "install", "-q", *chosen], project)
        installed = time.perf_counter() - began
        tool_s, code = run([python, "-m", *command], project)
        gates[name] = {"install_s": installed, "tool_s": tool_s, "exit_code": code}
    wall = sum(gate["install_s"] + gate["tool_s"] for gate in gates.values())
    return {"wall_s": wall, "gates": gates}


def tox_file() -> str:
    """Return tox.ini with the same eight environments."""
    lines = ["[tox]", f"env_list = {', '.join(GATES)}", "", "[testenv]", "skip_install = true"]
    lines += ["pass_env = *", ""]
    for name, (wanted, command) in GATES.items():
        editable = "-e " if wanted.startswith(".") else ""
        words = " ".join(f'"{word}"' if " " in word else word for word in command)
        lines += [f"[testenv:{name}]", f"deps = {editable}{wanted}"]
        lines += [f"commands = python -m {words}", ""]
    return "\n".join(lines)


def with_tox(project: Path, tool: Path) -> dict[str, Any]:
    """Run tox twice, serial as it does by default."""
    (project / "tox.ini").write_text(tox_file(), encoding="utf-8")
    found = {}
    for name in ("cold", "warm"):
        print(f"tox: {name}", file=sys.stderr, flush=True)
        found[name] = dict(zip(("wall_s", "exit_code"), run([str(tool)], project), strict=True))
    return found


def with_nox(project: Path, **variables: str) -> dict[str, Any]:
    """Run `nox -s gates` twice, and say what the tools took of it."""
    found = {}
    for name in ("cold", "warm"):
        print(f"nox {variables}: {name}", file=sys.stderr, flush=True)
        wall, code = run([sys.executable, "-m", "nox", "-s", "gates"], project, **variables)
        tools = tool_seconds(project)
        found[name] = {
            "wall_s": wall,
            "exit_code": code,
            "tools_s": sum(tools.values()),
            "tools": tools,
        }
    return found


def tool_seconds(project: Path) -> dict[str, float]:
    """Return what each gate's tool took, as its result file says."""
    seconds = {}
    for path in sorted((project / ".preflight" / "results").glob("gate*.json")):
        (check,) = json.loads(path.read_text(encoding="utf-8"))["checks"]
        values = {item["name"]: item["value"] for item in check["measurements"]}
        seconds[path.stem] = float(values.get("duration_s", 0.0))
    return seconds


def ratios(found: dict[str, Any]) -> dict[str, float]:
    """Return the ratios of what was measured in this run."""
    made = {}
    if {"nox", "pip"} <= set(found):
        made["cold_to_pip"] = found["nox"]["cold"]["wall_s"] / found["pip"]["wall_s"]
    if {"nox", "tox"} <= set(found):
        made["warm_to_tox_warm"] = found["nox"]["warm"]["wall_s"] / found["tox"]["warm"]["wall_s"]
    if "nox_serial" in found:
        warm = found["nox_serial"]["warm"]
        made["harness_share_of_serial_warm"] = 1 - warm["tools_s"] / warm["wall_s"]
    return {name: round(value, 3) for name, value in made.items()}


def main() -> None:
    """Run the ways that were asked for and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ways", nargs="*", default=["nox", "pip", "tox", "nox_serial"])
    chosen = parser.parse_args().ways
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="pipeline-") as name:
        folder = Path(name)
        for way in chosen:
            project = clone(folder, way)
            if way == "pip":
                found[way] = by_hand(project)
            elif way == "tox":
                found[way] = with_tox(project, tox(folder))
            else:
                found[way] = with_nox(project, **({"NOX_PARALLEL": "1"} if "_" in way else {}))
            shutil.rmtree(project)
            print(json.dumps(ratios(found)), file=sys.stderr, flush=True)
    document = {
        "ratios": ratios(found),
        "ways": found,
        "cores": os.cpu_count(),
        "environment": environment.capture(),
        "git": environment.git(PROJECT),
    }
    print(json.dumps(document, indent=1, sort_keys=True))


def tox(folder: Path) -> Path:
    """Install tox and return its command."""
    venv.create(folder / "tox-venv", with_pip=True)
    python = folder / "tox-venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "-q", "tox>=4,<5"]
    subprocess.run(pip, check=True, stdout=sys.stderr)
    return python.parent / "tox"


if __name__ == "__main__":
    main()
