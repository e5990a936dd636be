"""Sign-offs: records that a person has read the answers, valid until these change.

A sign-off names the digest of the answers and expires when the digest changes. Nothing
here judges an answer, and no automatic check ever writes a sign-off.
"""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from mlx_preflight.core.errors import ResultError, UsageError
from mlx_preflight.core.json_file import read_json, write_json
from mlx_preflight.criteria import answers
from mlx_preflight.plan import register

AC5 = "AC5"

CRITERIA = (AC5,)
"""Criteria with a manual validation in the plan."""


@dataclass(frozen=True, slots=True)
class SignOff:
    """Record of who read which answers, and when.

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
class SignOffState:
    """State of a sign-off: none, valid or expired."""

    kind: Literal["none", "valid", "expired"]
    sign_off: SignOff | None = None

    def describe(self) -> str:
        """Return the state in words."""
        if self.sign_off is None:
            return "none"
        who, date = self.sign_off.who, self.sign_off.when[:10]
        return f"{self.kind}, by {who} on {date}"


NONE = SignOffState("none")


def record(
    state_folder: Path, check_id: str, who: str, note: str, digest: str | None = None
) -> SignOff:
    """Write a sign-off of the answers in a project's `.preflight` folder.

    Args:
        state_folder: The `.preflight` folder.
        check_id: Criterion; see `CRITERIA`.
        who: Name of the person who read the answers.
        note: What the person thinks of them.
        digest: Digest that the person saw; None takes that of the stored answers.

    Raises:
        UsageError: Unknown criterion, nobody's name, no note, or other answers by now.
        ResultError: No answers are stored, or the file cannot be written.
    """
    check = check_id.upper().partition(".")[0]
    if check not in CRITERIA:
        raise UsageError(f"{check_id}: only {', '.join(CRITERIA)} takes a sign-off")
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
    try:
        return answers.read(state_folder)
    except ResultError as error:
        command = f"mlx-preflight check {register.AC5_INFERENCE}"
        hint = f"run `{command}`, and read the answers that it names"
        raise ResultError(str(error), hint=hint) from error


def state(state_folder: Path, check_id: str, digest: str) -> SignOffState:
    """Return whether the answers with this digest were signed off.

    Raises:
        ResultError: A sign-off exists and cannot be read; it must not read as "none".
    """
    found = _read(_path(state_folder, check_id))
    if found is None:
        return NONE
    valid = found.digest == digest and found.check == check_id
    return SignOffState("valid" if valid else "expired", found)


def read(state_folder: Path) -> list[SignOff]:
    """Return every sign-off of a project, valid or expired.

    Raises:
        ResultError: One exists and cannot be read.
    """
    found = (_read(_path(state_folder, check)) for check in CRITERIA)
    return [item for item in found if item is not None]


def _read(path: Path) -> SignOff | None:
    if not path.exists():
        return None
    document: Any = read_json(path)
    known = isinstance(document, dict) and document.keys() == SignOff.__dataclass_fields__.keys()
    if not known or not all(isinstance(value, str) for value in document.values()):
        raise ResultError(f"{path}: not a sign-off; delete it and sign off again")
    return SignOff(**document)


def _path(state_folder: Path, check: str) -> Path:
    return state_folder / "sign-offs" / f"{check}.json"
