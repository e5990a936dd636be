"""Relative links of a document, resolved on disk with their anchors; nothing is fetched."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlx_preflight.core.errors import PreflightError
from mlx_preflight.criteria.markdown.document import Document
from mlx_preflight.criteria.markdown.results import load_document

MAX_LINKS = 500


def relative_links(document: Document) -> list[str]:
    """Return the distinct links of a document that name no other host."""
    every = [link for section in document.root.walk() for link in section.links]
    return list(dict.fromkeys(link for link in every if link and not any(urlsplit(link)[:2])))


def link_problems(document: Document, root: Path) -> list[str]:
    """Return what is wrong with each relative link that leads nowhere in the project's folder.

    Raises:
        PreflightError: There are more links than are checked.
    """
    links = relative_links(document)
    if len(links) > MAX_LINKS:
        raise PreflightError(f"{len(links)} links, at most {MAX_LINKS} are checked")
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
        found = load_document(target)
        anchors[target] = found if isinstance(found, str) else found.anchors()
    known = anchors[target]
    if isinstance(known, str):
        return f"{link}: {known}"
    return "" if unquote(parts.fragment) in known else f"{target.name} has no #{parts.fragment}"
