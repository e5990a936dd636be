"""Remedies that both a failed check and `mlx-preflight doctor` give.

It must import nothing: the register reads it, and nox imports the register.
"""

from __future__ import annotations

INSTALL = "source .venv/bin/activate && python3 -m pip install -e ."
"""The stack is missing here: another venv is active than the one installed into."""

REINSTALL = "python3 -m pip install --force-reinstall -e . && python3 -m pip check"
"""Installed versions contradict each other's requirements."""

OWN_TOKENIZER = "use the tokenizer files that came with the weights"
"""The tokenizer is another model's."""

OWN_TEMPLATE = "use the -Instruct model, or add chat_template.jinja"
"""There is no chat template: a base model has none, and no download brings one."""

OWN_TEMPLATE_FILE = "use the template and generation_config.json that came with the weights"
"""The chat template does not render, or no generation would stop where it ends an answer."""

DOWNLOAD_AGAIN = "download the model again"
"""Files are damaged or belong to different models."""

OVER_BUDGET = (
    "shorter rows first (--max-seq-length), then --grad-checkpoint, fewer --num-layers, "
    "batch size 1, or the fallback framework"
)
"""Training needs more than the budget; from what saves most for what it costs."""

MCP = "`pip install 'mlx-preflight[mcp]'`"

ADAPTER_AGAIN = "copy the whole folder that mlx_lm.lora wrote, or train again"
"""Files of an adapter folder are missing, damaged, or another program's."""

OWN_BASE = "name the model that was trained with --model, or train again on this one"
"""Adapter and base do not belong together."""

EARLIER_SAVE = (
    "use the last numbered save that is sound, then train again: `mlx-preflight data` names "
    "batches whose loss is NaN"
)
"""Adapter values are not finite."""

LEARN_MORE = "train longer or with a higher learning_rate, and see that the training loss falls"
"""The adapter changes nothing."""

FUSE_AGAIN = "run `mlx_lm.fuse` again with this base and this adapter, without --dequantize"
"""The fused model is not what fusing this adapter gives."""
