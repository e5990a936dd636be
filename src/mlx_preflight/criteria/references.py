"""Resolve a document's relative links on disk, with their anchors. Nothing is fetched."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlx_preflight.criteria import structure
from mlx_preflight.criteria.structure import Document
from mlx_preflight.errors import PreflightError

MAX_LINKS = 500


def relative(document: Document) -> list[str]:
    """Return the distinct links of a document that name no other host."""
    every = [link for section in document.root.walk() for link in section.links]
    return list(dict.fromkeys(link for link in every if link and not _foreign(link)))


def problems(document: Document, root: Path) -> list[str]:
    """Return what is wrong with each relative link that leads nowhere in the project's folder.

    Raises:
        PreflightError: There are more links than are examined.
    """
    links = relative(document)
    if len(links) > MAX_LINKS:
        raise PreflightError(f"{len(links)} links, at most {MAX_LINKS} are examined")
    anchors: dict[Path, set[str] | str] = {document.path.resolve(): document.anchors()}
    return [text for link in links if (text := _problem(document, link, root, anchors))]


def _problem(document: Document, link: str, root: Path, anchors: dict[Path, set[str] | str]) -> str:
    parts = urlsplit(link)
    try:
        resolved = (document.path.parent / unquote(parts.path)).resolve()
        target = resolved if parts.path else document.path.resolve()
        inside, there = target.is_relative_to(root.resolve()), target.exists()
    except (ValueError, OSError) as error:
        return f"{link[:80]}: {error}"
    if not inside:
        return f"{link} leads out of the project"
    if not there:
        return f"{link} does not exist"
    if not parts.fragment:
        return ""
    if target not in anchors:
        anchors[target] = _anchors(target)
    known = anchors[target]
    if isinstance(known, str):
        return f"{link}: {known}"
    return "" if unquote(parts.fragment) in known else f"{target.name} has no #{parts.fragment}"


def _anchors(target: Path) -> set[str] | str:
    try:
        return structure.read(target).anchors()
    except PreflightError as error:
        return str(error)


def _foreign(link: str) -> bool:
    parts = urlsplit(link)
    return bool(parts.scheme or parts.netloc)
