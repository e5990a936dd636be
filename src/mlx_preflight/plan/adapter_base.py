"""Base model that an adapter folder names; standard library only, as the noxfile asks it."""

from __future__ import annotations

from pathlib import Path

from mlx_preflight.core.errors import ResultError
from mlx_preflight.core.json_file import read_json
from mlx_preflight.plan.profiles import EMBEDDED

CONFIG = "adapter_config.json"
"""File in which mlx_lm.lora stores the settings of a run beside its adapters (0.32)."""

CONFIG_BYTES = 1_000_000
"""Bound of that file; one of mlx-lm takes about 1 kB."""

EMBEDDED_FOLDER = Path(__file__).parents[1] / "models" / "embedded"


def base_of(adapter: Path) -> str:
    """Return the model that an adapter folder names.

    Where it names none the folder stands for it: the run needs a name, and its first check says
    what is wrong.
    """
    try:
        document = read_json(adapter / CONFIG, limit_bytes=CONFIG_BYTES)
    except ResultError:
        return str(adapter)
    name = document.get("model") if isinstance(document, dict) else None
    return base_name(name) if isinstance(name, str) and name.strip() else str(adapter)


def base_name(name: str) -> str:
    """Return a model's name, `embedded` for the folder of the embedded model."""
    own = name == EMBEDDED or Path(name).expanduser().absolute() == EMBEDDED_FOLDER
    return EMBEDDED if own else name
