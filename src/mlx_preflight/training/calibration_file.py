"""File of a calibration: measured speeds of one machine, with their provenance."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.core import environment, user_data
from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.json_file import read_json, write_json
from mlx_preflight.core.text import is_control
from mlx_preflight.training.speed import Speed

SCHEMA = 1

DTYPES = frozenset({"float32", "float16", "bfloat16"})

BACKENDS = ("metal", "cuda", "cpu")

HARDWARE = ("processor", "cpu_count")
"""Fields of a machine that must be equal for a calibration to count."""

MAX_TEXT = 200
"""Characters of a text: names are printed on terminals."""

MAX_DIGITS = 9
"""Digits of bits and tokens."""

LEAST, MOST = 1e-12, 1e18
"""Range of every figure: seconds of a primitive, bytes and operations per second."""

FACTORS = (0.05, 20.0)
"""Range of how much longer real steps take than the products in them say."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Speeds of a machine.

    Attributes:
        backend: metal, cpu or cuda.
        machine: Processor, cores, memory and system.
        versions: Distribution → version.
        created: When, ISO 8601 with its zone.
        speed: The speeds.
        steps: Raw seconds of the steps of slices, by model.
    """

    backend: str
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    created: str
    speed: Speed
    steps: Mapping[str, list[float]]

    def describe(self) -> str:
        """Return where the figures come from, in words."""
        return (
            f"the calibration of {self.created[:10]} on {self.machine['processor']}, "
            f"mlx {self.versions.get('mlx', 'unknown')}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data with a digest."""
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "backend": self.backend,
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "created": self.created,
            "products": {kind: dict(rates) for kind, rates in self.speed.products.items()},
            "bytes_s": self.speed.bytes_s,
            "kernel_s": self.speed.kernel_s,
            "factor": self.speed.factor,
            "steps": {name: list(seconds) for name, seconds in self.steps.items()},
        }
        return {**document, "sha256": _digest(document)}


def machine() -> dict[str, Any]:
    """Return what decides the speed of this machine."""
    names = ("processor", "cpu_count", "memory_bytes", "system", "machine")
    found = environment.capture()
    return {name: found[name] for name in names}


def path(backend: str, *, imported: bool = False) -> Path:
    """Return the file of a backend in the user's data folder; one from elsewhere has its own."""
    name = f"{backend}-imported.json" if imported else f"{backend}.json"
    return user_data.folder() / "calibration" / name


def paths(backend: str) -> list[Path]:
    """Return the files of a backend that are there: this machine's own first."""
    both = path(backend), path(backend, imported=True)
    return [file for file in both if file.is_file()]


def counts_here(found: Calibration) -> bool:
    """Return whether a calibration is of this machine's hardware."""
    here = machine()
    return all(found.machine[name] == here[name] for name in HARDWARE)


def find(backend: str) -> Calibration | None:
    """Return the calibration of this machine's hardware; None where there is none.

    Its own comes before one that was imported.

    Raises:
        ResultError: The file is damaged.
    """
    return next((one for one in map(read, paths(backend)) if counts_here(one)), None)


def write(found: Calibration, *, imported: bool = False) -> Path:
    """Keep a calibration, and return its file.

    Args:
        found: The calibration.
        imported: Whether it is from elsewhere: it does not replace this machine's own.

    Raises:
        ResultError: The folder cannot be written.
    """
    file = path(found.backend, imported=imported)
    write_json(file, found.to_json())
    return file


