"""Scripts of the plan: each exists, is Python with code in it, is documented, and runs."""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.core.child import child_environment, run_child
from mlx_preflight.core.json_file import write_json
from mlx_preflight.core.result import Evidence, Outcome, SessionResult, Status
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.run.context import Context

FOLDER, DOCUMENTS = "scripts/training", "docs/training"

MEASURED = "PREFLIGHT_MEASURED"
"""Names the file with what the session measured: a script on `command.main` measures no twice."""


@dataclass(frozen=True, slots=True)
class Script:
    """Facts about a script.

    Attributes:
        name: Its file below `scripts/training`.
        problem: Why it is no script; empty where it is one.
        document: Name of the first document that names it; empty where none does.
    """

    name: str
    problem: str
    document: str


def inspect(project: Path, name: str) -> Script:
    """Parse a script, and look for the document that names it."""
    stem = name.removesuffix(".py")
    documents = sorted((project / DOCUMENTS).glob("*.md"))
    named = (path.name for path in documents if stem in _text(path))
    return Script(name, _problem(project / FOLDER / name), next(named, ""))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _problem(path: Path) -> str:
    try:
        body = ast.parse(path.read_text(encoding="utf-8")).body
    except OSError as error:
        return f": {error.strerror or error}"
    except (SyntaxError, ValueError) as error:
        return f" is not Python: {error}"
    # A text alone, `...` and `pass` do nothing.
    for node in body:
        constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not constant and not isinstance(node, ast.Pass):
            return ""
    return " holds no code"


def exists(script: Script) -> Outcome:
    """Pass a script that is there, parses, and holds code."""
    status = Status.FAIL if script.problem else Status.PASS
    reason = f"{FOLDER}/{script.name}{script.problem or ' is there'}"
    return Outcome(status, reason, Evidence.STATIC)


def documented(script: Script) -> Outcome:
    """Pass a script that a document under `docs/training` names."""
    if script.document:
        return Outcome(Status.PASS, f"{DOCUMENTS}/{script.document} names it", Evidence.STATIC)
    reason = f"no document in {DOCUMENTS}/ names {script.name.removesuffix('.py')}"
    return Outcome(Status.FAIL, reason, Evidence.STATIC)


def confirm(
    context: Context, finished: SessionResult, *, name: str, check: str, says: Sequence[str]
) -> dict[str, Outcome]:
    """Run the plan's script and believe what it says at its end: its exit code and its lines.

    Args:
        context: The run.
        finished: What the session measured; the script is handed it.
        name: The script.
        check: Id of the check that the script runs without errors.
        says: What it must print, as the plan's own greps.

    Returns:
        The check's outcome where the script contradicts it, else nothing.
    """
    (mine,) = (item for item in finished.checks if item.id == check)
    by_hand = context.state == Workspace.of(context.project).scripts.folder
    if mine.status is not Status.PASS or by_hand or _problem(context.project / FOLDER / name):
        return {}
    with tempfile.TemporaryDirectory(prefix="preflight-") as folder:
        measured = Path(folder, "measured.json")
        write_json(measured, finished.to_json())
        done = run_child(
            [str(context.python), f"{FOLDER}/{name}"],
            cwd=context.project,
            timeout_s=context.settings.timeout_s,
            env=child_environment({MEASURED: str(measured)}),
        )
    # Where another check failed, the script says so as well.
    codes = {status.exit_code for status in Status} if finished.status is not Status.PASS else {0}
    silent = [text for text in says if text not in done.stdout]
    if done.returncode in codes and not silent:
        return {}
    ended = done.exit_reason() if done.returncode not in codes else f"it never said {silent[0]!r}"
    last = done.tail(1)
    reason = f"{FOLDER}/{name} does not do what it is for: {ended}{f': {last}' if last else ''}"
    return {
        check: Outcome(Status.FAIL, reason, remedy=f"run `python3 {FOLDER}/{name}` and mend it")
    }
