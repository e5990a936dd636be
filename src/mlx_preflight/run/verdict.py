"""The verdict: one pure function of planned sessions and results; nothing else decides.

What is missing, stale, unreadable, incomplete, or of another profile, model or commit is
ERROR. Standard library only, and no file is read here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mlx_preflight.core.errors import ExitCode, ResultError
from mlx_preflight.core.result import CheckResult, Evidence, SessionResult, Status
from mlx_preflight.plan.profiles import Profile
from mlx_preflight.plan.spec import WHOLE_PLAN, Session
from mlx_preflight.run import scope

State = Literal["ready_for_integrator", "needs_adapt", "partial"]

StoredResult = SessionResult | ResultError | None
"""What is on disk for one session: its result, why that cannot be read, or nothing."""

MERGE, TREE = "merge", "tree"
"""Stand for a session in the rows of refused files, and of a tree that nobody judged."""

ORDER = (Status.FAIL, Status.ERROR, Status.BLOCKED)
"""Order of the findings."""

_ON_A_MODEL = frozenset({Evidence.EMBEDDED, Evidence.SYNTHETIC, Evidence.TARGET})
"""Evidence that says which model ran; it must be the profile's own."""


@dataclass(frozen=True, slots=True)
class Row:
    """One check in the report.

    Attributes:
        session: Id of the session that it belongs to.
        required: Whether the verdict needs it to pass.
        check: What was found.
    """

    session: str
    required: bool
    check: CheckResult


