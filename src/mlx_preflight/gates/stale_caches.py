"""Caches that compare whole seconds: a file that changed within one looks unchanged to them.

mypy 2.4 (`build.py`: `int(st.st_mtime)`), CPython 3.11 to 3.14 (`importlib._bootstrap_external`)
and pytest 9 (`assertion/rewrite.py`) all believe a file of the same second and size. Ruff runs
without a cache, and black 26 compares fractions of a second: those two are safe.
"""

from __future__ import annotations

import re
from pathlib import Path

from mlx_preflight.gates.baselines import suppressions

_TAG = re.compile(r"\.(?:cpython|pypy|graalpy)-?\d.*\.pyc$")
"""What follows the module's name in a compiled file, pytest's own included."""


def forget_types(cache: Path, project: Path, started: float) -> None:
    """Remove what mypy keeps of files that may change again within the second it saw.

    Args:
        cache: mypy's cache folder, after a run.
        project: Root of the files.
        started: When that run began, in seconds since the epoch.
    """
    young = {
        (path.parent.name, path.stem)
        for path in suppressions.python_files(project)
        if _second(path) >= int(started)
    }
    stems = {stem for _, stem in young}
    # The cache names a file by its module, so at least by its name and its folder's.
    for meta in cache.rglob("*.meta.*") if young else ():
        stem, folder = meta.name.partition(".")[0], meta.parent
        top_level = folder.parent == cache and stem in stems
        if top_level or (folder.name, stem) in young:
            meta.unlink(missing_ok=True)


def forget_bytecode(project: Path, prefix: str = "") -> None:
    """Remove compiled files that were written in the very second of their source.

    Args:
        project: Root of the sources.
        prefix: `PYTHONPYCACHEPREFIX`, where it is set.
    """
    for folder in {path.parent for path in suppressions.python_files(project)}:
        compiled = Path(prefix, *folder.parts[1:]) if prefix else folder / "__pycache__"
        for path in compiled.glob("*.pyc"):
            source = folder / f"{_TAG.sub('', path.name)}.py"
            # It was read up to a second before it was written.
            if _second(path) <= _second(source) + 1:
                path.unlink(missing_ok=True)


def _second(path: Path) -> int:
    """Return when a file changed last, as those caches see it; -2 where it is gone."""
    try:
        return int(path.stat().st_mtime)
    except OSError:
        return -2
