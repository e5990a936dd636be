"""Gate 8: pip-audit on the project's resolved runtime environment, failing closed.

pip-audit reports packages that its service does not know as "skipped" and exits 0, so its
exit code proves nothing: every package must be audited, and a known-bad pin must be found.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

from packaging.utils import canonicalize_name

from mlx_preflight.gates import closure, tool
from mlx_preflight.plan import Session
from mlx_preflight.result import Measurement, Outcome, Status
from mlx_preflight.runner import Context

KNOWN_BAD = "jinja2==2.10"
"""PYSEC-2019-217 (CVE-2019-10906) and others: a service that finds nothing here knows nothing."""

_UNREACHABLE = re.compile(
    r"^(?:[\w.]+\.(?:\w*ConnectionError|\w*Timeout|HTTPError|SSLError|ProxyError)"
    r"|ERROR:pip_audit\S*?): ?(.+)$",
    re.MULTILINE,
)
"""What requests and pip-audit print when a service cannot be reached or refuses to answer."""

_DROPPED = re.compile(
    r"^WARNING:pip_audit\._service\S*?:(.*(?:Unsupported OSV schema|missing 'affected').*)$",
    re.MULTILINE,
)
"""Advisories that pip-audit 2.10 leaves out, exiting 0 as if there were none."""

_REMEDY = (
    "name a service that this machine reaches: audit-service = 'osv' and audit-url in "
    "[tool.mlx-preflight]"
)

_NAMED = 3
"""Vulnerabilities of one package that a reason names."""

_Items = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold both answers of pip-audit.

    Attributes:
        wanted: Name → version of what had to be audited.
        exempt: Name → reason of what the project's table leaves out.
        control: The query of a pin that is known to be bad.
    """

    ran: tool.Ran
    control: tool.Ran
    wanted: dict[str, str]
    exempt: dict[str, str]
    service: str


def gather(session: Session, context: Context) -> Facts:
    """Ask the service for the whole runtime closure and for one known-bad pin, side by side."""
    settings = context.settings
    wanted = closure.resolve(closure.project_name(context.project))
    exempt: dict[str, str] = {
        canonicalize_name(key): text for key, text in settings.audit_exempt.items()
    }
    folder = context.scratch(session.id)
    asked = {name: version for name, version in wanted.items() if name not in exempt}
    (folder / "runtime.txt").write_text(
        "".join(f"{name}=={version}\n" for name, version in sorted(asked.items())),
        encoding="utf-8",
    )
    (folder / "control.txt").write_text(f"{KNOWN_BAD}\n", encoding="utf-8")
    service = ["-s", settings.audit_service]
    if settings.audit_url:
        service += ["--osv-url", settings.audit_url]

    def ask(name: str) -> tool.Ran:
        files = ["-r", str(folder / f"{name}.txt"), "--no-deps", "--disable-pip"]
        shape = ["-f", "json", "--desc", "off", "--progress-spinner", "off"]
        return tool.run(context, "pip_audit", *files, *shape, *service)

    context.note(f"{session.id}: asking about {len(asked)} packages")
    with ThreadPoolExecutor(max_workers=2) as pool:
        ran, control = pool.map(ask, ("runtime", "control"))
    shown = settings.audit_url or settings.audit_service
    return Facts(ran, control, wanted, exempt, shown)


def gate8(facts: Facts) -> Outcome:
    """Prove that every runtime package was audited and none has a known vulnerability.

    pip-audit gives no severity, so every vulnerability counts as a high one.
    """
    unused = sorted(set(facts.exempt) - set(facts.wanted))
    if unused:
        reason = f"audit-exempt names {', '.join(unused)}, not in the runtime environment"
        return Outcome(Status.FAIL, reason, remedy="remove the exemption")
    if not set(facts.wanted) - set(facts.exempt):
        counts = f"{len(facts.wanted)} runtime packages, {len(facts.exempt)} exempt"
        reason = f"nothing to audit: {counts}, so nothing is proved"
        return Outcome(Status.ERROR, reason, remedy="declare dependencies, or exempt fewer")
    answer, known = _dependencies(facts.ran), _dependencies(facts.control)
    for outcome in (answer, known):
        if isinstance(outcome, Outcome):
            return outcome
    return _judge(facts, cast(_Items, answer), cast(_Items, known))


def _judge(facts: Facts, answer: _Items, known: _Items) -> Outcome:
    bad = [_found(item) for item in answer if item.get("vulns")]
    audited = {canonicalize_name(item["name"]) for item in answer if "vulns" in item}
    missed = sorted(set(facts.wanted) - audited - set(facts.exempt))
    measured = _measured(facts, len(audited), len(bad), len(missed))
    if bad:
        reason = f"{len(bad)} of {len(audited)} packages are vulnerable: {tool.listed(bad)}"
        return Outcome(Status.FAIL, reason, measurements=measured, remedy="upgrade them")
    if not any(item.get("vulns") for item in known):
        reason = f"{facts.service} finds nothing wrong with {KNOWN_BAD}, so it can prove nothing"
        return Outcome(Status.BLOCKED, reason, measurements=measured, remedy=_REMEDY)
    if missed or not audited:
        why = next((str(item["skip_reason"]) for item in answer if "skip_reason" in item), "")
        reason = (
            f"{len(missed)} of {len(facts.wanted)} packages were not audited: "
            f"{', '.join(missed[:8])}; {why}"
        )
        return Outcome(Status.BLOCKED, reason, measurements=measured, remedy=_REMEDY)
    left = "".join(f"; {name} left out: {why}" for name, why in sorted(facts.exempt.items()))
    reason = f"{len(audited)} packages audited, none vulnerable{left}"
    return Outcome(Status.PASS, reason, measurements=measured)


def _dependencies(ran: tool.Ran) -> _Items | Outcome:
    """Return pip-audit's list, or the outcome of an answer that is none."""
    try:
        found: _Items = json.loads(ran.done.stdout)["dependencies"]
        names = [canonicalize_name(item["name"]) for item in found]
    except (ValueError, KeyError, TypeError):
        if causes := _UNREACHABLE.findall(ran.done.stderr):
            reason = f"the advisory service gave no answer: {causes[-1]}"
            return Outcome(Status.BLOCKED, reason, measurements=ran.measurements(), remedy=_REMEDY)
        return ran.error("pip-audit printed no JSON")
    if dropped := _DROPPED.findall(ran.done.stderr):
        return ran.error(f"pip-audit left advisories out: {tool.listed(dropped)}")
    return found if names else ran.error("pip-audit answered with no package")


def _found(item: dict[str, Any]) -> str:
    ids = ", ".join(
        f"{vuln['id']} (fixed in {' or '.join(vuln['fix_versions']) or 'no version'})"
        for vuln in item["vulns"][:_NAMED]
    )
    more = len(item["vulns"]) - _NAMED
    return f"{item['name']} {item['version']}: {ids}" + (f" and {more} more" if more > 0 else "")


def _measured(facts: Facts, audited: int, bad: int, missed: int) -> tuple[Measurement, ...]:
    left = "; ".join(f"{name}: {why}" for name, why in sorted(facts.exempt.items())) or "none"
    return facts.ran.measurements(
        Measurement("packages_audited", audited, "count", ">= 1"),
        Measurement("packages_vulnerable", bad, "count", "<= 0"),
        Measurement("packages_not_audited", missed, "count", "<= 0"),
        Measurement("packages_exempt", left, "text"),
        Measurement("service", facts.service, "text"),
    )
