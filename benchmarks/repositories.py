"""Bring the gates to unpacked sdists of well-known packages; print what each run took and found.

`python benchmarks/repositories.py requests==2.32.3 click==8.1.8 …` downloads the sdists with
pip, runs `mlx-preflight init --yes` and bare `nox` in each, and prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from mlx_preflight.core import environment
from mlx_preflight.core.child import child_environment

PACKAGES = (
    "itsdangerous==2.2.0",
    "click==8.1.8",
    "attrs==25.1.0",
    "requests==2.32.3",
    "tomli==2.2.1",
    "humanize==4.12.1",
)

_KEPT = 300
"""Characters kept of a reason."""


def unpacked(package: str, folder: Path) -> Path:
    """Download a package's sdist and return its unpacked root."""
    command = ["download", "-q", "--no-deps", "--no-binary", ":all:", "-d", str(folder), package]
    subprocess.run([sys.executable, "-m", "pip", *command], check=True, stderr=subprocess.DEVNULL)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as sdist:
        sdist.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


def timed(command: list[str], project: Path) -> tuple[float, int, str]:
    """Run a command in a project and return seconds, exit code and output."""
    begin = time.perf_counter()
    env = {key: value for key, value in child_environment().items() if key != "CI"}
    done = subprocess.run(
        command, cwd=project, env=env, capture_output=True, text=True, check=False
    )
    return time.perf_counter() - begin, done.returncode, done.stdout or done.stderr


def tried(package: str) -> dict[str, Any]:
    """Initialise a package's sdist, run the gates twice, and return what was seen."""
    with tempfile.TemporaryDirectory() as folder:
        project = unpacked(package, Path(folder))
        init = [sys.executable, "-m", "mlx_preflight", "init", "--yes", "--json"]
        init_s, init_code, said = timed(init, project)
        nox = [sys.executable, "-m", "nox"]
        first_s, _, output = timed(nox, project)
        second_s, code, _ = timed(nox, project)
        report = json.loads((project / ".preflight" / "report.json").read_text())
        return {
            "package": package,
            "init": json.loads(said) if init_code == 0 else said,
            "init_s": round(init_s, 1),
            "first_s": round(first_s, 1),
            "second_s": round(second_s, 1),
            "exit_code": code,
            "traceback": "Traceback (most" in output,
            "gates": {row["id"]: [row["status"], row["reason"][:_KEPT]] for row in report["rows"]},
        }


def main() -> None:
    """Try every package and print the findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="*", default=PACKAGES)
    found = []
    for package in parser.parse_args().packages:
        print(package, file=sys.stderr, flush=True)
        found.append(tried(package))
    machine = environment.capture()
    print(json.dumps({"packages": found, "environment": machine}, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
