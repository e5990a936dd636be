"""AC8: the framework's packages are dependencies with bounds, and install cleanly."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from mlx_preflight.core.errors import PreflightError, ResultError
from mlx_preflight.core.result import Measurement, Outcome, Status, read_result
from mlx_preflight.criteria import clean_venv
from mlx_preflight.criteria.clean_venv import Installation
from mlx_preflight.gates import audit
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context

_LOWER = (">=", ">", "==", "~=", "===")
_UPPER = ("<", "<=", "==", "~=", "===")


@dataclass(frozen=True, slots=True)
class DependencyFacts:
    """Parsed requirements, and the installation into a clean venv.

    Attributes:
        requirements: `[project] dependencies`.
        extras: The requirements of every extra, without those on the project itself.
        clean: The editable installation into a clean venv, and `pip check` there.
        audit: What gate 8 found in this run, or what the same audit found here.
    """

    requirements: tuple[Requirement, ...]
    extras: tuple[Requirement, ...]
    clean: Installation
    audit: Outcome


def gather(session: Session, context: Context) -> DependencyFacts:
    """Parse pyproject.toml and install the project into a clean venv.

    Raises:
        PreflightError: pyproject.toml has no readable `[project] dependencies`.
    """
    path = context.project / "pyproject.toml"
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        requirements = tuple(Requirement(line) for line in project["dependencies"])
        extras = tuple(
            Requirement(line)
            for lines in project.get("optional-dependencies", {}).values()
            for line in lines
        )
        name = canonicalize_name(str(project["name"]))
    except (OSError, KeyError, TypeError, ValueError, InvalidRequirement) as error:
        raise PreflightError(f"{path}: no readable dependencies: {error!r}") from error
    return DependencyFacts(
        requirements=requirements,
        extras=tuple(item for item in extras if canonicalize_name(item.name) != name),
        clean=clean_venv.editable(context, session.id),
        audit=_audit(context),
    )


def ac8_5(facts: DependencyFacts) -> Outcome:
    """Prove that every dependency and extra has a lower and an upper bound."""
    every = facts.requirements + facts.extras
    if not every:
        return Outcome(Status.ERROR, "no dependency was found, so none was examined")
    loose = [str(item) for item in every if not _bounded(item, every)]
    measured = (Measurement("requirements_examined", len(every), "count"),)
    if loose:
        reason = f"{len(loose)} of {len(every)} lack a bound: {'; '.join(loose[:5])}"
        return Outcome(Status.FAIL, reason, measurements=measured)
    reason = f"all {len(every)} requirements have both bounds"
    return Outcome(Status.PASS, reason, measurements=measured)


def _declared(facts: DependencyFacts, *, name: str) -> Outcome:
    found = [item for item in facts.requirements if canonicalize_name(item.name) == name]
    if not found:
        return Outcome(Status.FAIL, f"{name} is not in [project] dependencies")
    if not any(item.marker is None or item.marker.evaluate() for item in found):
        return Outcome(Status.FAIL, f"{found[0]} does not apply to this machine and Python")
    loose = [item for item in found if not _bounded(item, found)]
    if loose:
        return Outcome(Status.FAIL, f"{loose[0]} lacks a lower or an upper bound")
    return Outcome(Status.PASS, "; ".join(str(item) for item in found))


def _bounded(requirement: Requirement, every: Iterable[Requirement]) -> bool:
    """Return whether a requirement has both bounds, perhaps one of them on a line of its own."""

    def place(item: Requirement) -> tuple[str, str]:
        return canonicalize_name(item.name), str(item.marker)

    same = [item for item in every if place(item) == place(requirement)]
    operators = [one.operator for item in same for one in item.specifier]
    return any(op in _LOWER for op in operators) and any(op in _UPPER for op in operators)


def _audit(context: Context) -> Outcome:
    """Return gate 8's outcome of this run; without one, ask here what gate 8 would ask."""
    session, _ = register.find_session(register.GATE8_AUDIT)
    try:
        found = read_result(context.results / f"{session.id}.json")
    except ResultError:
        found = None
    if found is not None and found.run_id == context.run_id:
        gate = found.checks[0]
        return Outcome(gate.status, f"gate 8: {gate.reason}", remedy=gate.remedy)
    try:
        return audit.gate8(audit.gather(session, context))
    except PreflightError as error:
        return Outcome(Status.ERROR, str(error), remedy=error.hint)


CHECKS: dict[str, Callable[[DependencyFacts], Outcome]] = {
    register.AC8_1: partial(_declared, name="mlx-lm"),
    register.AC8_2: partial(_declared, name="mlx"),
    register.AC8_3: partial(_declared, name="transformers"),
    register.AC8_4: partial(_declared, name="huggingface-hub"),
    register.AC8_5: ac8_5,
    register.AC8_6: lambda facts: clean_venv.judge_install(facts.clean),
    register.AC8_7: lambda facts: clean_venv.judge_pip_check(facts.clean.pip_check),
    register.AC8_8: lambda facts: facts.audit,
}
