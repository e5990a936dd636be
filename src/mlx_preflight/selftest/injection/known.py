"""Cases that are known not to end well, each with its reason; none is left out for that."""

from __future__ import annotations

_EXIT = "pytest's own exit code is believed: collected and reported tests are not compared"
_PROSE = "the decision is recognized by its wording"
_COMMAND = "no command of the guide is resolved"
_BLOCK = "config.json alone says what is quantized"
_SCRIPT = "the script is parsed and not run"
_TURN = "no assistant turn is rendered to see how it ends"

OPEN: dict[str, str] = {
    "mcp: an exit of 0 before a failing test": _EXIT,
    "mcp: an exit status that a conftest sets": _EXIT,
    "mcp: a plugin that says that tests passed": _EXIT,
    "ac5-inference: a turn that never ends": _TURN,
    "run3-model: no tokenizer": "RUN3.3 names the missing file, and RUN3.4 passes without it",
    "ac4-loading: dtype: auto": "only the names of float types are known",
    "ac4-loading: a script that is not written": _SCRIPT,
    "ac4-loading: a script that imports nothing": _SCRIPT,
    "ac4-loading: an end of turn that no file stops at": _TURN,
    "ac4-loading: a block of a quantization that is none": _BLOCK,
    "gate4-unit: an exit of 0 before a failing test": _EXIT,
    "gate5-integration: an exit of 0 before a failing test": _EXIT,
    "ac2-selection: decision: The team chose MLX-LM": _PROSE,
    "ac2-selection: decision: The selected framework is MLX-LM": _PROSE,
    "ac2-selection: decision: We will use MLX-LM": _PROSE,
    "ac2-selection: decision: MLX-LM was chosen, though it does not offer GRPO,": _PROSE,
    "ac7-guide: a command that no program is": _COMMAND,
    "ac7-guide: a program that is misspelt": _COMMAND,
    "ac7-guide: a session that is none": _COMMAND,
    "ac7-guide: a script that is not there": _COMMAND,
    "ac7-guide: a command that destroys": _COMMAND,
}
"""Id of a case → why it is missed, or a false alarm. One that ends well again leaves this."""
