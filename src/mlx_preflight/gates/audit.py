"""Gate 8: pip-audit on the project's resolved runtime environment, failing closed.

pip-audit reports packages that its service does not know as "skipped" and exits 0, names no
severity, and cannot tell how old an answer is. So every package must be audited, a known-bad
pin must be found, severities are looked up, and an old database proves nothing clean.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from mlx_preflight.core.child import side_by_side
from mlx_preflight.core.errors import AdvisoryError
from mlx_preflight.core.json_file import write_text
from mlx_preflight.core.result import Measurement, Outcome, Status
from mlx_preflight.core.text import MAX_VALUES, join_findings
from mlx_preflight.gates import tool
from mlx_preflight.gates.advisories import closure, lookup, pip_audit_run, vulnerability
from mlx_preflight.gates.advisories.closure import Closure
from mlx_preflight.gates.advisories.database import Database, DatabaseAge
from mlx_preflight.gates.advisories.pip_audit_run import KNOWN_BAD, REMEDY, Items, audited_names
from mlx_preflight.gates.advisories.server import serve_in_thread
from mlx_preflight.gates.advisories.vulnerability import Vulnerability
from mlx_preflight.plan import project_requirements, register
from mlx_preflight.plan.settings import ProjectSettings
from mlx_preflight.plan.spec import Session
from mlx_preflight.run import project_environment
from mlx_preflight.run.context import Context

_Judged = tuple[Status, str, str]
"""Status, reason and remedy."""


@dataclass(frozen=True, slots=True)
class AuditRun:
    """Both answers of pip-audit, and the advisories that they name.

    Attributes:
        wanted: What had to be audited.
        ran: pip-audit on it, and `answer` its packages, or why they count for nothing.
        control: The answer about a pin that is known to be bad.
        now: Time of the audit, UTC.
        found: Every advisory in the answer, rated.
        age: Age of the database; None where the service does not tell.
        unknown: Packages of which a local database holds no advisory at all.
        declares_none: Whether the project says itself that it needs no package.
    """

    wanted: Closure
    settings: ProjectSettings
    ran: tool.ToolRun
    answer: Items | Outcome
    control: Items | Outcome
    now: dt.datetime
    found: tuple[Vulnerability, ...] = ()
    age: DatabaseAge | None = None
    unknown: tuple[str, ...] = ()
    declares_none: bool = False

    @property
    def exempt(self) -> dict[str, str]:
        """Return name → reason of what the project's table leaves out."""
        return {canonicalize_name(key): text for key, text in self.settings.audit_exempt.items()}

    @property
    def service(self) -> str:
        """Return who was asked."""
        settings = self.settings
        return settings.audit_database or settings.audit_url or settings.audit_service

    @property
    def failing(self) -> list[Vulnerability]:
        """Return what is severe enough and not waived."""
        level, today = self.settings.fail_at, self.now.date()
        return [item for item in self.found if item.fails(level, today)]


def gather(session: Session, context: Context) -> AuditRun:
    """Ask the service for the complete runtime environment and for one known-bad pin.

    Raises:
        PreflightError: The environment or the database cannot be read, or the environment is
            not the project's.
    """
    settings = context.settings
    judged = context.environment
    if settings.audit_environment is None:
        project_environment.require_met(context.project, judged, tests=False)
    wanted = closure.audited_packages(context.project, judged, settings.audit_environment)
    exempt = {canonicalize_name(name) for name in settings.audit_exempt}
    asked = {name: version for name, version in wanted.versions.items() if name not in exempt}
    folder = context.scratch(session.id)
    pins = "".join(f"{name}=={version}\n" for name, version in sorted(asked.items()))
    files = (folder / "runtime.txt", folder / "control.txt")
    for path, text in zip(files, (pins, f"{KNOWN_BAD}\n"), strict=True):
        write_text(path, text)
    named = settings.audit_database
    database = Database.open(context.project / named) if named else None
    context.note(f"{session.id}: asking about {len(asked)} packages")
    with _address(settings, database) as url, side_by_side(2) as pool:
        service = ["-s", "osv", "--osv-url", url] if url else ["-s", settings.audit_service]
        ran, control = pool.map(lambda path: pip_audit_run.ask(context, path, service), files)
        answer = pip_audit_run.dependencies(ran)
        items = [] if isinstance(answer, Outcome) else answer
        found = vulnerability.rate_answer(items, url or lookup.OSV, wanted, settings.audit_waivers)
    return AuditRun(
        wanted=wanted,
        settings=settings,
        ran=ran,
        answer=answer,
        control=pip_audit_run.dependencies(control),
        found=found,
        age=database.age if database else _age(settings),
        unknown=tuple(name for name in sorted(asked) if database and not database.knows(name)),
        now=dt.datetime.now(dt.UTC),
        declares_none=settings.audit_environment is None and _declares_none(context.project),
    )


