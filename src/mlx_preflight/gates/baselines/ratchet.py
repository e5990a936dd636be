"""Judge of a static tool's findings: against a recorded baseline, or a plain number."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.core.diagnostic import Diagnostic
from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.result import Measurement, Outcome, Status
from mlx_preflight.core.text import join_findings
from mlx_preflight.gates import tool
from mlx_preflight.gates.baselines import baseline, fingerprint
from mlx_preflight.gates.baselines.baseline import Baseline, Binding
from mlx_preflight.gates.baselines.fingerprint import Comparison, Fingerprint
from mlx_preflight.run.context import Context


@dataclass(frozen=True, slots=True)
class Ratchet:
    """Findings of one tool, and what they are compared with.

    Attributes:
        kind: `lint` or `types`.
        limit: Accepted number of findings where no baseline is recorded.
        suppressions_max: Accepted number of suppressions there; None accepts any.
        recorded: The baseline, if there is one.
        binding: What a baseline recorded now would be valid for.
        suppressions: What the project suppresses now.
        found: Findings of the tool, in its order.
        fingerprints: Their fingerprints, in the same order.
    """

    kind: str
    project: Path
    limit: int
    suppressions_max: int | None
    recorded: Baseline | None
    binding: Binding
    suppressions: dict[str, int]
    found: list[Diagnostic]
    fingerprints: list[Fingerprint]

    @property
    def command(self) -> str:
        """Return the command that records the baseline again."""
        return f"mlx-preflight baseline record {self.kind}"


def prepare(
    kind: str,
    context: Context,
    ran: tool.ToolRun,
    suppressions: dict[str, int],
    found: list[Diagnostic],
) -> Ratchet:
    """Read what the findings of a run are compared with, and the sources that they are in.

    Raises:
        ResultError: The baseline cannot be used.
    """
    settings = context.settings
    # Ruff runs nothing, so no Python of this machine changes what it finds.
    python = context.environment.markers["python_version"] if kind == "types" else ""
    return Ratchet(
        kind,
        context.project,
        settings.lint_max if kind == "lint" else settings.types_max,
        settings.lint_suppressions_max if kind == "lint" else settings.types_suppressions_max,
        baseline.read(baseline.locate(context.project, settings.baselines, kind)),
        baseline.binding(kind, context.project, ran.name, ran.version, python),
        suppressions,
        found,
        fingerprint.compute(context.project, found),
    )


def judge(ratchet: Ratchet, ran: tool.ToolRun, examined: int, noun: str) -> Outcome:
    """Return PASS when nothing is new, by fingerprint where a baseline is recorded.

    Args:
        ratchet: What to compare, and with what.
        ran: The tool's run.
        examined: Files that it checked, at least one.
        noun: `findings` or `errors`; name of the measured count.
    """
    if ratchet.recorded is None:
        return _by_count(ratchet, ran, examined, noun)
    if difference := ratchet.recorded.binding.difference(ratchet.binding):
        raise ResultError(
            f"the {ratchet.kind} baseline was recorded for something else: {difference}",
            hint=f"review the difference, then `{ratchet.command}`",
        )
    changed = fingerprint.compare(ratchet.recorded.fingerprints, ratchet.fingerprints)
    return _by_fingerprint(ratchet, ratchet.recorded, ran, changed, examined, noun)


def _by_count(ratchet: Ratchet, ran: tool.ToolRun, examined: int, noun: str) -> Outcome:
    """Compare with a plain number, which cannot tell a new finding from an old one."""
    found = tuple(ratchet.found)
    total, most = sum(ratchet.suppressions.values()), ratchet.suppressions_max
    measured = ran.measurements(
        Measurement("files_examined", examined, "count", ">= 1"),
        Measurement(noun, len(found), "count", f"<= {ratchet.limit}"),
        Measurement("suppressions", total, "count", None if most is None else f"<= {most}"),
    )
    reason = f"{len(found)} {noun} in {examined} files, {ratchet.limit} accepted by count"
    if most is not None and total > most:
        reason = f"{total} suppressions, {most} accepted by count; {reason}"
        remedy = f"take out what was silenced lately, or raise {ratchet.kind}-suppressions-max"
        remedy = "" if len(found) > ratchet.limit else remedy
        return Outcome(Status.FAIL, reason, None, measured, remedy, found)
    if len(found) > ratchet.limit:
        reason = f"{reason}: {join_diagnostics(ratchet.found)}"
        return Outcome(Status.FAIL, reason, measurements=measured, diagnostics=found)
    known = tuple(dataclasses.replace(item, state="known") for item in found)
    return Outcome(Status.PASS, reason, measurements=measured, diagnostics=known)


def _by_fingerprint(
    ratchet: Ratchet,
    recorded: Baseline,
    ran: tool.ToolRun,
    changed: Comparison,
    examined: int,
    noun: str,
) -> Outcome:
    found = ratchet.found
    new = frozenset(changed.new)
    places = tuple(
        item if index in new else dataclasses.replace(item, state="known")
        for index, item in enumerate(found)
    )
    more = {
        name: (number, recorded.suppressions.get(name, 0))
        for name, number in ratchet.suppressions.items()
        if number > recorded.suppressions.get(name, 0)
    }
    measured = ran.measurements(
        Measurement("files_examined", examined, "count", ">= 1"),
        Measurement(noun, len(found), "count", f"<= {recorded.total}"),
        Measurement(f"{noun}_new", len(new), "count", "<= 0"),
        Measurement(f"{noun}_fixed", len(changed.fixed), "count"),
        Measurement(
            "suppressions",
            sum(ratchet.suppressions.values()),
            "count",
            f"<= {sum(recorded.suppressions.values())}",
        ),
    )
    reason = (
        f"{len(new)} new {noun}, {len(found)} in all in {examined} files; "
        f"{recorded.total} recorded, {len(changed.fixed)} of them gone"
    )
    if new or len(found) > recorded.total:
        reason = f"{reason}: {join_diagnostics([found[index] for index in changed.new])}"
        return Outcome(Status.FAIL, reason, measurements=measured, diagnostics=places)
    if more:
        grown = ", ".join(f"{name} {now}, {then} recorded" for name, (now, then) in more.items())
        reason = f"suppressions grew ({grown}); {reason}"
        remedy = (
            f"take out what was silenced lately, or `{ratchet.command} --accept-new --reason …`"
        )
        return Outcome(Status.FAIL, reason, None, measured, remedy, places)
    if changed.fixed:
        reason = f"{reason}; `{ratchet.command}` tightens the baseline"
    return Outcome(Status.PASS, reason, measurements=measured, diagnostics=places)


def join_diagnostics(found: list[Diagnostic]) -> str:
    """Return the first findings as one text."""
    return join_findings([f"{item.path}:{item.line} {item.code} {item.message}" for item in found])
