"""Record that a person has read the answers, and say whether that still holds.

A sign-off names the digest of what was read and expires when the digest changes. Nothing
here judges an answer, and no automatic check ever writes a sign-off.
"""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from mlx_preflight.criteria import answers
from mlx_preflight.errors import ResultError, UsageError
from mlx_preflight.json_file import read_json, write_json

CHECKS = ("AC5",)
"""Criteria with a manual validation in the plan."""


@dataclass(frozen=True, slots=True)
class SignOff:
    """Hold who read what, and when.

    Attributes:
        check: Criterion, such as `AC5`.
        when: UTC time, ISO 8601.
        digest: Digest of the answers that were read.
        model: Fingerprint of the model that gave them.
    """

    check: str
    who: str
    when: str
    note: str
    digest: str
    model: str


@dataclass(frozen=True, slots=True)
class State:
    """Hold whether a valid sign-off exists, and the one found if any."""

    kind: Literal["none", "valid", "expired"]
    sign_off: SignOff | None = None

    def describe(self) -> str:
        """Return the state in words."""
        if self.sign_off is None:
            return "none"
        who, date = self.sign_off.who, self.sign_off.when[:10]
        return f"{self.kind}, by {who} on {date}"


def record(
    state_folder: Path, check_id: str, who: str, note: str, digest: str | None = None
) -> SignOff:
    """Write a sign-off of the answers in a project's `.preflight` folder.

    Args:
        state_folder: The `.preflight` folder.
        check_id: Criterion; see `CHECKS`.
        who: Name of the person who read the answers.
        note: What the person thinks of them.
        digest: Digest that the person saw; None takes that of the stored answers.

    Raises:
        UsageError: Unknown criterion, nobody's name, no note, or other answers by now.
        ResultError: No answers are stored, or the file cannot be written.
    """
    check = check_id.upper().partition(".")[0]
    if check not in CHECKS:
        raise UsageError(f"{check_id}: only {', '.join(CHECKS)} takes a sign-off")
    if not who.strip() or not note.strip():
        raise UsageError("a sign-off needs a name and a note", hint="use --who and --note")
    document = _answers(state_folder)
    if digest is not None and digest != document["digest"]:
        raise UsageError(f"the answers have changed: their digest is {document['digest'][:12]}…")
    sign_off = SignOff(
        check=check,
        who=who.strip(),
        when=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        note=note.strip(),
        digest=document["digest"],
        model=str(document["judged"]["model"]),
    )
    write_json(_path(state_folder, check), asdict(sign_off))
    return sign_off


def _answers(state_folder: Path) -> Any:
    """Return the stored answers, or raise with the command that makes them."""
    try:
        return answers.read(state_folder)
    except ResultError as error:
        hint = "run `mlx-preflight check ac5-inference`, and read the answers that it names"
        raise ResultError(str(error), hint=hint) from error


def state(state_folder: Path, check_id: str, digest: str) -> State:
    """Return whether the answers with this digest were signed off.

    Raises:
        ResultError: A sign-off exists and cannot be read; it must not read as "none".
    """
    found = _read(_path(state_folder, check_id))
    if found is None:
        return State("none")
    valid = found.digest == digest and found.check == check_id
    return State("valid" if valid else "expired", found)


def read(state_folder: Path) -> list[SignOff]:
    """Return every sign-off of a project, valid or expired.

    Raises:
        ResultError: One exists and cannot be read.
    """
    found = (_read(_path(state_folder, check)) for check in CHECKS)
    return [item for item in found if item is not None]


def _read(path: Path) -> SignOff | None:
    if not path.exists():
        return None
    document: Any = read_json(path)
    fields = SignOff.__dataclass_fields__
    if not isinstance(document, dict) or document.keys() != fields.keys():
        raise ResultError(f"{path}: not a sign-off; delete it and sign off again")
    if not all(isinstance(value, str) for value in document.values()):
        raise ResultError(f"{path}: not a sign-off; delete it and sign off again")
    return SignOff(**document)


def _path(state_folder: Path, check: str) -> Path:
    return state_folder / "sign-offs" / f"{check}.json"
