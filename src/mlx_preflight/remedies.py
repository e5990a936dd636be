"""Hold the remedies that both a failed check and `mlx-preflight doctor` give.

It must import nothing: the register reads it, and nox imports the register.
"""

from __future__ import annotations

INSTALL = "source .venv/bin/activate && python3 -m pip install -e ."
"""The stack is missing here: another venv is active than the one installed into."""

REINSTALL = "python3 -m pip install --force-reinstall -e . && python3 -m pip check"
"""Installed versions contradict each other's requirements."""

OWN_TOKENIZER = "use the tokenizer files that came with the weights"
"""The tokenizer is another model's."""

DOWNLOAD_AGAIN = "download the model again"
"""Files are damaged or belong to different models."""

OVER_BUDGET = (
    "shorter rows first (--max-seq-length), then --grad-checkpoint, fewer --num-layers, "
    "batch size 1, or the fallback framework"
)
"""Training needs more than the budget; from what saves most for what it costs."""
MCP = "`pip install 'mlx-preflight[mcp]'`, then see the reason"
