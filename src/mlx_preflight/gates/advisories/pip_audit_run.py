"""One run of pip-audit on pinned requirements, and the strict reading of its answer.

It reports packages that its service does not know as "skipped" and exits 0, and it exits 1
for vulnerabilities and for any error alike; so only its JSON counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from mlx_preflight.core.result import Outcome, Status
from mlx_preflight.core.text import join_findings
from mlx_preflight.gates import tool
from mlx_preflight.run.context import Context

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

REMEDY = (
    "name a service that this machine reaches, or a database: audit-service = 'osv' with "
    "audit-url, or audit-database, in [tool.mlx-preflight]"
)

Items = list[dict[str, Any]]
"""pip-audit's `dependencies`: name with version and vulns, or with skip_reason."""


def ask(context: Context, requirements: Path, service: Sequence[str]) -> tool.ToolRun:
    """Audit a file of exact pins.

    Args:
        context: The project's folder and its longest time.
        requirements: One `name==version` a line.
        service: pip-audit's options that name the service.

    Raises:
        PreflightError: pip-audit is not installed here, or ran past its time.
    """
    files = ["-r", str(requirements), "--no-deps", "--disable-pip"]
    shape = ["-f", "json", "--desc", "off", "--progress-spinner", "off"]
    return tool.run(context, "pip_audit", *files, *shape, *service)


def dependencies(ran: tool.ToolRun) -> Items | Outcome:
    """Return pip-audit's list, or the outcome of an answer that is none."""
    try:
        found: Items = json.loads(ran.done.stdout)["dependencies"]
        names = [canonicalize_name(item["name"]) for item in found]
    except (ValueError, KeyError, TypeError):
        if causes := _UNREACHABLE.findall(ran.done.stderr):
            reason = f"the advisory service gave no answer: {causes[-1]}"
            return Outcome(Status.BLOCKED, reason, measurements=ran.measurements(), remedy=REMEDY)
        return ran.error("pip-audit printed no JSON")
    if dropped := _DROPPED.findall(ran.done.stderr):
        return ran.error(f"pip-audit left advisories out: {join_findings(dropped)}")
    return found if names else ran.error("pip-audit answered with no package")


def audited_names(answer: Items) -> set[str]:
    """Return the normalised names that were really audited."""
    return {canonicalize_name(item["name"]) for item in answer if "vulns" in item}
