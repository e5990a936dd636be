"""Builders of what is installed: packages that are hidden, shadowed, in conflict, or changed."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from mlx_preflight.core.child import run_child
from mlx_preflight.core.errors import PreflightError
from mlx_preflight.selftest.injection.case import Sample, Step
from mlx_preflight.selftest.injection.steps import python_path, write

_TIMEOUT_S = 120.0

_SITE = '''"""A planted fault."""
import importlib.machinery, sys

class Loader:
    def __init__(self, loader):
        self.loader = loader
    def create_module(self, spec):
        return self.loader.create_module(spec)
    def exec_module(self, module):
        self.loader.exec_module(module)
        plant(module)
    def __getattr__(self, name):
        return getattr(self.loader, name)

class Finder:
    def find_spec(self, name, path, target=None):
        if name != {module!r}:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None:
            spec.loader = Loader(spec.loader)
        return spec

def fails(error):
    def act(*_, **__):
        raise error
    return act

def plant(module):
{body}

sys.meta_path.insert(0, Finder())
'''


def broken_module(module: str, body: str) -> tuple[Step, Step]:
    """Return what changes a module when any child imports it, as a broken release would.

    Args:
        module: Its name.
        body: Python that changes `module`.
    """
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    text = _SITE.format(module=module, body=lines)
    return write("site/sitecustomize.py", text), python_path("site")


def shadowed(package: str, code: str) -> tuple[Step, Step]:
    """Return what puts another package of the same name before the real one."""
    return write(f"site/{package}/__init__.py", code), python_path("site")


def conflict(folder: str = "site") -> tuple[Step, Step]:
    """Return what installs a distribution whose requirement no environment here meets."""
    metadata = "Metadata-Version: 2.1\nName: conflict\nVersion: 1.0\nRequires-Dist: packaging<1\n"
    return write(f"{folder}/conflict-1.0.dist-info/METADATA", metadata), python_path(folder)


def without(*prefixes: str) -> Step:
    """Return what judges an environment that is this one but for some files.

    Args:
        prefixes: Beginnings of the names in `site-packages` that are not there.
    """

    def act(sample: Sample) -> None:
        venv = sample.folder / "venv"
        made = run_child(
            [sys.executable, "-m", "venv", "--without-pip", str(venv)],
            cwd=sample.folder,
            timeout_s=_TIMEOUT_S,
        )
        if made.returncode:
            raise PreflightError(f"no venv could be made: {made.tail(2)}")
        (site,) = venv.glob("lib/python*/site-packages")
        for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
            if not path.name.startswith(prefixes):
                (site / path.name).symlink_to(path)
        sample.python = venv / "bin" / "python"

    return act