def _declares_none(project: Path) -> bool:
    """Return whether `[project]` has an empty list of dependencies."""
    wanted = project_requirements.find(project, tests=False)
    return wanted.table.get("dependencies") == [] and not wanted.lists


@contextmanager
def _address(settings: ProjectSettings, database: Database | None) -> Iterator[str | None]:
    """Yield the address of the OSV service to ask; None for the named service's own."""
    if database is None:
        yield settings.audit_url
        return
    with serve_in_thread(database) as url:
        yield url


def _age(settings: ProjectSettings) -> DatabaseAge | None:
    """Ask a service of the user's for its age; None where it does not tell."""
    if not _foreign(settings):
        return None
    try:
        return lookup.database_age(str(settings.audit_url))
    except AdvisoryError:
        return None


def _foreign(settings: ProjectSettings) -> bool:
    """Return whether the service is another than the two that are known to be current."""
    return bool(settings.audit_url) and settings.audit_url != lookup.OSV


def gate8(facts: AuditRun) -> Outcome:
    """Prove that every runtime package was audited and none has a severe known vulnerability."""
    exempt, wanted = facts.exempt, facts.wanted.versions
    unused = sorted(set(exempt) - set(wanted))
    if unused:
        reason = f"audit-exempt names {', '.join(unused)}, not in the runtime environment"
        return Outcome(Status.FAIL, reason, remedy="remove the exemption")
    if not wanted and not exempt and facts.declares_none:
        none = Measurement("packages_audited", 0, "count")
        reason = "the project declares that it needs no package (`dependencies = []`)"
        return Outcome(Status.PASS, reason, measurements=(none,))
    if not set(wanted) - set(exempt):
        reason = (
            f"nothing to audit: {len(wanted)} runtime packages in {facts.wanted.source}, "
            f"{len(exempt)} exempt, so nothing is proved"
        )
        return Outcome(Status.ERROR, reason, remedy="declare dependencies, or exempt fewer")
    if isinstance(facts.answer, Outcome):
        return facts.answer
    if isinstance(facts.control, Outcome):
        return facts.control
    names = audited_names(facts.answer)
    status, reason, remedy = (
        _vulnerable(facts, len(names))
        or _unproved(facts, facts.answer, facts.control)
        or _outdated(facts, len(names))
        or (Status.PASS, _clean(facts, len(names)), "")
    )
    place = facts.settings.audit_environment or "pyproject.toml"
    failing = facts.failing
    return Outcome(
        status,
        reason,
        remedy=remedy,
        measurements=_measured(facts, names),
        diagnostics=tuple(item.diagnostic(place, fails=item in failing) for item in facts.found),
    )


def _vulnerable(facts: AuditRun, count: int) -> _Judged | None:
    if not facts.failing:
        return None
    reason = (
        f"{len({item.package for item in facts.failing})} of {count} packages are vulnerable, "
        f"severity {facts.settings.fail_at} or worse: "
        f"{join_findings([str(item) for item in facts.failing])}"
    )
    return Status.FAIL, reason, "upgrade them, or waive one for a time with audit-waivers"


