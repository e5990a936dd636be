"""Names of the command line's commands: help draws them by panel, guides are checked by them."""

from __future__ import annotations

PANELS = {
    "Qualify": (
        *("qualify", "data", "rehearse", "watch", "finish"),
        *("doctor", "list", "check", "summary", "report", "sign-off"),
        *("download", "synthesize", "load", "generate", "document"),
    ),
    "Memory": ("estimate", "fit", "measure", "calibrate", "calibration"),
    "Frameworks": ("comparison", "evaluation", "export"),
    "Gates": ("init", "baseline", "selftest", "merge"),
    "Runs": ("runs", "history"),
    "Serve": ("mcp", "advisories"),
}
"""Heading in `--help` → its commands, each in the order in which a newcomer needs them."""

COMMANDS = frozenset(name for names in PANELS.values() for name in names)
