"""One run of pytest, believed only where three witnesses agree.

The JUnit file names the tests with their outcomes; the record of our own plugin names what was
collected, what reported and whether pytest came to its end; then there is the exit code. A
test suite can overwrite any one of them: `pytest.exit(returncode=0)` ends a run green before
its failing test, and a conftest may set the exit code or print a closing line of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from mlx_preflight.core.child_run import ChildRun
from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.text import join_findings, redact
from mlx_preflight.gates.baselines import outcomes

MAX_BYTES = 64_000_000
"""Size up to which a JUnit file or a record is read."""

_COLLECTION = "collection failure"
"""What pytest writes as the message of every module that it could not import."""

RECORD = "record.jsonl"
"""Name of the plugin's file, in the folder of the artifacts."""

_PLUGIN = Path(__file__).with_name("pytest_record.py")
_RECORD, _SOURCE = "PREFLIGHT_TESTS_RECORD", "PREFLIGHT_TESTS_SOURCE"


@dataclass(frozen=True, slots=True)
class Case:
    """One test of a JUnit file; the message is a failure's or a skip's first line."""

    name: str
    outcome: str
    message: str


@dataclass(frozen=True, slots=True)
class Record:
    """What the plugin saw of a run.

    Attributes:
        collected: Ids of the tests that pytest was about to run.
        reported: Id → the worst that its reports said.
        deselected: How many tests an option left out.
        ended: Whether pytest came to its end.
    """

    collected: frozenset[str]
    reported: Mapping[str, str]
    deselected: int
    ended: bool

    def doubt(self, named: Sequence[str]) -> str:
        """Return why the run proves nothing, or an empty text.

        Args:
            named: Failed tests, as the JUnit file names them.
        """
        missing = sorted(self.collected - set(self.reported))
        failed = sorted(name for name, said in self.reported.items() if said == outcomes.FAILED)
        if missing:
            names = join_findings(missing)
            return f"{len(missing)} of {len(self.collected)} collected tests did not run: {names}"
        if not self.ended:
            return "pytest did not come to its end, so its result file may be anybody's"
        if failed and not named:
            names = join_findings(failed)
            return f"pytest reported {len(failed)} failed tests, its JUnit file names none: {names}"
        return ""


@dataclass(frozen=True, slots=True)
class Files:
    """Files of one run, and what pytest must be given to write them.

    Attributes:
        junit: Where pytest writes its JUnit file.
        record: Where the plugin writes its lines.
        arguments: Options of pytest.
        variables: Additions to the environment.
    """

    junit: Path
    record: Path
    arguments: tuple[str, ...]
    variables: Mapping[str, str]

    def cases(self, ran: ChildRun) -> list[Case]:
        """Return the tests of the JUnit file, if pytest could have written it.

        Raises:
            ResultError: It is missing, too large, or no JUnit file.
        """
        try:
            text = _text(self.junit)
            if "<!DOCTYPE" in text:
                raise ResultError(f"{self.junit}: has a DOCTYPE, which pytest never writes")
            # Without a DOCTYPE there are no entities to expand, so the plain parser is safe.
            root = ET.fromstring(text)  # noqa: S314  (above)
        except (OSError, ValueError, ET.ParseError) as error:
            reason = f"pytest exited {ran.returncode} and left no readable JUnit file"
            raise ResultError(f"{reason}: {last_lines(ran)}") from error
        return [_case(case) for case in root.iter("testcase")]

    def read_record(self) -> Record:
        """Return what the plugin wrote; nothing where pytest died before it could.

        Raises:
            ResultError: Something else wrote it, too.
        """
        collected, reported = set[str](), dict[str, str]()
        deselected, ended = 0, False
        try:
            lines = _text(self.record).splitlines() if self.record.exists() else []
            for line in map(json.loads, lines):
                collected |= {str(name) for name in line.get("collected", ())}
                deselected += int(line.get("deselected", 0))
                ended = ended or line.get("ended") is True
                if "reported" in line and reported.get(line["reported"]) != outcomes.FAILED:
                    reported[str(line["reported"])] = str(line["outcome"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ResultError(f"{self.record}: no record of a run: {error!r}") from error
        return Record(frozenset(collected), reported, deselected, ended)


@contextmanager
def files(folder: Path, project: Path, source: str = "") -> Iterator[Files]:
    """Provide what a run of pytest is recorded with; what an earlier one left is removed.

    Args:
        folder: Where JUnit file and record are written; it stays.
        project: Working directory of the run.
        source: Folder whose lines the workers of pytest-xdist measure; empty for none.
    """
    junit, record = folder / "junit.xml", folder / RECORD
    for path in (junit, record):
        path.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="preflight-") as own:
        plugin = Path(own, "plugin", "mlx_preflight_record.py")
        plugin.parent.mkdir()
        shutil.copyfile(_PLUGIN, plugin)
        before = os.environ.get("PYTHONPATH")
        yield Files(
            junit,
            record,
            # Pytest expands variables in the name of the JUnit file: that of a folder may hold $.
            # The cache is of its own, and empty: with the last run's, `--lf` left tests out.
            (
                *("-p", plugin.stem, f"--junitxml={os.path.relpath(junit, project)}"),
                *("-o", f"cache_dir={Path(own, 'cache')}"),
            ),
            {
                "PYTHONPATH": os.pathsep.join(filter(None, (str(plugin.parent), before))),
                _RECORD: str(record),
                **({_SOURCE: source} if source else {}),
            },
        )


def progress(record: Path) -> str:
    """Return how many tests of a run in progress have ended; empty where none has begun."""
    try:
        # The last line may be half written.
        text = record.read_text(encoding="utf-8").rpartition("\n")[0]
        collected = {name for line in text.splitlines()[:50] for name in _collected(line)}
    except (OSError, ValueError):
        return ""
    ended = set(re.findall(r'^\{"reported": ("(?:[^"\\]|\\.)*")', text, re.MULTILINE))
    return f"{len(ended)} of {len(collected)} tests" if collected else ""


def _collected(line: str) -> list[str]:
    found: list[str] = json.loads(line).get("collected", [])
    return found


def last_lines(ran: ChildRun) -> str:
    """Return why pytest died, or its last lines without coverage's remarks on them."""
    lines = [
        line
        for line in f"{ran.stdout}\n{ran.stderr}".splitlines()
        if line.strip() and "CoverageWarning" not in line and "self._warn(" not in line
    ]
    return ran.signal_reason() or redact("\n".join(lines[-5:])) or "it printed nothing"


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_BYTES:
        raise ResultError(f"{path}: over {MAX_BYTES} bytes")
    return path.read_text(encoding="utf-8")


def _case(case: ET.Element) -> Case:
    name = f"{case.get('classname', '')}::{case.get('name', '')}".removeprefix("::")
    for tag, outcome in (
        ("failure", outcomes.FAILED),
        ("error", outcomes.FAILED),
        ("skipped", outcomes.SKIPPED),
    ):
        if (found := case.find(tag)) is not None:
            message = found.get("message")
            if message == _COLLECTION:
                # pytest keeps the cause in the text only, behind "E".
                cause = re.search(r"^E\s+(.+)$", found.text or "", re.MULTILINE)
                message = cause[1] if cause else message
            return Case(name, outcome, _first(message))
    return Case(name, outcomes.PASSED, "")


def _first(message: str | None) -> str:
    lines: Sequence[str] = (message or "no message").strip().splitlines()
    return lines[0][:120] if lines else "no message"
