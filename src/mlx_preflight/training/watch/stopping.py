"""End of a run by signals: SIGINT, then SIGTERM, then SIGKILL."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from mlx_preflight.training.watch.process_tree import ProcessTree

PATIENCE_S = (10.0, 5.0)
"""Seconds that a run has after SIGINT, and after SIGTERM."""

HURRY_S = (2.0, 1.0)
"""The same where memory is running out: a step that is in progress goes on taking it."""


@dataclass(slots=True)
class Stopping:
    """Stop of a run, once it was decided.

    Attributes:
        tree: Processes of the run.
        ignores_interrupt: Whether the run was started with SIGINT ignored, as a shell starts what
            runs in the background of a script: then SIGTERM is the first signal.
        reason: Why it is stopped; empty while it is not.
        sent: Signals that were sent, in order.
    """

    tree: ProcessTree
    ignores_interrupt: bool = False
    reason: str = ""
    sent: list[str] = field(default_factory=list)
    _hurried: bool = False
    _due: list[tuple[float, str, Callable[[], None]]] = field(default_factory=list)

    def begin(self, reason: str, now_s: float, *, hurry: bool) -> None:
        """Decide the stop and send the first signal; a second decision changes nothing."""
        if self.reason:
            return
        self.reason = reason
        first, second = HURRY_S if hurry else PATIENCE_S
        first = 0.0 if self.ignores_interrupt else first
        self._due = [
            (now_s, "SIGINT", self.tree.interrupt),
            (now_s + first, "SIGTERM", lambda: self.tree.signal(signal.SIGTERM)),
            (now_s + first + second, "SIGKILL", self.tree.kill),
        ]
        self.tick(now_s)

    def hurry(self, now_s: float) -> None:
        """Shorten the patience, once: the limit is reached, and the run still goes on."""
        if self._hurried:
            return
        self._hurried = True
        pause_s = HURRY_S[-1]
        self._due = [
            (min(due_s, now_s + number * pause_s), name, send)
            for number, (due_s, name, send) in enumerate(self._due, 1)
        ]

    def tick(self, now_s: float) -> None:
        """Send what is due."""
        while self._due and self._due[0][0] <= now_s:
            _, name, send = self._due.pop(0)
            self.sent.append(name)
            send()
