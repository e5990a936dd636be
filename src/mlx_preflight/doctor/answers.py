"""Causes of gibberish answers: tokenizer, template, base model, weights, sampling.

Everything is read from files, and a child renders the chat template; no weight is loaded, and
no code of a folder is run.
"""

from __future__ import annotations

from mlx_preflight.core.errors import CheckpointError, ChildError
from mlx_preflight.core.text import printable, printable_list
from mlx_preflight.core.units import format_bytes
from mlx_preflight.doctor.finding import Finding, Severity
from mlx_preflight.models import checkpoint, hub_cache
from mlx_preflight.models.validation import NOTES, UNKNOWN
from mlx_preflight.plan import remedies
from mlx_preflight.plan.profiles import EMBEDDED
from mlx_preflight.runtime import tokenizer_look, workers

_NAN = "one NaN makes every answer empty or repeated"

SCANNED_BYTES = 200_000_000
"""Weights up to this size are scanned for NaN within the doctor's three seconds."""

LOOK_S = 60.0
"""Longest time for a child to load the tokenizer and render; it takes about two seconds."""

HOTTEST = 1.2
"""Sampling temperature above which small models drift; the plan suggests 0.7."""


def check(model: str) -> list[Finding]:
    """Return findings on the files of a model that is on this machine.

    Args:
        model: `embedded`, a folder, or a hub id (looked up in the local cache only).
    """
    try:
        found = checkpoint.inspect(workers.resolve(model).path)
    except CheckpointError as error:
        why = "an incomplete checkpoint loads wrong or not at all"
        fix = error.hint or remedies.DOWNLOAD_AGAIN
        return [Finding("answers", Severity.PROBLEM, str(error), why, fix)]
    return [
        *_code(found),
        *_template(found, model),
        *_problems(
            checkpoint.check_vocabulary(found),
            "the tokenizer fits the embedding",
            "a tokenizer of another model turns every answer into noise",
            remedies.OWN_TOKENIZER,
        ),
        *_shapes(found),
        *_dtypes(found),
        *_values(found),
        _sampling(found),
    ]


def _code(found: checkpoint.Checkpoint) -> list[Finding]:
    """Return that a model is made by code of its folder, which mlx_lm refuses to run."""
    if "model_file" not in found.config:
        return []
    saw = f"config.json asks for code of the folder: {printable(found.config['model_file'])}"
    why = "code from a model folder is never run, so the model cannot be loaded"
    return [Finding("answers", Severity.PROBLEM, saw, why, "use another model")]


def _template(found: checkpoint.Checkpoint, model: str) -> list[Finding]:
    return _rendered(found) if found.has_chat_template else [_no_template(model)]


def _rendered(found: checkpoint.Checkpoint) -> list[Finding]:
    """Return what is wrong with a chat template, as a child of its own renders it."""
    ends = found.generation_config.get("eos_token_id") or found.config.get("eos_token_id")
    known = {"eos_token_id": ends, "vocab_size": found.vocab_size}
    try:
        look = tokenizer_look.ask(found.folder, known, timeout_s=LOOK_S)
    except ChildError as error:
        saw, why = f"the chat template was not rendered: {error}", "it may ask nothing"
        return [Finding("answers", Severity.UNKNOWN, saw, why, "mlx-preflight check ac4-loading")]
    if look["problem"]:
        saw = f"the tokenizer does not load: {look['problem']}"
        why = "without it nothing can be asked"
        return [Finding("answers", Severity.PROBLEM, saw, why, remedies.OWN_TOKENIZER)]
    good = f"the chat template renders, and an answer ends at {look['ends']}"
    why, fix = "the model is asked in a way that it was not trained on", remedies.OWN_TEMPLATE_FILE
    return _problems(look["template"], good, why, fix)


def _no_template(model: str) -> Finding:
    base = model != EMBEDDED and "instruct" not in model.lower() and "chat" not in model.lower()
    cause = "this looks like the base model" if base else "its template file is missing"
    fix = remedies.OWN_TEMPLATE
    why = "without one the prompt is not what it was trained on"
    return Finding("answers", Severity.PROBLEM, f"no chat template: {cause}", why, fix)


def _dtypes(found: checkpoint.Checkpoint) -> list[Finding]:
    return _problems(
        checkpoint.check_dtypes(found),
        "the tensors are of types that mlx computes in",
        "weights of another type, or not quantized as declared, are not what was downloaded",
        remedies.DOWNLOAD_AGAIN,
    )


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
    if values.all_zero:
        saw = f"{len(values.all_zero)} tensors hold only zeros: {printable_list(values.all_zero)}"
        why = "a layer of zeros passes nothing on"
        return [Finding("answers", Severity.PROBLEM, saw, why, remedies.DOWNLOAD_AGAIN)]
    if hub_cache.is_snapshot(found.folder) and (
        damaged := hub_cache.damaged(found.folder, checkpoint.digests(found))
    ):
        why = "the file changed after its download"
        return [
            Finding("answers", Severity.PROBLEM, text, why, remedies.DOWNLOAD_AGAIN)
            for text in damaged
        ]
    saw = "no NaN, no infinity and no tensor of zeros in the weights"
    return [Finding("answers", Severity.GOOD, saw, "all scanned")]


def _sampling(found: checkpoint.Checkpoint) -> Finding:
    heat = found.generation_config.get("temperature") or 0.0
    if type(heat) not in (int, float):
        saw = f"generation_config.json has the temperature {printable(heat)}"
        why, fix = "mlx_lm does not read it, and others would stop at it", "make it a number"
        return Finding("answers", Severity.NOTE, saw, why, fix)
    if heat > HOTTEST:
        saw = f"generation_config.json asks for temperature {heat:g}"
        why = "hot sampling picks unlikely tokens"
        return Finding("answers", Severity.PROBLEM, saw, why, "use --temperature 0.7 or lower")
    saw = f"sampling temperature {heat:g}"
    if not found.generation_config:
        saw = "there is no generation_config.json: sampling is greedy"
    return Finding("answers", Severity.GOOD, saw, "answers are tested greedily (temperature 0)")
