"""Measure how well baselines tell new findings from old ones, on real packages; print JSON.

`python benchmarks/fingerprint.py > fingerprint.json` downloads the sources of three packages,
lets ruff and strict mypy find what they find, and then changes the sources in ways that
hold a known number of new findings: none (five lines added at the top of each file, black with
a line length of 60, every file renamed) or exactly one (a finding is mended and another of
the same rule planted in the same file, so that the count stays). A count sees no swap.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from repositories import unpacked

from mlx_preflight.core import environment
from mlx_preflight.core.diagnostic import Diagnostic
from mlx_preflight.core.result import Outcome
from mlx_preflight.gates import lint, types
from mlx_preflight.gates.baselines import fingerprint
from mlx_preflight.plan import register
from mlx_preflight.plan import settings as project_table
from mlx_preflight.run.context import Context

PACKAGES = {"tabulate==0.9.0": "tabulate", "requests==2.32.3": "requests", "attrs==25.1.0": "attr"}

CONFIG = """[tool.ruff.lint]
select = ["ANN001", "ANN201", "D103", "E501", "E731", "F401", "PLR2004"]
[tool.mypy]
strict = true
ignore_missing_imports = true
"""

PLANTED = {
    "ANN001": "def planted(value) -> None:\n    '''Do nothing.'''\n",
    "ANN201": "def planted():\n    '''Do nothing.'''\n",
    "D103": "def planted() -> None:\n    pass\n",
    "E731": "planted = lambda: 0\n",
    "F401": "import planted_module\n",
    "PLR2004": "PLANTED = len('x') == 4321\n",
    "no-untyped-def": "def planted(value):\n    return str(value)\n",
    "no-untyped-call": (
        "def planted(value): # type: ignore[no-untyped-def]\n    return str(value)\nplanted(0)\n"
    ),
    "type-arg": "def planted(value: list) -> None:\n    '''Do nothing.'''\n",
}
"""Rule → source that breaks it once, at the end of any module."""

_SILENCERS = {"ruff": "  # noqa: {}", "mypy": "  # type: ignore[{}]"}

Change = Callable[[Path], None]


def found_by(tool: str, project: Path, run: int) -> list[Diagnostic]:
    """Return what a gate's tool finds in a project."""
    gate, module = {"ruff": ("gate2-lint", lint), "mypy": ("gate3-types", types)}[tool]
    session = register.find_session(gate)[0]
    settings = project_table.ProjectSettings(timeout_s=600)
    context = Context.of(project, settings, run_id=f"run-{run}", note=lambda _: None)
    facts = module.gather(session, context)
    seen = module.examine(facts)
    if isinstance(seen, Outcome):
        raise SystemExit(f"{project.name}: {tool}: {seen.reason}")
    found: list[Diagnostic] = facts.ratchet.found
    return found


def add_lines(project: Path) -> None:
    """Add five lines at the top of each file."""
    for path in project.rglob("*.py"):
        path.write_text("#\n" * 5 + path.read_text(encoding="utf-8"), encoding="utf-8")


def reformat(project: Path) -> None:
    """Reformat everything to a width of 60."""
    command = [sys.executable, "-m", "black", "-q", "-l", "60", str(project)]
    subprocess.run(command, check=True)


def rename(project: Path) -> None:
    """Rename every module but the packages' own."""
    for path in sorted(project.rglob("*.py")):
        if path.name != "__init__.py":
            path.rename(path.with_name(f"{path.stem}_renamed.py"))


def swap(project: Path, item: Diagnostic) -> None:
    """Mend one finding and plant another of its rule at the end of the same file."""
    path = project / item.path
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[item.line - 1] += _SILENCERS[item.tool].format(item.code)
    text = "\n".join(lines) + "\n\n\n" + PLANTED[item.code]
    path.write_text(text, encoding="utf-8")


def swappable(project: Path, found: list[Diagnostic], tool: str) -> list[Diagnostic]:
    """Return findings that a comment on their line can silence, one rule and place at a time."""
    once = Counter((item.path, item.line) for item in found)
    usable = []
    for item in found:
        line = (project / item.path).read_text(encoding="utf-8").splitlines()[item.line - 1]
        plain = "#" not in line and not line.rstrip().endswith("\\") and '"""' not in line
        if item.code in PLANTED and once[item.path, item.line] == 1 and plain:
            usable.append(item)
    random.Random(f"{project.name} {tool}").shuffle(usable)
    return usable


def compared(before: Path, after: Path, tool: str, old: list[Diagnostic], run: int) -> Any:
    """Return the number of new findings by fingerprint, and what counts would say."""
    new = found_by(tool, after, run)
    recorded = Counter(fingerprint.compute(before, old))
    changed = fingerprint.compare(recorded, fingerprint.compute(after, new))
    return {"new": len(changed.new), "by_count": max(0, len(new) - len(old))}


def tried(project: Path, folder: Path, swaps: int) -> dict[str, Any]:
    """Change one package in every way and return what was seen."""
    result: dict[str, Any] = {}
    changes: dict[str, Change] = {"five_lines": add_lines, "black_60": reformat, "renamed": rename}
    for tool in ("ruff", "mypy"):
        old = found_by(tool, project, 0)
        rows: dict[str, Any] = {"findings": len(old), "swaps": []}
        for name, change in changes.items():
            if (tool, name) == ("mypy", "renamed"):
                continue  # a renamed module breaks imports, and those findings are new indeed
            copy = Path(shutil.copytree(project, folder / f"{project.name}-{tool}-{name}"))
            change(copy)
            rows[name] = compared(project, copy, tool, old, 1)
        for number, item in enumerate(swappable(project, old, tool)[:swaps]):
            copy = Path(shutil.copytree(project, folder / f"{project.name}-{tool}-{number}"))
            swap(copy, item)
            rows["swaps"].append({"code": item.code, **compared(project, copy, tool, old, 1)})
        result[tool] = rows
    return result


def main() -> None:
    """Try every package and print the totals and the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=4, help="swaps per package and tool")
    chosen = parser.parse_args()
    packages: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for package, module in PACKAGES.items():
            print(package, file=sys.stderr, flush=True)
            (folder / package).mkdir()
            source = next(unpacked(package, folder / package).rglob(f"{module}/__init__.py")).parent
            project = folder / f"{module}-project"
            shutil.copytree(source, project / module)
            (project / "pyproject.toml").write_text(CONFIG, encoding="utf-8")
            packages[package] = tried(project, folder, chosen.swaps)
    rows = [row for found in packages.values() for row in found.values()]
    swaps = [item for row in rows for item in row["swaps"]]
    harmless = [row[name] for row in rows for name in row if isinstance(row[name], dict)]
    document = {
        "swaps": len(swaps),
        "swaps_caught": sum(item["new"] >= 1 for item in swaps),
        "swaps_caught_by_count": sum(item["by_count"] >= 1 for item in swaps),
        "harmless_changes": len(harmless),
        "false_new": sum(item["new"] - item["by_count"] for item in harmless),
        "packages": packages,
        "environment": environment.capture(),
    }
    print(json.dumps(document, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
