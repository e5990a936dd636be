"""Every session and check of the plan, in the plan's order.

The rows are in `register_gates`, `register_criteria` and `register_training`. To add a check:
an id and a row there, and a function in `CHECKS` of the session's module. No other module
spells an id: they import it from here.
"""

from __future__ import annotations

from mlx_preflight.core.errors import UsageError
from mlx_preflight.core.toml_table import suggest
from mlx_preflight.plan.register_criteria import *
from mlx_preflight.plan.register_criteria import AC4_LOADING, AC5_INFERENCE, AC6_MEMORY, CRITERIA
from mlx_preflight.plan.register_gates import *
from mlx_preflight.plan.register_gates import GATES, SELFTEST_SESSION
from mlx_preflight.plan.register_training import *
from mlx_preflight.plan.register_training import FINISH, TRAINING
from mlx_preflight.plan.settings import ProjectSettings
from mlx_preflight.plan.spec import GROUPS, WHOLE_PLAN, Check, Session

SESSIONS: tuple[Session, ...] = (*GATES, *CRITERIA, SELFTEST_SESSION, *TRAINING, *FINISH)


def sessions(group: str = "preflight", *, training: bool = False) -> tuple[Session, ...]:
    """Return the sessions of a group in the plan's order.

    Args:
        group: Its name.
        training: Whether a training run is part of the complete plan.

    Raises:
        UsageError: The group does not exist.
    """
    if group not in GROUPS:
        raise UsageError(f"unknown group {group!r}{suggest(group, GROUPS)}")
    tags = {*GROUPS[group], *(GROUPS["run"] if training and group == WHOLE_PLAN else ())}
    return tuple(item for item in SESSIONS if {item.tag, item.id} & tags)


def off(settings: ProjectSettings) -> dict[str, str]:
    """Return the sessions that a project turned off, with its reasons.

    Raises:
        UsageError: One of them does not exist; the message suggests the nearest one.
    """
    known = [item.id for item in SESSIONS]
    for name in settings.off:
        if name not in known:
            raise UsageError(f"off: unknown session {name!r}{suggest(name, known)}")
    return dict(settings.off)


def needs_project(session: Session) -> bool:
    """Return whether a session judges a project; a model or a training run needs none."""
    return session.tag not in {*GROUPS["run"], "finish"} and session.id not in {
        AC4_LOADING,
        AC5_INFERENCE,
        AC6_MEMORY,
    }


def judges_environment(session: Session, settings: ProjectSettings) -> bool:
    """Return whether a session looks at what is installed; gate 8 may read a lock instead."""
    reads_lock = session.tag == "gates" and session.stack == "runtime"
    return session.stack != "harness" and not (reads_lock and settings.audit_environment)


def find_session(name: str) -> tuple[Session, Check | None]:
    """Return the session of an id, or of one of its checks together with that check.

    Raises:
        UsageError: Nothing has that id; the message suggests the nearest one.
    """
    for session in SESSIONS:
        if session.id == name.lower():
            return session, None
        for check in session.checks:
            if check.id == name.upper():
                return session, check
    known = [item.id for item in SESSIONS] + [c.id for item in SESSIONS for c in item.checks]
    raise UsageError(
        f"unknown check {name!r}{suggest(name, known)}",
        hint="`mlx-preflight list` prints every id",
    )
