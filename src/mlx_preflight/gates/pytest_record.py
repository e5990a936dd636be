"""A pytest plugin that records which tests were collected, which reported, and the end.

It is copied into the judged environment's path for one run, so it imports nothing of this
package. A test that never reported did not run, whatever pytest's exit code, its closing line
or its JUnit file say: those can be set by any conftest. The workers of pytest-xdist report to
the controller, and measure coverage themselves, as under `pytest --cov`.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

RECORD, SOURCE = "PREFLIGHT_TESTS_RECORD", "PREFLIGHT_TESTS_SOURCE"
"""Variables that name the file of the record, and the folder whose lines are covered."""


def _without_this_folder() -> str:
    """Take the folder of this file off the path that the tests' own children would inherit."""
    here = str(Path(__file__).parent)
    kept = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part != here]
    if any(kept):
        os.environ["PYTHONPATH"] = os.pathsep.join(kept)
    else:
        os.environ.pop("PYTHONPATH", None)
    return os.environ.pop(RECORD, "")


_RECORD, _PROCESS = _without_this_folder(), os.getpid()
_STREAM = os.open(_RECORD, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if _RECORD else -1


def _coverage_of_a_worker() -> Any:
    """Start to measure a worker of pytest-xdist, where nothing measures it yet."""
    source = os.environ.get(SOURCE)
    if not source or "PYTEST_XDIST_WORKER" not in os.environ:
        return None
    coverage = importlib.import_module("coverage")
    if coverage.Coverage.current() is not None:
        return None
    started = coverage.Coverage(data_suffix=True, source=[source])
    # A worker may get no test that runs a line of it.
    quiet = [*started.get_option("run:disable_warnings"), "no-data-collected"]
    started.set_option("run:disable_warnings", quiet)
    started.start()
    return started


_WORKER = _coverage_of_a_worker()


def _write(**line: Any) -> None:
    # A test may fork, and its child go on as if it were pytest.
    if _STREAM >= 0 and os.getpid() == _PROCESS:
        os.write(_STREAM, f"{json.dumps(line)}\n".encode())


def pytest_configure(config: pytest.Config) -> None:
    """Let the folder of a project have a name with brackets, which pytest takes for parameters."""
    if config.args == [str(config.invocation_params.dir)]:
        config.args = ["."]


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Record the tests that pytest is about to run."""
    _write(collected=[item.nodeid for item in session.items])


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Count what an option left out."""
    _write(deselected=len(items))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(ids: Sequence[str]) -> None:
    """Record what a worker of pytest-xdist collected; the controller collects nothing."""
    _write(collected=list(ids))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Record a test that ended: its set-up alone says so only where it did not pass."""
    if report.when != "setup" or report.outcome != "passed":
        _write(reported=report.nodeid, outcome=report.outcome)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Record that pytest came to its end."""
    if _WORKER is not None:
        _WORKER.stop()
        _WORKER.save()
    _write(ended=True)
