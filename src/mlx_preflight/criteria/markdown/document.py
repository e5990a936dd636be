"""Parsed Markdown document: sections with their lists, tables, code and links.

The criteria on documents judge this tree and never the raw text, so words in a comment,
in a script or in raw HTML count for nothing. It must not judge anything itself.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from mlx_preflight.core.errors import PreflightError
from mlx_preflight.criteria.markdown.prose import words

MAX_BYTES = 250_000
"""A document over this size is refused unparsed. A long guide has 30 kB; the worst that was
tried (250 kB of table rows, or of brackets) takes 6 s to parse on a 2-core machine."""
MIN_WORDS = 20
"""A document with fewer words counts as empty."""


@dataclass(frozen=True, slots=True)
class Listing:
    """List; `label` is the paragraph right before it, or of the item around it."""

    label: str
    ordered: bool
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Table as plain text."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Code:
    """Fenced block; `info` is what follows the fence, such as `bash linux`."""

    info: str
    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """Heading with everything under it; the root has level 0 and no title."""

    level: int
    title: str
    anchor: str
    paragraphs: tuple[str, ...]
    lists: tuple[Listing, ...]
    tables: tuple[Table, ...]
    codes: tuple[Code, ...]
    links: tuple[str, ...]
    children: tuple[Section, ...]

    def walk(self) -> Iterator[Section]:
        """Yield this section and everything below it, in document order."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def prose(self) -> str:
        """Return paragraphs and list items of this section and those below it."""
        parts: list[str] = []
        for section in self.walk():
            parts += section.paragraphs
            for listing in section.lists:
                parts += listing.items
        return "\n".join(parts)


@dataclass(frozen=True, slots=True)
class Document:
    """Parsed document."""

    path: Path
    root: Section

    def sections(self) -> list[Section]:
        """Return every section below the root, without the document's own title."""
        every = list(self.root.walk())[1:]
        return every[1:] if every and every[0].level == 1 else every

    def find(self, pattern: str) -> Section | None:
        """Return the first section whose title matches, ignoring case."""
        return next(
            (s for s in self.sections() if re.search(pattern, s.title, re.IGNORECASE)), None
        )

    def anchors(self) -> set[str]:
        """Return the anchors that a link may name."""
        return {section.anchor for section in self.root.walk() if section.anchor}


@dataclass(slots=True)
class _Draft:
    level: int = 0
    title: str = ""
    anchor: str = ""
    paragraphs: list[str] = field(default_factory=list)
    lists: list[Listing] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    codes: list[Code] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    def freeze(self, children: tuple[Section, ...]) -> Section:
        parts = {item.name: getattr(self, item.name) for item in fields(self)}
        frozen: dict[str, Any] = {
            name: tuple(x) if isinstance(x, list) else x for name, x in parts.items()
        }
        return Section(**frozen, children=children)


def read_document(path: Path) -> Document:
    """Read and parse a document, which is untrusted input.

    Raises:
        PreflightError: Missing, too large, not UTF-8, or (nearly) empty.
    """
    if not path.is_file():
        raise PreflightError(f"{path.name}: not found in {path.parent}", hint=f"write {path}")
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
        text = raw.decode("utf-8-sig") if len(raw) <= MAX_BYTES else ""
    except OSError as error:
        raise PreflightError(f"{path.name}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PreflightError(f"{path.name}: not UTF-8 at byte {error.start}") from error
    if len(raw) > MAX_BYTES:
        raise PreflightError(f"{path.name}: over {MAX_BYTES} bytes, the limit")
    document = Document(path, parse_sections(text))
    count = len(words(document.root.prose))
    if count < MIN_WORDS:
        raise PreflightError(f"{path.name}: {count} words in it, so it counts as empty")
    return document


def parse_sections(text: str) -> Section:
    """Return the root section of a Markdown text (CommonMark with tables)."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    drafts, seen = [_Draft()], Counter[str]()
    previous: SyntaxTreeNode | None = None
    for node in SyntaxTreeNode(tokens).children:
        if node.type == "heading":
            drafts.append(_heading(node, seen))
        else:
            _take(drafts[-1], node, previous)
        drafts[-1].links += [str(n.attrs.get("href", "")) for n in node.walk() if n.type == "link"]
        previous = node
    return _nest(drafts)[0]


def _nest(drafts: list[_Draft]) -> tuple[Section, ...]:
    sections, start = [], 0
    while start < len(drafts):
        end = start + 1
        while end < len(drafts) and drafts[end].level > drafts[start].level:
            end += 1
        sections.append(drafts[start].freeze(_nest(drafts[start + 1 : end])))
        start = end
    return tuple(sections)


def _heading(node: SyntaxTreeNode, seen: Counter[str]) -> _Draft:
    title = _plain(node)
    # The rule that GitHub's renderer follows for the anchors of headings.
    anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
    seen[anchor] += 1
    unique = anchor if seen[anchor] == 1 else f"{anchor}-{seen[anchor] - 1}"
    return _Draft(level=int(node.tag[1:]), title=title, anchor=unique)


def _take(draft: _Draft, node: SyntaxTreeNode, previous: SyntaxTreeNode | None) -> None:
    if node.type == "paragraph":
        draft.paragraphs.append(_plain(node))
    elif node.type in ("bullet_list", "ordered_list"):
        label = _plain(previous) if previous and previous.type == "paragraph" else ""
        _list(draft, node, label)
    elif node.type == "table":
        rows = [
            tuple(_plain(cell) for cell in row.children) for row in node.walk() if row.type == "tr"
        ]
        draft.tables.append(Table(rows[0], tuple(rows[1:])))
    elif node.type == "fence":
        draft.codes.append(Code(node.info.strip(), node.content))
    elif node.type == "blockquote":
        before: SyntaxTreeNode | None = None
        for child in node.children:
            _take(draft, child, before)
            before = child


def _list(draft: _Draft, node: SyntaxTreeNode, label: str) -> None:
    items = tuple(_plain(item) for item in node.children)
    draft.lists.append(Listing(label, node.type == "ordered_list", items))
    for item in node.children:
        before: SyntaxTreeNode | None = None
        for child in item.children:
            if child.type != "paragraph":
                _take(draft, child, before)
            before = child


def _plain(node: SyntaxTreeNode) -> str:
    """Return the text below a node without code blocks, raw HTML and images."""
    parts: list[str] = []
    for child in node.children:
        if child.type in ("text", "code_inline"):
            parts.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif child.type not in ("fence", "code_block", "html_block", "html_inline", "image"):
            parts.append(_plain(child))
            parts.append(" " if child.block else "")
    return " ".join("".join(parts).split())
