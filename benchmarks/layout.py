"""Draw the folders of the sources and their import arrows: `python benchmarks/layout.py`.

One JSON document: folders, arrows between them, circles of files, modules at the package's
root, lines. `tests/test_layout.py` reads the same graph and says which arrows may be there.
Imports inside functions and under `TYPE_CHECKING` count like any other.
"""

from __future__ import annotations

import ast
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

SRC = Path(__file__).resolve().parents[1] / "src"


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, seen in one file.

    Attributes:
        module: Dotted name, as far as it is a module.
        at_start: Whether importing the file runs it: not in a function, not for types only.
    """

    module: str
    at_start: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """The modules below a folder and what each imports.

    Attributes:
        paths: Dotted name of a module → its file, relative to the folder.
        imports: Dotted name → its imports, also from outside.
        lines: Lines of all files.
    """

    paths: Mapping[str, Path]
    imports: Mapping[str, tuple[Import, ...]]
    lines: int

    def folder(self, module: str) -> str:
        """Return the folder of a module, such as `mlx_preflight/memory/replay`."""
        return self.paths[module].parent.as_posix()

    def arrows(self) -> dict[tuple[str, str], list[tuple[str, str]]]:
        """Return importing and imported folder → the modules between which the arrow runs."""
        found = defaultdict(list)
        for module, target in self.inner():
            pair = self.folder(module), self.folder(target)
            if pair[0] != pair[1]:
                found[pair].append((module, target))
        return dict(found)

    def inner(self) -> Iterator[tuple[str, str]]:
        """Yield importing and imported module, both of this layout."""
        for module, imports in self.imports.items():
            for target in dict.fromkeys(item.module for item in imports):
                if target in self.paths and target != module:
                    yield module, target

    def circles(self) -> list[list[str]]:
        """Return each set of modules that import each other in a loop, sorted."""
        below = defaultdict(set)
        for module, target in self.inner():
            below[module].add(target)
        reached = {module: _reach(module, below) for module in self.paths}
        found = {
            tuple(sorted(m for m in reached[module] if module in reached[m]))
            for module in self.paths
            if module in reached[module]
        }
        return sorted(map(list, found))

    def started(self, *modules: str) -> set[str]:
        """Return what importing some modules runs, themselves and their packages included."""
        found: set[str] = set()
        waiting = list(modules)
        while waiting:
            module = waiting.pop()
            parts = module.split(".")
            for size in range(1, len(parts) + 1):
                name = ".".join(parts[:size])
                if name in self.paths and name not in found:
                    found.add(name)
                    waiting += [item.module for item in self.imports[name] if item.at_start]
        return found

    def order(self) -> list[str]:
        """Return the folders, each above all that it imports; a circle of folders is an error."""
        below: dict[str, set[str]] = {self.folder(module): set() for module in self.paths}
        for upper, lower in self.arrows():
            below[upper].add(lower)
        return list(reversed(list(TopologicalSorter(below).static_order())))


def read(src: Path) -> Layout:
    """Return the layout of the packages below a folder."""
    paths, texts = {}, {}
    for path in sorted(src.rglob("*.py")):
        relative = path.relative_to(src)
        parts = relative.with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        paths[name] = relative
        texts[name] = path.read_text(encoding="utf-8")
    imports = {
        name: tuple(
            _imports(ast.parse(text).body, name, paths, package=paths[name].stem == "__init__")
        )
        for name, text in texts.items()
    }
    return Layout(paths, imports, sum(len(text.splitlines()) for text in texts.values()))


def _imports(
    body: list[ast.stmt], name: str, paths: Mapping[str, Path], *, package: bool
) -> Iterator[Import]:
    """Yield what a module imports, wherever the statement stands."""
    start = set(_at_start(body))
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(alias.name, node in start)
            elif isinstance(node, ast.ImportFrom):
                base = (node.module or "").split(".") if node.module else []
                if node.level:
                    own = name.split(".")
                    base = [*own[: len(own) - node.level + package], *base]
                for alias in node.names:
                    whole = ".".join([*base, alias.name])
                    yield Import(whole if whole in paths else ".".join(base), node in start)


def _at_start(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that importing a module runs."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            yield from _at_start(statement.orelse)
            continue
        yield statement
        for field in ("body", "orelse", "finalbody"):
            yield from _at_start(getattr(statement, field, []))
        for handler in getattr(statement, "handlers", []):
            yield from _at_start(handler.body)


def _reach(module: str, below: Mapping[str, set[str]]) -> set[str]:
    """Return what a module imports, directly or through others."""
    found: set[str] = set()
    waiting = [*below.get(module, ())]
    while waiting:
        target = waiting.pop()
        if target not in found:
            found.add(target)
            waiting += below.get(target, ())
    return found


def at_root(layout: Layout) -> list[str]:
    """Return the files at the root of the package `mlx_preflight`."""
    root = "mlx_preflight"
    return sorted(p.name for m, p in layout.paths.items() if p.parent.as_posix() == root)


def figures(src: Path = SRC) -> dict[str, object]:
    """Return the figures of the layout."""
    layout = read(src)
    return {
        "folders": len({layout.folder(module) for module in layout.paths}),
        "modules": len(layout.paths),
        "arrows_between_folders": len(layout.arrows()),
        "circles_of_files": layout.circles(),
        "files_at_the_root": at_root(layout),
        "lines": layout.lines,
    }


if __name__ == "__main__":
    print(json.dumps(figures(), indent=1))
