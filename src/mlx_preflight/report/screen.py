"""Show single things on a terminal: the plan, one session, a model, an answer, a diagnosis.

Everything that came from outside is wrapped in `Text` after control characters were
removed, so neither markup nor escape sequences in it reach the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlx_preflight.errors import harmless
from mlx_preflight.report.markdown import render_value
from mlx_preflight.result import SessionResult

if TYPE_CHECKING:
    from mlx_preflight.doctor import Finding
    from mlx_preflight.plan import Profile, Session

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


def plain(value: object) -> Text:
    """Return a value as text without control characters, line breaks kept."""
    return Text(harmless(str(value)))


def word(status: str) -> Text:
    """Return a status or severity in its colour."""
    return Text(status, style=STYLES.get(status, ""))


def show_plan(sessions: Sequence[Session], profiles: Mapping[str, Profile]) -> None:
    """Print every session and check of the plan, and the profiles."""
    console = Console()
    table = Table("id", "what it proves", box=None, padding=(0, 2, 0, 0))
    for session in sessions:
        table.add_row(Text(session.id, style="bold"), plain(session.title))
        if len(session.checks) > 1:
            for check in session.checks:
                note = f" (blocked: {check.blocked})" if check.blocked else ""
                table.add_row(f"  {check.id}", plain(check.title + note))
    console.print(table)
    shown = Table("profile", "model", "evidence", "budget", box=None, padding=(0, 2, 0, 0))
    for profile in profiles.values():
        budget = f"{profile.budget_gb:g} GB"
        shown.add_row(profile.name, profile.model, profile.evidence, budget)
    console.print()
    console.print(shown)


def show_session(result: SessionResult) -> None:
    """Print the checks of one session with reasons and, where not PASS, remedies."""
    console = Console()
    console.print(Text.assemble((result.title, "bold"), "  ", word(result.status)))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for overflow in ("ellipsis", "ellipsis", "ellipsis", "fold"):
        table.add_column(overflow=overflow)
    for check in result.checks:
        reason = plain(check.reason)
        if check.remedy:
            reason.append_text(Text("\ntry: ", style="dim")).append_text(plain(check.remedy))
        table.add_row(check.id, word(check.status), Text(check.evidence, style="dim"), reason)
    console.print(table)


def show_facts(title: str, facts: Mapping[str, Any]) -> None:
    """Print a flat table of what is known about a model."""
    console = Console()
    console.print(Text(title, style="bold"))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in _flat(facts):
        table.add_row(Text(name), plain(_rendered(name, value)))
    console.print(table)


def show_answer(answer: Mapping[str, Any]) -> None:
    """Print an answer and how long it took."""
    console = Console()
    console.print(plain(answer["text"]))
    speed = answer["decode_tokens_per_s"]
    rate = "too short to measure" if speed is None else f"{speed:.1f} tokens/s"
    line = (
        f"\n{len(answer['token_ids'])} tokens, first after {answer['first_token_s']:.3f} s, "
        f"decode {rate}, finished by {answer['finish_reason']}"
    )
    console.print(Text(line, style="dim"))


def show_diagnosis(findings: Iterable[Finding]) -> None:
    """Print what was seen, why it matters and the command that fixes it."""
    console = Console()
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for overflow in ("ellipsis", "ellipsis", "fold"):  # a command must be readable whole
        table.add_column(overflow=overflow)
    for item in findings:
        text = plain(item.saw)
        text.append_text(Text(f"\n{item.why}", style="dim"))
        if item.fix:
            text.append_text(Text("\nfix: ", style="bold")).append_text(plain(item.fix))
        table.add_row(item.topic, word(item.severity), text)
    console.print(table)


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            for item in value:
                yield f"{prefix}{name}", ", ".join(f"{k}: {v}" for k, v in item.items() if v)
        else:
            yield f"{prefix}{name}", value


def _rendered(name: str, value: Any) -> str:
    if value is None:
        return "unknown"
    if name.endswith("_bytes"):
        return render_value(value, "bytes")
    if name == "parameters":
        return f"{value:,}"
    if name.endswith("_s") and isinstance(value, float):
        return f"{value:.3f} s"
    return str(value)
