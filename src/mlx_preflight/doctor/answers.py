"""Causes of gibberish answers: tokenizer, template, base model, weights, sampling.

Everything is read from files; nothing is loaded or run.
"""

from __future__ import annotations

from pathlib import Path

from mlx_preflight.core.errors import CheckpointError
from mlx_preflight.core.units import format_bytes
from mlx_preflight.doctor.finding import Finding, Severity
from mlx_preflight.models import checkpoint
from mlx_preflight.models.files import MAX_CONFIG_BYTES, read_object
from mlx_preflight.models.validation import NOTES, UNKNOWN
from mlx_preflight.plan import remedies
from mlx_preflight.plan.profiles import EMBEDDED
from mlx_preflight.runtime import workers

_NAN = "one NaN makes every answer empty or repeated"

SCANNED_BYTES = 200_000_000
"""Weights up to this size are scanned for NaN within the doctor's three seconds."""

HOTTEST = 1.2
"""Sampling temperature above which small models drift; the plan suggests 0.7."""


def check(model: str) -> list[Finding]:
    """Return findings on the files of a model that is on this machine.

    Args:
        model: `embedded`, a folder, or a hub id (looked up in the local cache only).
    """
    try:
        folder = workers.resolve(model).path
        found = checkpoint.inspect(folder)
    except CheckpointError as error:
        why = "an incomplete checkpoint loads wrong or not at all"
        fix = error.hint or remedies.DOWNLOAD_AGAIN
        return [Finding("answers", Severity.PROBLEM, str(error), why, fix)]
    return [
        _template(found, model),
        *_problems(
            checkpoint.check_vocabulary(found),
            "the tokenizer fits the embedding",
            "a tokenizer of another model turns every answer into noise",
            remedies.OWN_TOKENIZER,
        ),
        *_shapes(found),
        *_values(found),
        _sampling(folder),
    ]


def _template(found: checkpoint.Checkpoint, model: str) -> Finding:
    if found.has_chat_template:
        return Finding("answers", Severity.GOOD, "a chat template is present", "instruct model")
    base = model != EMBEDDED and "instruct" not in model.lower() and "chat" not in model.lower()
    cause = "this looks like the base model" if base else "its template file is missing"
    fix = "use the -Instruct model, or add chat_template.jinja"
    why = "without one the prompt is not what it was trained on"
    return Finding("answers", Severity.PROBLEM, f"no chat template: {cause}", why, fix)


def _shapes(found: checkpoint.Checkpoint) -> list[Finding]:
    shapes = checkpoint.check_shapes(found)
    if not shapes.checked:
        why = "weights of another model would not be noticed here"
        fix = "mlx-preflight check ac4-loading"
        return [Finding("answers", Severity.UNKNOWN, f"shapes: {shapes.reason}", why, fix)]
    return _problems(
        list(shapes.problems),
        "the shapes agree with the config",
        "weights and config belong to different models",
        remedies.DOWNLOAD_AGAIN,
    )


def _problems(lines: list[str], good: str, why: str, fix: str) -> list[Finding]:
    """Return findings of what is wrong; of what is only noted where nothing is."""
    problems = [line for line in lines if not line.startswith(NOTES)]
    if problems:
        return [Finding("answers", Severity.PROBLEM, text, why, fix) for text in problems[:3]]
    unknown = [line for line in lines if line.startswith(UNKNOWN)]
    if unknown:
        return [Finding("answers", Severity.UNKNOWN, text, why, fix) for text in unknown[:3]]
    return [Finding("answers", Severity.GOOD, good, *(lines[:1] or ["checked in the files"]))]


def _values(found: checkpoint.Checkpoint) -> list[Finding]:
    if found.weight_bytes > SCANNED_BYTES:
        saw = f"{format_bytes(found.weight_bytes)} of weights were not scanned for NaN"
        return [Finding("answers", Severity.UNKNOWN, saw, _NAN, "mlx-preflight check ac4-loading")]
    values = checkpoint.check_values(found, None)
    if values.nonfinite:
        name, count = next(iter(values.nonfinite.items()))
        saw = f"{count} values of {name} are NaN or infinite"
        return [Finding("answers", Severity.PROBLEM, saw, _NAN, remedies.DOWNLOAD_AGAIN)]
    return [Finding("answers", Severity.GOOD, "no NaN or infinity in the weights", "all scanned")]


def _sampling(folder: Path) -> Finding:
    path = folder / "generation_config.json"
    try:
        config = read_object(path, MAX_CONFIG_BYTES)
        heat = float(config.get("temperature", 0.0))
    except (CheckpointError, ValueError, TypeError) as error:
        saw = f"generation_config.json is not readable: {error}"
        return Finding("answers", Severity.NOTE, saw, "mlx_lm's greedy default is used", "none")
    if heat > HOTTEST:
        saw = f"generation_config.json asks for temperature {heat:g}"
        why = "hot sampling picks unlikely tokens"
        return Finding("answers", Severity.PROBLEM, saw, why, "use --temperature 0.7 or lower")
    saw = f"sampling temperature {heat:g}"
    return Finding("answers", Severity.GOOD, saw, "answers are tested greedily (temperature 0)")
