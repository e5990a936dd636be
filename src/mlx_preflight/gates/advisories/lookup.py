"""Lookups at an OSV service: the records of an advisory and of its aliases."""

from __future__ import annotations

import datetime as dt
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from mlx_preflight.core.errors import AdvisoryError
from mlx_preflight.core.json_file import parse_json
from mlx_preflight.gates.advisories.database import MAX_RECORD_BYTES, DatabaseAge

OSV = "https://api.osv.dev/v1/query"
"""The service behind `audit-service = "osv"`; pip-audit's own default."""

_TIMEOUT_S = 10.0
_WORKERS = 8
_MAX_RECORDS = 32
"""Records that one advisory and its aliases may have; real ones have four."""


@dataclass(frozen=True, slots=True)
class Records:
    """Records of one advisory.

    Attributes:
        found: OSV records of the advisory and its aliases.
        unread: Ids that the service could not or would not answer.
    """

    found: tuple[dict[str, Any], ...]
    unread: tuple[str, ...]


def records(query_url: str, advisories: Iterable[Iterable[str]]) -> list[Records]:
    """Look up several advisories, each with its aliases' aliases.

    Args:
        query_url: Address of the service's `/v1/query`.
        advisories: The ids under which each advisory is known.
    """
    with ThreadPoolExecutor(max_workers=_WORKERS) as pool:
        return list(pool.map(lambda names: _closure(query_url, names), advisories))


def database_age(query_url: str) -> DatabaseAge | None:
    """Return the age of a service's database; None when it does not say.

    Raises:
        AdvisoryError: The service says something that is no date and count, or nothing at all.
    """
    document = _get(f"{_base(query_url)}/database")
    if document is None:
        return None
    try:
        date, count = dt.datetime.fromisoformat(document["date"]), int(document["count"])
    except (KeyError, TypeError, ValueError) as error:
        raise AdvisoryError(f"{query_url}: no date of its database: {error!r}") from error
    return DatabaseAge(query_url, date if date.tzinfo else date.replace(tzinfo=dt.UTC), count)


def _closure(query_url: str, names: Iterable[str]) -> Records:
    found: list[dict[str, Any]] = []
    unread: list[str] = []
    waiting, seen = list(names), set(names)
    while waiting:
        name = waiting.pop(0)
        if len(found) + len(unread) >= _MAX_RECORDS:
            unread.append(f"{len(waiting) + 1} more")
            break
        try:
            record = _get(f"{_base(query_url)}/vulns/{quote(name, safe='')}")
        except AdvisoryError:
            unread.append(name)
            continue
        if record is None:
            continue
        found.append(record)
        for alias in record.get("aliases") or []:
            if isinstance(alias, str) and alias not in seen:
                seen.add(alias)
                waiting.append(alias)
    return Records(tuple(found), tuple(unread))


def _base(query_url: str) -> str:
    parts = urlsplit(query_url)
    if parts.scheme not in ("http", "https"):
        raise AdvisoryError(f"{query_url}: expected an http or https address")
    return query_url.removesuffix("/").removesuffix("/query")


def _get(url: str) -> dict[str, Any] | None:
    """Return a JSON object, or None where the service knows none (404)."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310  (see _base)
            data = answer.read(MAX_RECORD_BYTES + 1)
        document = parse_json(data) if len(data) <= MAX_RECORD_BYTES else None
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.NOT_FOUND:
            return None
        raise AdvisoryError(f"{url}: {error}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AdvisoryError(f"{url}: {error}") from error
    if not isinstance(document, dict):
        raise AdvisoryError(f"{url}: no JSON object of at most {MAX_RECORD_BYTES} bytes")
    return document
