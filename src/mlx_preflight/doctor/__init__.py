"""Diagnose what stands in the way, and name the command that fixes it.

The plan's four troubleshooting entries and the usual causes on a machine. Every finding
says what was seen, why it matters and what to type. `GOOD` findings are kept: a report
of a diagnosis without them would not show what was looked at.
"""

from __future__ import annotations

from mlx_preflight.doctor.finding import Finding, Severity
from mlx_preflight.doctor.patient import Patient, diagnose

__all__ = ["Finding", "Patient", "Severity", "diagnose"]
