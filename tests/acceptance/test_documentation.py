"""README and docs/: commands run, links and paths lead somewhere, sentences are short."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from mlx_preflight.criteria.markdown.document import read_document
from mlx_preflight.criteria.markdown.links import link_problems, relative_links

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
MAX_README_LINES, MAX_WORDS = 120, 30
EMBEDDED = next((ROOT / "src").glob("**/embedded"))
EMBEDDED_ROWS = EMBEDDED.with_name("embedded_rows")
ADVISORIES = next((ROOT / "tests").glob("**/pypa-*.zip"))
TRAINING = """model: ./my-model
data: ./data
train: true
iters: 20
num_layers: -1
max_seq_length: 256
"""
"""A run that the pages judge."""

SHELL, SHOWN = "bash", ("bash", "text", "toml", "json", "python", "diff")
TABLE: list[dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("documentation_commands.toml").read_text(encoding="utf-8")
)["command"]
INLINE = ("mlx-preflight ", "python3 -m ")
"""Starts of the code in README's sentences and tables that is a command."""

ROWS = {command: row for row in TABLE for command in row["run"]}
"""Commands that a test cannot type as they stand."""

START = """\
PREFLIGHT_RUN_ID=run-1 mlx-preflight check ac5-inference
PREFLIGHT_RUN_ID=run-1 mlx-preflight check ac6-memory
PREFLIGHT_RUN_ID=run-1 mlx-preflight summary
PREFLIGHT_RUN_ID=run-2 mlx-preflight check e2e
PREFLIGHT_RUN_ID=run-2 mlx-preflight summary
mkdir results-of-jobs && cp .preflight/results/e2e.json results-of-jobs
"""
"""Two runs whose reports, results and records the commands read."""

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def nodes(page: Path) -> Iterator[SyntaxTreeNode]:
    """Yield every node of a page."""
    tokens = MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))
    yield from SyntaxTreeNode(tokens).walk()


def commands(page: Path) -> list[str]:
    """Return the commands of a page's shell blocks, and of README's sentences and tables.

    A trailing comment is no part of a command.
    """
    found = []
    for node in nodes(page):
        if node.type == "fence" and node.info == SHELL:
            found += node.content.replace("\\\n", " ").splitlines()
        elif node.type == "code_inline" and page == README and node.content.startswith(INLINE):
            found.append(node.content)
    stripped = (re.sub(r"\s+# .*", "", line).strip() for line in found)
    return list(dict.fromkeys(line for line in stripped if line))


def text_of(node: SyntaxTreeNode) -> str:
    """Return the text of an inline node, in which code is one word whatever it holds."""
    parts = []
    for child in node.children:
        if child.type == "code_inline":
            parts.append("code")
        elif child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif child.type == "text":
            parts.append(child.content)
        elif child.children:
            parts.append(text_of(child))
    return "".join(parts)


def sentences(page: Path) -> Iterator[str]:
    """Yield the sentences of paragraphs, items, headings and cells."""
    for node in nodes(page):
        if node.type == "inline":
            yield from re.split(r"(?<=[.!?])\s+", text_of(node))


