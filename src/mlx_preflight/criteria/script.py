"""Scripts of the plan: each exists, is Python with code in it, and is documented."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.core.result import Evidence, Outcome, Status

FOLDER, DOCUMENTS = "scripts/training", "docs/training"


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
