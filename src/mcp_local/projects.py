"""Projects that the server was started for; clients are confined to paths within them."""

from __future__ import annotations

import re
from pathlib import Path

from mlx_preflight.core.errors import UsageError

_HUB = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_MAX_PATH = 1000


class Projects:
    """Projects of a server; the first is the default."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        """Resolve the folders.

        Raises:
            UsageError: One is no folder, or none is given.
        """
        self.folders = tuple(dict.fromkeys(path.resolve() for path in folders))
        for path in self.folders:
            if not path.is_dir():
                raise UsageError(f"{path}: not a folder")
        if not self.folders:
            raise UsageError("no project was given")

    def find(self, name: str) -> Path:
        """Return a project by path or folder name; an empty name is the first.

        Raises:
            UsageError: The server was not started for it, or for several of that name.
        """
        if not name:
            return self.folders[0]
        found = [path for path in self.folders if name in (str(path), path.name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(f"project {name[:200]!r} is one of several; name it by its path")
        known = ", ".join(str(path) for path in self.folders)
        raise UsageError(f"project {name[:200]!r} is not served here; served: {known}")

    def model(self, name: str, project: Path) -> str:
        """Return a model that may be looked at: built-in, `embedded`, hub id, or in the project.

        Raises:
            UsageError: It is a path outside the project, or no name at all.
        """
        if _NAME.fullmatch(name) and not (project / name).exists():
            return name
        if _HUB.fullmatch(name) and ".." not in name and not (project / name).exists():
            return name
        path = self.inside(project, name)
        if not path.exists():
            raise UsageError(f"model {name[:200]!r}: neither a known name nor a path in {project}")
        return str(path)

    def data(self, name: str, project: Path) -> str:
        """Return training data that may be looked at: a hub id, or a folder in the project.

        Raises:
            UsageError: It is a path outside the project, or not there.
        """
        if _HUB.fullmatch(name) and ".." not in name and not (project / name).exists():
            return name
        path = self.inside(project, name)
        if not path.is_dir():
            raise UsageError(f"data {name[:200]!r}: neither a hub id nor a folder in {project}")
        return str(path)

    def file(self, name: str, project: Path) -> str:
        """Return a file of the project, by its path below it.

        Raises:
            UsageError: It is outside the project, or no file.
        """
        path = self.inside(project, name)
        if not path.is_file():
            raise UsageError(f"{name[:200]!r}: no file in {project}")
        return str(path.relative_to(project))

    def inside(self, project: Path, name: str) -> Path:
        """Return a path below a project.

        Raises:
            UsageError: It leads out of it, also through a link.
        """
        if "\0" in name or len(name) > _MAX_PATH:
            raise UsageError(f"a path with a NUL, or over {_MAX_PATH} characters")
        path = (project / name).resolve()
        if not path.is_relative_to(project):
            raise UsageError(f"{name[:200]!r} leads out of {project}")
        return path