def now() -> str:
    """Return the time of a calibration that is made now."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def read(file: Path) -> Calibration:
    """Read a file, which may be from elsewhere: every field is looked at.

    Raises:
        ResultError: A field is missing, unknown, of another type or out of range; the message
            names it.
    """
    hint = "make another one: `mlx-preflight calibrate`"
    try:
        document = read_json(file)
    except ResultError as error:
        raise ResultError(str(error), hint=hint) from error
    for problem in _problems(document):
        raise ResultError(f"{file}: {problem}", hint=hint)
    speed = Speed(
        document["products"], document["bytes_s"], document["kernel_s"], document["factor"]
    )
    names = ("backend", "machine", "versions", "created")
    return Calibration(
        **{name: document[name] for name in names}, speed=speed, steps=document["steps"]
    )


FIELDS: dict[str, type] = {
    "schema": int,
    "backend": str,
    "machine": dict,
    "versions": dict,
    "created": str,
    "products": dict,
    "bytes_s": float,
    "kernel_s": float,
    "factor": float,
    "steps": dict,
    "sha256": str,
}

MACHINE: dict[str, type] = {
    "processor": str,
    "cpu_count": int,
    "memory_bytes": int,
    "system": str,
    "machine": str,
}


def _problems(document: Any) -> Iterator[str]:
    """Yield what is wrong with a document, the first thing first."""
    if not isinstance(document, dict):
        yield "no mapping"
        return
    yield from _wrong_fields(document, FIELDS, "")
    if document["schema"] != SCHEMA:
        yield f"schema {document['schema']}, and {SCHEMA} is read"
    yield from _wrong_fields(document["machine"], MACHINE, "machine.")
    if document["backend"] not in BACKENDS:
        yield f"backend is {document['backend']!r}"
    if not all(isinstance(v, str) for v in document["versions"].values()):
        yield "versions: a version is no text"
    yield from _wrong_texts(document)
    try:
        dt.datetime.fromisoformat(document["created"])
    except ValueError:
        yield "created: no time"
    yield from _wrong_products(document["products"])
    yield from _out_of_range({k: document[k] for k in ("bytes_s", "kernel_s")}, "")
    if not FACTORS[0] <= document["factor"] <= FACTORS[1]:
        yield f"factor is {document['factor']}"
    for name, seconds in document["steps"].items():
        steps = dict(enumerate(seconds)) if isinstance(seconds, list) else {"": seconds}
        yield from _out_of_range(steps, f"steps.{name}.")
    if document["sha256"] != _digest({k: v for k, v in document.items() if k != "sha256"}):
        yield "its digest is of another content"


def _wrong_texts(document: Mapping[str, Any]) -> Iterator[str]:
    for name, text in _texts(document):
        if len(text) > MAX_TEXT or any(map(is_control, text)):
            yield f"{name}: over {MAX_TEXT} characters, or control characters"


def _texts(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the texts that are shown to people, each with the name of its field."""
    yield "created", document["created"]
    for name, value in document["machine"].items():
        yield f"machine.{name}", str(value)
    for name, value in document["versions"].items():
        yield "versions", f"{name} {value}"
    for name in document["steps"]:
        yield "steps", name


def _is_whole(text: str) -> bool:
    # The text's length first: Python refuses to read an integer of thousands of digits.
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS


def _wrong_products(products: Mapping[str, Any]) -> Iterator[str]:
    if not products:
        yield "products: none"
    for kind, rates in products.items():
        dtype, _, bits = kind.partition("/")
        if dtype not in DTYPES or not _is_whole(bits):
            yield f"products: unknown kind {kind!r}"
        if not isinstance(rates, dict) or not rates or not all(map(_is_whole, rates)):
            yield f"products.{kind}: no rates by tokens"
        else:
            yield from _out_of_range(rates, f"products.{kind}.")


def _wrong_fields(found: Any, wanted: Mapping[str, type], prefix: str) -> Iterator[str]:
    for name in sorted(found.keys() - wanted.keys()):
        yield f"{prefix}{name}: unknown"
    for name, kind in wanted.items():
        value = found.get(name)
        number = kind is float and isinstance(value, int) and not isinstance(value, bool)
        if not (number or isinstance(value, kind)) or isinstance(value, bool):
            yield f"{prefix}{name}: no {kind.__name__}"


def _out_of_range(values: Mapping[Any, Any], prefix: str) -> Iterator[str]:
    for name, value in values.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not LEAST <= value <= MOST:
            yield f"{prefix}{name}: {value!r} is out of range"


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
