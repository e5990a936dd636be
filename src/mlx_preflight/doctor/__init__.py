"""Diagnosis of a machine and a model, with the command that fixes each problem.

It covers the plan's four troubleshooting entries and the usual causes on a machine.
`GOOD` findings are kept: without them a diagnosis would not show what was checked.
"""

from __future__ import annotations

from mlx_preflight.doctor.diagnosis import DoctorTarget, diagnose
from mlx_preflight.doctor.finding import Finding, Severity

__all__ = ["DoctorTarget", "Finding", "Severity", "diagnose"]
