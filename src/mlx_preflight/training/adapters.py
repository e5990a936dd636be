"""The adapters of a training run, counted from the model's config alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlx_preflight.core.errors import PreflightError
from mlx_preflight.models import source
from mlx_preflight.training.training_run import TrainingRun

if TYPE_CHECKING:
    from mlx_preflight.memory.adapters import Adapters

_UNQUANTIZED = "fine_tune_type lora, or the model without quantization"


class AdapterError(PreflightError):
    """Settings with which mlx_lm itself could train nothing."""


def of_run(run: TrainingRun) -> Adapters:
    """Return what the run trains.

    Raises:
        AdapterError: mlx_lm refuses the settings; the message is its own.
        PreflightError: The model's config is not here, or no model can be built from it.
    """
    from mlx_preflight.memory import adapters, installation  # noqa: PLC0415  (it imports mlx)

    config = source.find(run.model).config
    settings = run.settings
    try:
        return adapters.count(
            config,
            num_layers=settings["num_layers"],
            parameters=settings["lora_parameters"],
            fine_tune_type=settings["fine_tune_type"],
        )
    except PreflightError:
        raise
    # A wrong setting can end in any exception of mlx_lm; the run would end in the same one.
    except Exception as error:
        text = error.args[0] if error.args else ""
        hints = {"num_layers": "num_layers -1 takes all blocks", "unfreezes": _UNQUANTIZED}
        hint = next((hint for word, hint in hints.items() if word in str(text)), "")
        said = f"{type(error).__name__}: {text}"
        if not hint:
            # A setting or the installation: the words alone do not tell.
            said = f"{said} ({installation.pair()})"
            hint = f"correct the settings of the adapters, or {installation.OTHER_PAIR}"
        raise AdapterError(said, hint=hint) from error
