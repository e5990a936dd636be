"""Judge that a script of the plan exists, runs as Python, and is named in the documents."""

from __future__ import annotations

import ast
from pathlib import Path

from mlx_preflight.result import Evidence, Outcome, Status

FOLDER, DOCUMENTS = "scripts/training", "docs/training"


def exists(project: Path, name: str) -> Outcome:
    """Pass when `scripts/training/<name>` is there, parses, and holds code."""
    path = project / FOLDER / name
    try:
        body = ast.parse(path.read_text(encoding="utf-8")).body
    except OSError as error:
        reason = f"{FOLDER}/{name}: {error.strerror or error}"
        return Outcome(Status.FAIL, reason, Evidence.STATIC)
    except (SyntaxError, ValueError) as error:
        return Outcome(Status.FAIL, f"{FOLDER}/{name} is not Python: {error}", Evidence.STATIC)
    # A text alone, `...` and `pass` do nothing.
    if all(isinstance(node, ast.Pass) or _is_constant(node) for node in body):
        return Outcome(Status.FAIL, f"{FOLDER}/{name} holds no code", Evidence.STATIC)
    return Outcome(Status.PASS, f"{FOLDER}/{name} is there", Evidence.STATIC)


def _is_constant(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def documented(project: Path, name: str) -> Outcome:
    """Pass when a document under `docs/training` names the script."""
    stem = name.removesuffix(".py")
    for path in sorted((project / DOCUMENTS).glob("*.md")):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if stem in text:
            return Outcome(Status.PASS, f"{DOCUMENTS}/{path.name} names it", Evidence.STATIC)
    reason = f"no document in {DOCUMENTS}/ names {stem}"
    return Outcome(Status.FAIL, reason, Evidence.STATIC)
