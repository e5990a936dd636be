"""Ask the model and judge its answers: `python3 scripts/training/inference_test.py --help`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from mlx_preflight.core.result import Status
from mlx_preflight.core.units import format_number
from mlx_preflight.criteria import answers
from mlx_preflight.criteria.command import ScriptRun, main

NEEDED = ("AC5.2", "AC5.3", "AC5.4", "AC5.5", "AC5.6", "AC5.7")
# Only the plan's session waits for the person who reads the answers.
MAY_WAIT = ("AC5.4",)


def lines(run: ScriptRun) -> Iterator[str]:
    """Yield every prompt with its answer and its speed."""
    if run.check("AC5.2").status is not Status.PASS:
        return
    stored = answers.read(run.context.state)
    for item, times in zip(stored["judged"]["answers"], stored["times"], strict=True):
        seconds = times["first_token_s"] + times["decode_s"]
        speed = times["tokens"] / seconds
        yield f"Test prompt: {item['prompt']}"
        yield f"Response:\n{item['answer']}"
        yield (
            f"Response generated: {times['tokens']} tokens in {format_number(seconds, 3)} seconds "
            f"({format_number(speed)} tokens/sec)\n"
        )
    yield f"Coherence: {run.check('AC5.4').status}: {run.check('AC5.4').reason}"
    yield f"Inference time: {format_number(run.value('answer_s'), 3)} seconds per answer (median)"
    yield f"Decode speed: {format_number(run.value('decode_tokens_per_s'))} tokens/sec (median)"


if __name__ == "__main__":
    sys.exit(main("ac5-inference", NEEDED, lines, may_wait=MAY_WAIT))
