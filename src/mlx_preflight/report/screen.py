"""Terminal output of the plan, a session, a model, an answer or a diagnosis.

Everything that came from outside is wrapped in `Text` after control characters were
removed, so neither markup nor escape sequences in it reach the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlx_preflight.core.result import SessionResult
from mlx_preflight.core.text import strip_control
from mlx_preflight.core.units import GIGA, format_bytes, format_number, format_seconds

if TYPE_CHECKING:
    from mlx_preflight.doctor import Finding
    from mlx_preflight.plan.profiles import Profile
    from mlx_preflight.plan.spec import Session

STYLES = {
    "PASS": "green",
    "FAIL": "bold red",
    "ERROR": "red",
    "BLOCKED": "yellow",
    "good": "green",
    "problem": "bold red",
    "unknown": "yellow",
    "note": "cyan",
}


def to_text(value: object) -> Text:
    """Return a value as text without control characters, line breaks kept."""
    return Text(strip_control(str(value)))


def word(status: str) -> Text:
    """Return a status or severity in its colour."""
    return Text(status, style=STYLES.get(status, ""))


def plain_table(*overflow: Any) -> Table:
    """Return a table without header and borders; each column says how it treats long text."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for kind in overflow:
        table.add_column(overflow=kind)
    return table


def show_plan(sessions: Sequence[Session], profiles: Mapping[str, Profile]) -> None:
    """Print every session and check of the plan, and the profiles."""
    console = Console()
    table = Table("id", "what it proves", box=None, padding=(0, 2, 0, 0))
    for session in sessions:
        table.add_row(Text(session.id, style="bold"), to_text(session.title))
        if len(session.checks) > 1:
            for check in session.checks:
                table.add_row(f"  {check.id}", to_text(check.title))
    console.print(table)
    shown = Table("profile", "model", "evidence", "budget", box=None, padding=(0, 2, 0, 0))
    for profile in profiles.values():
        budget = format_bytes(profile.budget_gb * GIGA)
        shown.add_row(profile.name, profile.model, profile.evidence, budget)
    console.print()
    console.print(shown)


def show_session(result: SessionResult) -> None:
    """Print the checks of one session with reasons and, where not PASS, remedies."""
    console = Console()
    console.print(Text.assemble((result.title, "bold"), "  ", word(result.status)))
    table = plain_table("ellipsis", "ellipsis", "ellipsis", "fold")
    for check in result.checks:
        reason = to_text(check.reason)
        if check.remedy:
            reason.append_text(Text("\ntry: ", style="dim")).append_text(to_text(check.remedy))
        table.add_row(check.id, word(check.status), Text(check.evidence, style="dim"), reason)
    console.print(table)


def show_facts(title: str, facts: Mapping[str, Any]) -> None:
    """Print a flat table of facts about a model."""
    console = Console()
    console.print(Text(title, style="bold"))
    table = plain_table()
    for name, value in _flatten(facts):
        table.add_row(Text(name), to_text(_format_value(name, value)))
    console.print(table)


def show_answer(answer: Mapping[str, Any]) -> None:
    """Print an answer and how long it took."""
    console = Console()
    console.print(to_text(answer["text"]))
    speed = answer["decode_tokens_per_s"]
    rate = "too short to measure" if speed is None else f"{format_number(speed)} tokens/s"
    line = (
        f"\n{len(answer['token_ids'])} tokens, "
        f"first after {format_seconds(answer['first_token_s'])}, "
        f"decode {rate}, finished by {answer['finish_reason']}"
    )
    console.print(Text(line, style="dim"))


def show_diagnosis(findings: Iterable[Finding]) -> None:
    """Print what was seen, why it matters and the command that fixes it."""
    console = Console()
    table = plain_table("ellipsis", "ellipsis", "fold")  # a command must not be cut
    for item in findings:
        text = to_text(item.saw)
        text.append_text(Text(f"\n{item.why}", style="dim"))
        if item.fix:
            text.append_text(Text("\nfix: ", style="bold")).append_text(to_text(item.fix))
        table.add_row(item.topic, word(item.severity), text)
    console.print(table)


def _flatten(facts: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            for item in value:
                yield f"{prefix}{name}", ", ".join(f"{k}: {v}" for k, v in item.items() if v)
        else:
            yield f"{prefix}{name}", value


def _format_value(name: str, value: Any) -> str:
    if value is None:
        return "unknown"
    if name.endswith("_bytes"):
        return format_bytes(value)
    if name == "parameters":
        return f"{value:,}"
    if name.endswith("_s") and isinstance(value, float):
        return format_seconds(value)
    return str(value)
