"""Answer, with evidence, whether a model can be fine-tuned on this machine.

What `__all__` names is public and stands in docs/api.md; everything else may change.
"""

# Every type checker knows the name; importing `typing` would slow the noxfile down.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from mlx_preflight.core.diagnostic import Diagnostic
    from mlx_preflight.core.errors import (
        BlockedError,
        CheckpointError,
        ChildError,
        EstimateError,
        PreflightError,
        ResultError,
        UntraceableError,
        UsageError,
    )
    from mlx_preflight.core.result import CheckResult, Evidence, Measurement, SessionResult, Status
    from mlx_preflight.memory.api import fit, measure, predict
    from mlx_preflight.memory.fit import Fit, Search
    from mlx_preflight.memory.measure import Measured
    from mlx_preflight.memory.predict import Prediction
    from mlx_preflight.memory.settings import Settings
    from mlx_preflight.models.validation import ValidationReport, load_checkpoint_report
    from mlx_preflight.models.values import ValueCheck
    from mlx_preflight.run.manifest import Manifest
    from mlx_preflight.run.summary import judge
    from mlx_preflight.run.verdict import Row, Verdict

__version__ = "0.1.0"

__all__ = [
    "BlockedError",
    "CheckResult",
    "CheckpointError",
    "ChildError",
    "Diagnostic",
    "EstimateError",
    "Evidence",
    "Fit",
    "Manifest",
    "Measured",
    "Measurement",
    "Prediction",
    "PreflightError",
    "ResultError",
    "Row",
    "Search",
    "SessionResult",
    "Settings",
    "Status",
    "UntraceableError",
    "UsageError",
    "ValidationReport",
    "ValueCheck",
    "Verdict",
    "fit",
    "judge",
    "load_checkpoint_report",
    "measure",
    "predict",
]

_HOMES = {
    "core.diagnostic": ("Diagnostic",),
    "core.errors": [name for name in __all__ if name.endswith("Error")],
    "core.result": ("CheckResult", "Evidence", "Measurement", "SessionResult", "Status"),
    "memory.api": ("fit", "measure", "predict"),
    "memory.fit": ("Fit", "Search"),
    "memory.measure": ("Measured",),
    "memory.predict": ("Prediction",),
    "memory.settings": ("Settings",),
    "models.validation": ("ValidationReport", "load_checkpoint_report"),
    "models.values": ("ValueCheck",),
    "run.manifest": ("Manifest",),
    "run.summary": ("judge",),
    "run.verdict": ("Row", "Verdict"),
}
"""Module → the public names that are taken from it when they are first asked for."""

if not TYPE_CHECKING:  # (a checker that saw this function would accept every name)

    def __getattr__(name: str) -> object:
        """Import a public name when it is first asked for."""
        for home, names in _HOMES.items():
            if name in names:
                module = __import__(f"{__name__}.{home}", fromlist=[name])
                return globals().setdefault(name, getattr(module, name))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        """Return the names, with those that are not imported yet."""
        return sorted({*globals(), *__all__})
