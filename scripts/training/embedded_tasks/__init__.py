"""Generate the instruction → Python-function pairs that the embedded model is trained on.

A template describes one task: wordings of what the function does, the answer's source, a
reference implementation written independently of that source, and inputs for examples.
`$k`-style placeholders stand for parameters; `$name` is the function's name.

Two things are held back from training, both decided by a hash and not by a person's
choice: one wording of every template, and one in five of the sentence openers and of the
combinations of function name and parameters.

One module per kind of task, `template` for the form of all, `pairs` for what is drawn from them.
"""

from embedded_tasks.pairs import (
    HELD_ONE_IN,
    HELD_OPENERS,
    OPENERS,
    TEMPLATES,
    Pair,
    held_out,
    make_pair,
    training_pairs,
)
from embedded_tasks.template import Template

__all__ = [
    "HELD_ONE_IN",
    "HELD_OPENERS",
    "OPENERS",
    "TEMPLATES",
    "Pair",
    "Template",
    "held_out",
    "make_pair",
    "training_pairs",
]