@dataclass(frozen=True, slots=True)
class Verdict:
    """Decision over one run.

    Attributes:
        group: Which part of the plan was judged.
        state: `ready_for_integrator` only when every required check of the complete plan is
            PASS; `partial` when everything required of a smaller group is.
        status: Worst status of the required rows.
        rows: Every check in the plan's order; more only where a result holds unknown ones.
        findings: Rows that are not PASS, required ones first, then by `ORDER`; what the
            project turned off is a row and no finding.
        holds_for: Model and commit that the verdict says something about, and what it does not.
        exit_code: 0 pass, 1 fail, 3 error or blocked, 4 nothing ran.
    """

    group: str
    state: State
    status: Status
    rows: tuple[Row, ...]
    findings: tuple[Row, ...]
    holds_for: str
    exit_code: int

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of rows per status; every status is a key."""
        return {
            status.value: sum(row.check.status is status for row in self.rows) for status in Status
        }


def judge(
    planned: Sequence[Session],
    results: Mapping[str, SessionResult | ResultError],
    *,
    run_id: str,
    group: str,
    profile: Profile,
    off: Mapping[str, str] | None = None,
    refused: Sequence[str] = (),
    moved_on: str = "",
) -> Verdict:
    """Return the verdict over one run.

    Args:
        planned: Sessions that had to run, in the plan's order.
        results: What is on disk, by session id; an unreadable file is its error.
        run_id: Only results of this run count.
        group: `preflight` for the complete plan.
        profile: Only results for this profile and model count.
        off: Session → why it does not apply to the project; shown, and not required.
        refused: Why files of the run's jobs are no results; each is an error of the run.
        moved_on: How the tree that is here differs from what was judged; an error of the run.
    """
    absent = off or {}
    found = [
        (session, None if session.id in absent else results.get(session.id)) for session in planned
    ]
    identity = _identity([item for _, item in found], run_id, group, profile)
    rows = tuple(
        row
        for session, item in found
        for row in (
            _off(session, absent[session.id])
            if session.id in absent
            else _rows(session, item, identity)
        )
    )
    rows += (*_refused(refused), *_moved_on(moved_on, group))
    status = Status.worst([row.check.status for row in rows if row.required])
    state: State = "needs_adapt"
    if status is Status.PASS:
        state = "ready_for_integrator" if group == WHOLE_PLAN else "partial"
    ran = any(identity.is_of_this_run(item) for _, item in found)
    return Verdict(
        group=group,
        state=state,
        status=status,
        rows=rows,
        findings=_findings([row for row in rows if row.session not in absent]),
        holds_for=scope.holds_for(
            profile,
            found,
            run_id,
            identity.parameters,
        ),
        exit_code=int(status.exit_code if ran else ExitCode.NOTHING_RAN),
    )


@dataclass(frozen=True, slots=True)
class _RunIdentity:
    """Facts of a run that every result of it must agree with.

    Attributes:
        fingerprint: Digest of the model's files, from the first session that knows it.
        commit: Commit of the project, likewise.
        machine: Kind of machine and Python, likewise.
        parameters: Size of the model for the reader, or None when no session counted.
    """

    run_id: str
    group: str
    profile: Profile
    fingerprint: str = ""
    commit: str = ""
    machine: str = ""
    parameters: int | None = None

    def is_of_this_run(self, found: StoredResult) -> bool:
        """Return whether something is there that this run may have left."""
        return isinstance(found, ResultError) or (
            isinstance(found, SessionResult) and found.run_id == self.run_id
        )

    def problem(self, session: Session, found: StoredResult) -> str:
        """Return why a result cannot be used, or an empty text."""
        if found is None:
            return "no result: the session did not run, or it died before it could write one"
        if isinstance(found, ResultError):
            return f"the result cannot be used: {found}"
        if found.id != session.id:
            return f"the result is that of {found.id}"
        if found.run_id != self.run_id:
            return f"the result is of run {found.run_id}, not of {self.run_id}"
        return self._mismatch(found)

    def _mismatch(self, found: SessionResult) -> str:
        requested = found.model.get("requested")
        if (found.profile, requested) != (self.profile.name, self.profile.model):
            return (
                f"the result is for profile {found.profile} with model {requested}, "
                f"not for {self.profile.name} with {self.profile.model}"
            )
        if "moved" in found.git:
            old, new = _text(found.git, "commit")[:12], _text(found.git, "moved")[:12]
            return f"the project's commit changed while the session ran: {old}, then {new}"
        for what, seen, expected in (
            ("the model's files", _text(found.model, "fingerprint")[:12], self.fingerprint[:12]),
            ("the project's commit", _text(found.git, "commit")[:12], self.commit[:12]),
            ("machine or Python", scope.machine(found), self.machine),
        ):
            if seen and expected and seen != expected:
                return f"{what} changed during the run: {expected}, then {seen}"
        return ""


def _identity(
    found: Sequence[StoredResult], run_id: str, group: str, profile: Profile
) -> _RunIdentity:
    """Return what the results must agree with; the first one that knows a value sets it."""
    mine = [
        item
        for item in found
        if isinstance(item, SessionResult)
        and (item.run_id, item.profile) == (run_id, profile.name)
        and item.model.get("requested") == profile.model
    ]
    counts = (item.model.get("parameters") for item in mine)
    return _RunIdentity(
        run_id,
        group,
        profile,
        fingerprint=next(filter(None, (_text(item.model, "fingerprint") for item in mine)), ""),
        commit=next(filter(None, (_text(item.git, "commit") for item in mine)), ""),
        machine=next(filter(None, map(scope.machine, mine)), ""),
        parameters=next((count for count in counts if isinstance(count, int)), None),
    )


def _off(session: Session, reason: str) -> Iterator[Row]:
    """Yield a row that says why the session did not run: off is shown, and never passed."""
    why = f"off in this project: {reason}"
    remedy = f"remove {session.id} from [tool.mlx-preflight.off] to run it"
    for check in session.checks:
        found = CheckResult(check.id, check.title, Status.BLOCKED, Evidence.STATIC, why, remedy)
        yield Row(session.id, False, found)


def _refused(reasons: Sequence[str]) -> Iterator[Row]:
    """Yield a row per file that is no result of the run: ignoring it could hide a failure."""
    remedy = "delete what is not a result of this run, or run the jobs again"
    for number, why in enumerate(reasons, 1):
        name, title = f"{MERGE.upper()}.{number}", "a file among the results is not one"
        check = CheckResult(name, title, Status.ERROR, Evidence.STATIC, why, remedy)
        yield Row(MERGE, True, check)


def _moved_on(difference: str, group: str) -> Iterator[Row]:
    """Yield the row of a tree that nobody judged: a verdict of another one is none of it."""
    if difference:
        remedy = f"run `nox -s {group}` again; `mlx-preflight report --stale-ok` shows the old one"
        title = "the tree that was judged is the one that is here"
        check = CheckResult("TREE", title, Status.ERROR, Evidence.STATIC, difference, remedy)
        yield Row(TREE, True, check)


def _rows(session: Session, found: StoredResult, identity: _RunIdentity) -> Iterator[Row]:
    reason = identity.problem(session, found)
    answered: Sequence[CheckResult] = ()
    if not reason and isinstance(found, SessionResult):
        answered = found.checks
    remedy = f"`nox -s {session.id}` shows why; then run `nox -s {identity.group}` again"
    planned = {check.id: check.title for check in session.checks}
    for name, title in planned.items():
        mine = [item for item in answered if item.id == name]
        why = reason or _check_problem(name, mine, identity.profile)
        check = (
            CheckResult(name, title, Status.ERROR, Evidence.STATIC, why, remedy)
            if why
            else dataclasses.replace(mine[0], title=title)
        )
        yield Row(session.id, session.required, check)
    for name in dict.fromkeys(item.id for item in answered if item.id not in planned):
        why = f"the result answers {name!r}, which the plan does not have"
        check = CheckResult(name, "not in the plan", Status.ERROR, Evidence.STATIC, why, remedy)
        yield Row(session.id, session.required, check)


def _check_problem(name: str, answers: Sequence[CheckResult], profile: Profile) -> str:
    """Return why the answers to one check cannot be used, or an empty text."""
    if len(answers) != 1:
        return f"{name} was answered {len(answers)} times instead of once"
    evidence = answers[0].evidence
    # Passing on the embedded model must never read as passing on another one.
    if evidence in _ON_A_MODEL and evidence is not profile.evidence:
        return (
            f"{name} was measured on a model of tier {evidence.value}, "
            f"and profile {profile.name} is judged on tier {profile.evidence.value}"
        )
    return ""


def _findings(rows: Sequence[Row]) -> tuple[Row, ...]:
    return tuple(
        row
        for required in (True, False)
        for status in ORDER
        for row in rows
        if row.required is required and row.check.status is status
    )


def _text(values: Mapping[str, object], key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else ""
