"""Advisory database: a zip or a folder of OSV JSON documents.

The documents are untrusted: they are parsed as JSON and compared, nothing else. One that
cannot be read makes the database unreadable, for it may be the one that matters.
"""

from __future__ import annotations

import datetime as dt
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from mlx_preflight.core.errors import AdvisoryError
from mlx_preflight.core.json_file import parse_json

ECOSYSTEM = "PyPI"

MAX_RECORD_BYTES = 4 * 2**20
"""The largest record of osv.dev's PyPI dump is far below; a larger one is no advisory."""

MAX_RECORDS = 1_000_000

LAST = "last_affected"
"""The event after whose version a package is no longer affected; the others include theirs."""

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DatabaseAge:
    """Age and size of a database.

    Attributes:
        source: A path or an address.
        date: Newest `modified` of its records that is not in the future, UTC.
        count: Records in it.
    """

    source: str
    date: dt.datetime
    count: int

    def age_days(self, now: dt.datetime) -> float:
        """Return the age in days."""
        return (now - self.date).total_seconds() / 86_400

    def __str__(self) -> str:
        """Return `DATE, N advisories`."""
        return f"{self.date:%Y-%m-%d}, {self.count} advisories"


class Database:
    """OSV records by id and by package.

    Attributes:
        age: Its source, date and size.
    """

    def __init__(self, records: Iterable[Record], source: str) -> None:
        """Index the records.

        Raises:
            AdvisoryError: A record has no id, package or date that can be read, or there is none.
        """
        self._by_id: dict[str, Record] = {}
        self._by_package: dict[str, list[Record]] = {}
        now = dt.datetime.now(dt.UTC)
        newest = dt.datetime.min.replace(tzinfo=dt.UTC)
        for record in records:
            name, changed = _checked(record, source)
            self._by_id[name] = record
            # A date in the future would keep an old database fresh forever.
            newest = changed if newest < changed <= now else newest
            for package in _packages(record):
                self._by_package.setdefault(package, []).append(record)
        if not self._by_id:
            raise AdvisoryError(f"{source}: no OSV document in it")
        self.age = DatabaseAge(source, newest, len(self._by_id))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read every `*.json` of a folder or a zip.

        Raises:
            AdvisoryError: There is no such database, or a document in it is not an OSV record.
        """
        try:
            if path.is_dir():
                return cls(_from_folder(path), str(path))
            return cls(_from_zip(path), str(path))
        except (OSError, zipfile.BadZipFile, EOFError) as error:
            raise AdvisoryError(
                f"{path}: no advisory database: {error}",
                hint="name a zip or a folder of OSV JSON documents, such as osv.dev's PyPI/all.zip",
            ) from error

    def record(self, name: str) -> Record | None:
        """Return a record by id, withdrawn ones too."""
        return self._by_id.get(name)

    def knows(self, package: str) -> bool:
        """Return whether any record, of any version, is about the package."""
        return canonicalize_name(package) in self._by_package

    def affecting(self, package: str, version: str) -> list[Record]:
        """Return the records, not withdrawn, that are about a version of a package."""
        found = self._by_package.get(canonicalize_name(package), [])
        return [
            record
            for record in found
            if not record.get("withdrawn") and _affects(record, canonicalize_name(package), version)
        ]


def _from_folder(path: Path) -> Iterator[Record]:
    for file in sorted(path.rglob("*.json")):
        if file.stat().st_size > MAX_RECORD_BYTES:
            raise AdvisoryError(f"{file}: larger than {MAX_RECORD_BYTES} bytes")
        yield _parsed(file.read_bytes(), str(file))


def _from_zip(path: Path) -> Iterator[Record]:
    with zipfile.ZipFile(path) as archive:
        members = [item for item in archive.infolist() if item.filename.endswith(".json")]
        if len(members) > MAX_RECORDS:
            raise AdvisoryError(f"{path}: more than {MAX_RECORDS} documents")
        for item in members:
            # The size in the directory is a claim; reading one byte more shows a false one.
            with archive.open(item) as stream:
                data = stream.read(MAX_RECORD_BYTES + 1)
            if len(data) > MAX_RECORD_BYTES:
                raise AdvisoryError(f"{path}: {item.filename!r} is over {MAX_RECORD_BYTES} bytes")
            yield _parsed(data, f"{path}: {item.filename!r}")


def _parsed(data: bytes, where: str) -> Record:
    try:
        record = parse_json(data)
    except ValueError as error:
        raise AdvisoryError(f"{where}: {error}") from error
    if not isinstance(record, dict):
        raise AdvisoryError(f"{where}: expected an OSV record, found {type(record).__name__}")
    return record


def _checked(record: Record, source: str) -> tuple[str, dt.datetime]:
    name = record.get("id")
    if not isinstance(name, str) or not name:
        raise AdvisoryError(f"{source}: a record without an id")
    try:
        changed = dt.datetime.fromisoformat(record["modified"])
        for affected in record.get("affected") or []:
            _ = affected["package"]["name"] + affected["package"]["ecosystem"]
            _ = [str(item) for item in affected.get("versions") or []]
            _ = [list(item["events"]) for item in affected.get("ranges") or []]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AdvisoryError(f"{source}: {name} is no OSV record: {error!r}") from error
    return name, changed if changed.tzinfo else changed.replace(tzinfo=dt.UTC)


def _packages(record: Record) -> set[str]:
    return {canonicalize_name(item["package"]["name"]) for item in _concerning(record)}


def _concerning(record: Record) -> list[dict[str, Any]]:
    return [
        item
        for item in record.get("affected") or []
        # osv.dev also writes `PyPI:…` for other indexes of the same ecosystem.
        if item["package"]["ecosystem"].split(":")[0] == ECOSYSTEM
    ]


def _affects(record: Record, package: str, version: str) -> bool:
    return any(
        _listed(item, version) or any(_within(each, version) for each in item.get("ranges") or [])
        for item in _concerning(record)
        if canonicalize_name(item["package"]["name"]) == package
    )


def _listed(affected: Mapping[str, Any], version: str) -> bool:
    wanted = _version(version)
    return any(
        version == item or (wanted is not None and wanted == _version(item))
        for item in map(str, affected.get("versions") or [])
    )


def _within(span: Mapping[str, Any], version: str) -> bool:
    """Follow OSV's events in version order; what cannot be compared counts as affected."""
    if span.get("type") != "ECOSYSTEM":
        return False
    wanted = _version(version)
    events: list[tuple[Version, int, str]] = []
    for event in span["events"]:
        for order, kind in enumerate(("introduced", "fixed", LAST)):
            if kind in event:
                # OSV's `0` is before every version, pre-releases too.
                text = "0.dev0" if kind == "introduced" and event[kind] == "0" else event[kind]
                bound = _version(str(text))
                if bound is None or wanted is None:
                    return True
                events.append((bound, order, kind))
    affected = False
    for bound, _, kind in sorted(events):
        past = wanted is not None and (wanted > bound or (wanted == bound and kind != LAST))
        affected = kind == "introduced" if past else affected
    return affected


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None