def test_the_readme_is_short() -> None:
    """A newcomer reads it in two minutes; everything else is in docs/."""
    assert len(README.read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES


def test_the_readme_keeps_its_two_commands() -> None:
    """The plan and the tests from a machine with nothing set up; CI types the second."""
    kept = ["python3 -m pip install nox uv && python3 -m nox", "python3 -m nox -s tests"]
    assert [command for command in kept if command not in commands(README)] == []
    assert kept[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@each_page
def test_no_sentence_is_long(page: Path) -> None:
    """A sentence over 30 words is two sentences."""
    found = list(sentences(page))
    assert found
    assert [text for text in found if len(text.split()) > MAX_WORDS] == []


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    """Files and anchors exist; nothing is fetched."""
    assert link_problems(read_document(page), ROOT) == []


@each_page
def test_every_path_that_is_named_exists(page: Path) -> None:
    """A path in code that starts with a folder of this repository is a file or folder there."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()} - {".preflight", ".nox"}
    named = [node.content for node in nodes(page) if node.type == "code_inline"]
    paths = [
        name
        for name in named
        if re.fullmatch(r"[\w.*-]+(/[\w.*-]+)+/?", name) and name.partition("/")[0] in folders
    ]
    assert [name for name in paths if not any(ROOT.glob(name.rstrip("/")))] == []


def test_every_page_is_linked_from_the_readme() -> None:
    """Nobody looks for a page that README does not name."""
    links = {link.partition("#")[0] for link in relative_links(read_document(README))}
    assert {f"docs/{page.name}" for page in PAGES[1:]} <= links


def test_the_picture_of_the_layout_shows_every_package() -> None:
    """A package that nobody drew is one that a newcomer does not find."""
    text = (ROOT / "docs" / "development.md").read_text(encoding="utf-8")
    picture = text.partition("```text\nsrc/mlx_preflight/\n")[2].partition("src/mcp_local/")[0]
    drawn, parent = set(), ""
    for line in picture.splitlines():
        name = line.split("/")[0].strip()
        parent = name if line[2] != " " else parent
        drawn.add(name if name == parent else f"{parent}/{name}")
    package = ROOT / "src" / "mlx_preflight"
    there = {path.parent.relative_to(package).as_posix() for path in package.rglob("__init__.py")}
    assert drawn == there - {"."}


def test_every_block_is_of_a_known_kind() -> None:
    """Commands in a block of another kind would be typed by nobody."""
    kinds = {node.info for page in PAGES for node in nodes(page) if node.type == "fence"}
    assert kinds <= set(SHOWN)


def test_the_table_has_a_reason_for_each_command_and_no_stale_one() -> None:
    """A command that is in no document any more leaves the table."""
    documented = {command for page in PAGES for command in commands(page)}
    assert set(ROWS) - documented == set()
    assert all(len(row["reason"].split()) > 5 for row in TABLE)


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory,
    type_command: Callable[[str, Path, Path], subprocess.CompletedProcess[str]],
) -> Path:
    """Return a copy of this project with two judged runs, beside an empty other project."""
    folder = tmp_path_factory.mktemp("documentation") / "here"
    for name in ("docs", "scripts", "src"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "noxfile.py", "README.md"):
        shutil.copy(ROOT / name, folder / name)
    other = folder.parent / "project"
    other.mkdir()
    (other / "pyproject.toml").touch()
    (other / "module.py").write_text("ONE = 1\n", encoding="utf-8")
    (folder / "planned.json").write_text('["e2e"]', encoding="utf-8")
    shutil.copytree(EMBEDDED, folder / "my-model")
    shutil.copytree(EMBEDDED_ROWS, folder / "data")
    (folder / "run.yaml").write_text(TRAINING, encoding="utf-8")
    shutil.copy(ADVISORIES, folder / "all.zip")
    for command in START.splitlines():
        type_command(command, folder, folder.parent)
    records = (folder / ".preflight" / "history" / "records.jsonl").read_text(encoding="utf-8")
    assert len(records.splitlines()) == 2
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_runs(
    page: Path,
    project: Path,
    tmp_path: Path,
    type_command: Callable[[str, Path, Path], subprocess.CompletedProcess[str]],
) -> None:
    """Typed in the project, it ends with 0 and without a traceback, or as the table says."""
    before = {line for earlier in PAGES[: PAGES.index(page)] for line in commands(earlier)}
    for command in commands(page):
        row = ROWS.get(command, {})
        if command in before or row.get("never"):
            continue
        typed = row.get("works", command)
        for old, new in row.get("replace", {}).items():
            typed = typed.replace(old, new)
        done = type_command(typed, project, tmp_path)
        output = done.stdout + done.stderr
        assert done.returncode in row.get("exits", [0]), f"{typed}\n{output[-2000:]}"
        assert "Traceback" not in output, f"{typed}\n{output[-2000:]}"
        assert re.search(row.get("want", ""), output, re.MULTILINE), f"{typed}\n{output[-2000:]}"
