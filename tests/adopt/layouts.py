"""Three projects of different layout, and one fault for each gate that applies to them."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.gates import osv, sample

if TYPE_CHECKING:
    from pathlib import Path

BUILD = """[build-system]
requires = ["hatchling>=1.27,<2"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "1.0"
dependencies = ["web"]

"""

TOOLS = """[tool.ruff.lint]
select = ["E", "F"]

[tool.mypy]
strict = true
mypy_path = "{path}"

# The noxfile that init writes imports this package, which takes mypy a minute.
[[tool.mypy.overrides]]
module = "mlx_preflight.*"
follow_imports = "skip"

[tool.pytest.ini_options]
pythonpath = ["{path}"]
# Plugins of this venv that the sample has no use for cost 1.4 s a run.
addopts = "-p no:hypothesispytest -p no:anyio"
"""


@dataclass(frozen=True)
class Layout:
    """Hold one project.

    Attributes:
        module: Name of its module, in the folder or file `place`.
        off: Gates that cannot apply.
        source: Folder that init finds.
    """

    name: str
    module: str
    place: str
    path: str
    source: str
    packaged: bool = True
    acceptance: bool = True
    off: frozenset[str] = frozenset()
    table: str = field(default="", compare=False)

    @property
    def files(self) -> dict[str, str]:
        """Return its files."""
        tools = TOOLS.format(path=self.path)
        test = sample.TEST.replace("from sample", f"from {self.module}")
        pyproject = BUILD.format(name=self.module) + tools if self.packaged else tools
        files = {"pyproject.toml": pyproject, self.place: sample.MODULE, "tests/test_add.py": test}
        if self.acceptance:
            files["tests/integration/test_whole.py"] = test
        return files

    @property
    def beside(self) -> str:
        """Return the path of another module beside its own."""
        return f"{self.place.rpartition('/')[0]}/alone.py".lstrip("/")

    def write(self, folder: Path) -> Path:
        """Write the project, an environment to audit and a database to ask."""
        advisory = {
            **osv.advisory("web", "1.0"),
            "modified": dt.datetime.now(dt.UTC).isoformat(),
        }
        control = {**osv.advisory("jinja2", "2.10"), "modified": advisory["modified"]}
        for name, text in {
            **self.files,
            "osv/one.json": json.dumps(advisory | {"affected": _only("worse", "1.0")}),
            "osv/two.json": json.dumps(control),
            "site/web.dist-info/METADATA": metadata("2.0"),
        }.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return folder


def _only(name: str, version: str) -> list[dict[str, object]]:
    return [{"package": {"name": name, "ecosystem": "PyPI"}, "versions": [version]}]


def metadata(version: str, name: str = "web") -> str:
    """Return the metadata of an installed package."""
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


LAYOUTS = (
    Layout("src", "alpha", "src/alpha/__init__.py", "src", "src"),
    Layout("flat", "beta", "beta/__init__.py", ".", "beta"),
    Layout(
        *("scripts", "gamma", "gamma.py", ".", "."),
        packaged=False,
        acceptance=False,
        off=frozenset({"gate5-integration", "gate7-build", "gate8-audit"}),
    ),
)


def faults(layout: Layout) -> dict[str, dict[str, str]]:
    """Return gate → text by file, added to it, that only that gate may find fault with."""
    wrong = 'def test_wrong() -> None:\n    assert int("1") == 2\n'
    planted = {
        "gate1-format": {"tests/ugly.py": "VALUES = {  'a':1 }\n"},
        "gate2-lint": {"tests/unused.py": "import os\n"},
        "gate3-types": {"tests/typed.py": 'NUMBER: int = "one"\n'},
        "gate4-unit": {"tests/test_wrong.py": wrong},
        "gate5-integration": {"tests/integration/test_wrong.py": wrong},
        "gate6-coverage": {layout.beside: "ONE = 1\nTWO = 2\n"},
        "gate7-build": {"pyproject.toml": "\n[tool.hatch.build]\npackages = 3\n"},
        "gate8-audit": {"site/worse.dist-info/METADATA": metadata("1.0", "worse")},
    }
    return {gate: files for gate, files in planted.items() if gate not in layout.off}
