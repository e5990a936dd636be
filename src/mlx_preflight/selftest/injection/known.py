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
    "gate4-unit: an exit of 0 before a failing test": _EXIT,
    "gate5-integration: an exit of 0 before a failing test": _EXIT,
}
"""Id of a case → why it is missed, or a false alarm. One that ends well again leaves this."""
