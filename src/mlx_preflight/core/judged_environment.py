"""The Python environment that a session judges: what is installed there, seen from outside.

The harness runs in a venv of its own, so it asks the other interpreter in a child. Standard
library only: the comparison of frameworks runs with nox's interpreter.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mlx_preflight.core.child import run_child
from mlx_preflight.core.errors import ChildError
from mlx_preflight.core.json_file import parse_json

_PROBE = """
import importlib.metadata as metadata, json, os, platform, sys
def full(info):
    version = "%d.%d.%d" % info[:3]
    return version if info[3] == "final" else version + info[3][0] + str(info[4])
packages = []
for item in metadata.distributions():
    name, version = item.metadata["Name"], item.metadata["Version"]
    if name and version:
        origin = item.read_text("direct_url.json") or "{}"
        packages.append([name, version, item.requires or [], origin])
print("\\n" + json.dumps({
    "prefix": sys.prefix,
    "markers": {
        "implementation_name": sys.implementation.name,
        "implementation_version": full(sys.implementation.version),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "platform_python_implementation": platform.python_implementation(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    },
    "packages": packages,
}))
"""

_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Package:
    """One installed distribution.

    Attributes:
        requires: Its requirements, as its metadata states them.
        origin: Address that it was installed from; empty where an index gave it.
    """

    name: str
    version: str
    requires: tuple[str, ...]
    origin: str


@dataclass(frozen=True, slots=True)
class Environment:
    """Everything that one interpreter can import from distributions.

    Attributes:
        python: The interpreter.
        prefix: Its `sys.prefix`.
        markers: Values of the environment markers (PEP 508) there.
        packages: Normalised name → distribution; of two the first on its path.
    """

    python: Path
    prefix: str
    markers: Mapping[str, str]
    packages: Mapping[str, Package]

    @property
    def digest(self) -> str:
        """Return the SHA-256 of its sorted `name==version` lines."""
        lines = sorted(f"{name}=={item.version}\n" for name, item in self.packages.items())
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def version(self, name: str) -> str | None:
        """Return the version of a distribution, or None where it is not installed."""
        found = self.packages.get(normalise(name))
        return found.version if found else None

    def to_json(self, project: Path) -> dict[str, Any]:
        """Return what a result keeps; a path inside the project is relative to it."""
        prefix = Path(self.prefix)
        inside = prefix.is_relative_to(project)
        return {
            "path": str(prefix.relative_to(project) if inside else prefix),
            "python": self.markers["python_full_version"],
            "count": len(self.packages),
            "digest": self.digest,
            "packages": {name: item.version for name, item in sorted(self.packages.items())},
        }


def normalise(name: str) -> str:
    """Return a distribution's normalised name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def inspect(python: Path = Path(sys.executable)) -> Environment:
    """Ask an interpreter what is installed for it.

    Raises:
        ChildError: It does not start, or gives no usable answer.
    """
    if python.is_dir() or not os.access(python, os.X_OK):
        raise ChildError(
            f"cannot start {python}: no such program",
            hint="name the interpreter of the project's environment with --python",
        )
    # A folder of its own: the current one would be the first place of imports.
    with tempfile.TemporaryDirectory(prefix="preflight-inspect-") as folder:
        done = run_child([str(python), "-c", _PROBE], cwd=Path(folder), timeout_s=_TIMEOUT_S)
    try:
        found = parse_json(done.stdout.rsplit("\n", 2)[-2])
        packages: dict[str, Package] = {}
        for name, version, requires, origin in found["packages"]:
            item = Package(name, version, tuple(requires), _address(origin))
            packages.setdefault(normalise(name), item)
        return Environment(python, str(found["prefix"]), dict(found["markers"]), packages)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        cause = done.signal_reason() or done.tail(2) or f"exit {done.returncode}"
        raise ChildError(
            f"{python} does not say what is installed for it: {cause}",
            hint="remove the venv, so that the next run makes it again",
        ) from error


def _address(text: str) -> str:
    """Return the address in a `direct_url.json` (PEP 610); empty where there is none."""
    try:
        found = parse_json(text)
    except ValueError:
        return ""
    return str(found.get("url", "")) if isinstance(found, dict) else ""
