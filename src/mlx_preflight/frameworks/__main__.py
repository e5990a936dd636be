"""Measurement of one framework: `python -m mlx_preflight.frameworks NAME --python VENV/bin/python`.

The nox session runs this with nox's own interpreter, so it is standard library only.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from mlx_preflight.core.errors import ExitCode, PreflightError, ResultError
from mlx_preflight.core.result import Status
from mlx_preflight.core.units import format_seconds
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.frameworks import framework, measure, record


def main(arguments: list[str]) -> int:
    """Measure, unless it was finished before, write the record, and return the exit code.

    Ctrl-C and SIGTERM end it with 130 after the framework's process has been killed.
    """
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(given)
    except KeyboardInterrupt:
        name = given.framework
        print(f'{name}: interrupted; `nox -s "compare({name})"` starts it again', file=sys.stderr)
        return 130
    except PreflightError as error:
        print("\n".join(filter(None, (f"error: {error}", error.hint))), file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="compare", description=__doc__.splitlines()[0])
    parser.add_argument("framework")
    parser.add_argument("--python", type=Path, required=True, help="interpreter of its venv")
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--again", action="store_true", help="measure what is finished, too")
    parser.add_argument("--timeout-s", type=float, default=900.0, help="for one process")
    parser.add_argument("--no-install", action="store_true", help="take the venv as it is")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    state = Workspace.of(arguments.project.resolve()).folder
    plugin = framework.find(arguments.framework)
    options = measure.BenchOptions(
        python=arguments.python.absolute(),  # (not resolved: a venv's python is a link)
        folder=Workspace(state).artifacts("compare") / arguments.framework,
        timeout_s=arguments.timeout_s,
        installing=not arguments.no_install,
    )
    if not arguments.again and (date := _finished(state, arguments.framework, options)):
        print(f"{arguments.framework}: finished on {date}; --again measures it again")
        return 0
    found = measure.measure(plugin, options, lambda line: print(line, file=sys.stderr, flush=True))
    record.write(state, found)
    for line in found.log:
        print(f"{found.framework}: | {line}", file=sys.stderr)
    print(f"{found.framework}: {found.status}: {found.reason} ({format_seconds(found.duration_s)})")
    return ExitCode.PASSED if found.status is Status.PASS else ExitCode.NOT_JUDGED


def _finished(state: Path, name: str, options: measure.BenchOptions) -> str:
    """Return when a framework was measured with these very inputs; empty when it was not."""
    try:
        found = record.read(state, name)
    except ResultError as error:
        print(f"{error}; measuring again", file=sys.stderr)
        return ""
    fresh = found is not None and found.status is Status.PASS
    if found is None or not fresh or found.inputs != measure.digest(framework.find(name), options):
        return ""
    return found.date


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