def _unproved(facts: AuditRun, answer: Items, control: Items) -> _Judged | None:
    """Refuse an answer of a service that knows nothing, or not everything that was asked."""
    if not audited_names(control):
        reason = f"{facts.service} could not answer for {KNOWN_BAD}: {_skipped(control)}"
        return Status.BLOCKED, reason, REMEDY
    if not any(item.get("vulns") for item in control):
        reason = f"{facts.service} finds nothing wrong with {KNOWN_BAD}, so it can prove nothing"
        return Status.ERROR, reason, REMEDY
    missed = sorted(set(facts.wanted.versions) - audited_names(answer) - set(facts.exempt))
    if not missed:
        return None
    names = ", ".join(missed[:MAX_VALUES])
    total = len(facts.wanted.versions)
    reason = f"{len(missed)} of {total} packages were not audited: {names}; {_skipped(answer)}"
    return Status.BLOCKED, reason, REMEDY


def _skipped(answer: Items) -> str:
    return next((str(item["skip_reason"]) for item in answer if "skip_reason" in item), "no reason")


def _outdated(facts: AuditRun, count: int) -> _Judged | None:
    """Refuse waivers that no longer count or never did, and a clean answer of long ago."""
    used = {item.waiver.id for item in facts.found if item.waiver}
    wrong = []
    for waiver in facts.settings.audit_waivers:
        if waiver.expired(facts.now.date()):
            wrong.append(f"the waiver of {waiver.id} expired on {waiver.expires}")
        elif waiver.id not in used:
            wrong.append(f"the waiver of {waiver.id} is unused: nothing here has it")
    if wrong:
        return Status.FAIL, "; ".join(wrong), "renew the waiver with its reason, or remove it"
    most, clean = facts.settings.max_advisory_age_days, _clean(facts, count)
    if facts.age is not None and facts.age.age_days(facts.now) > most:
        reason = f"clean as of {facts.age}, which is over {most} days ago: {clean}"
        return Status.BLOCKED, reason, "renew the advisory database"
    if facts.age is None and _foreign(facts.settings) and not facts.settings.audit_live:
        reason = f"{facts.service} does not tell how old its database is: {clean}"
        return Status.BLOCKED, reason, "say in audit-live why it is current, or use audit-database"
    return None


def _clean(facts: AuditRun, count: int) -> str:
    """Describe what was found where nothing fails."""
    waived = [f"{item.id}: {item.waiver.reason}" for item in facts.found if item.waiver]
    milder = [str(item) for item in facts.found if not item.waiver]
    parts = [f"{count} packages audited" + ("" if facts.found else ", none vulnerable")]
    if milder:
        level = facts.settings.fail_at
        parts.append(f"{len(milder)} vulnerabilities below {level}: {join_findings(milder)}")
    if waived:
        parts.append(f"{len(waived)} waived: {join_findings(waived)}")
    parts += [f"{name} left out: {why}" for name, why in sorted(facts.exempt.items())]
    return "; ".join(parts)


def _measured(facts: AuditRun, names: set[str]) -> tuple[Measurement, ...]:
    missed = set(facts.wanted.versions) - names - set(facts.exempt)
    left = "; ".join(f"{name}: {why}" for name, why in sorted(facts.exempt.items())) or "none"
    counts = {
        "packages_vulnerable": len({item.package for item in facts.found}),
        "vulnerabilities": len(facts.found),
        "vulnerabilities_unrated": sum(not item.severity.known for item in facts.found),
        "vulnerabilities_waived": sum(item.waiver is not None for item in facts.found),
    }
    return facts.ran.measurements(
        Measurement("packages_audited", len(names), "count", ">= 1"),
        Measurement("packages_not_audited", len(missed), "count", "<= 0"),
        Measurement("vulnerabilities_failing", len(facts.failing), "count", "<= 0"),
        *(Measurement(name, value, "count") for name, value in counts.items()),
        Measurement("fail_at", facts.settings.fail_at, "text"),
        Measurement("environment", facts.wanted.source, "text"),
        Measurement("project_left_out", facts.wanted.project or "none", "text"),
        Measurement("packages_exempt", left, "text"),
        Measurement("packages_without_any_advisory", len(facts.unknown), "count"),
        Measurement("service", facts.service, "text"),
        Measurement("database", str(facts.age or "the service tells no date"), "text"),
    )


CHECKS = {register.GATE8: gate8}
