"""Judge AC6: what inference and QLoRA training need, and whether that fits the budget."""

from __future__ import annotations

import statistics

from mlx_preflight.criteria import documented, script
from mlx_preflight.criteria.profiling import Facts, gather
from mlx_preflight.criteria.subject import failed, gb, text
from mlx_preflight.memory import closed_form
from mlx_preflight.model.exchange import Memory, TrainingReport
from mlx_preflight.plan import EMBEDDED
from mlx_preflight.report import training_documents
from mlx_preflight.result import Measurement, Outcome, Status

__all__ = ["Facts", "gather"]

SCRIPT = "memory_profile.py"
TARGET = "Qwen/Qwen2.5-Coder-7B-Instruct"
"""The plan's model, whose estimate stands beside what is measured on the embedded one."""
LONGER_ROWS = (512, 1024, 2048)
"""Further row lengths that an estimate names: memory grows with the longest row."""


def ac6_1(facts: Facts) -> Outcome:
    """The profiling script exists."""
    return script.exists(facts.context.project, SCRIPT)


def ac6_2(facts: Facts) -> Outcome:
    """Inference and training ran, every loss and every adapter tensor is finite."""
    for error in facts.failures.values():
        return failed(error)
    facts.measured_inference()
    run = facts.measured_training()
    steps = facts.context.settings.train_steps
    wrong = [f"step {i}: the loss is not finite" for i, x in enumerate(run.losses, 1) if x is None]
    wrong += [f"{name} is not finite" for name in run.bad_adapters]
    if not run.bits:
        wrong.append("no layer could be quantized, so this is not QLoRA")
    if len(run.losses) != steps or run.trainable < 1:
        wrong.append(f"{len(run.losses)} of {steps} steps trained {run.trainable} parameters")
    if wrong:
        return Outcome(Status.FAIL, "; ".join(wrong[:3]))
    reason = (
        f"{steps} QLoRA steps, {run.bits} bit{' (quantized in memory)' * run.quantized_here}, "
        f"{run.trainable:,} trainable parameters, loss {run.losses[0]:.3f} to "
        f"{run.losses[-1]:.3f}, all adapters finite, on {run.device}"
    )
    return Outcome(Status.PASS, reason, measurements=(*_speed(run), *_settings(run)))


def _speed(run: TrainingReport) -> tuple[Measurement, ...]:
    losses = tuple(loss for loss in run.losses if loss is not None)
    steady = run.step_s[1:]  # the first step compiles
    return (
        Measurement("step_s", statistics.median(steady), "s", None, steady),
        Measurement("first_step_s", run.step_s[0], "s"),
        Measurement(
            "train_tokens_per_s",
            statistics.median(run.tokens_per_s[1:]),
            "tokens/s",
            None,
            run.tokens_per_s[1:],
        ),
        Measurement("loss", losses[-1], "nats", None, losses),
    )


def _settings(run: TrainingReport) -> tuple[Measurement, ...]:
    return (
        Measurement("batch_size", run.batch_size, "count"),
        Measurement("row_tokens", run.row_tokens, "tokens"),
        Measurement("lora_layers", run.layers, "count"),
        Measurement("lora_rank", run.rank, "count"),
        Measurement("trainable_parameters", run.trainable, "count"),
        Measurement("weight_bits", run.bits, "count"),
        Measurement("group_size", run.group_size, "count"),
    )


def ac6_3(facts: Facts) -> Outcome:
    """The peak of inference is measured."""
    run = facts.measured_inference()
    answer = run.answers[0]
    tokens = answer.prompt_tokens + len(answer.token_ids)
    return Outcome(
        Status.PASS if run.memory.peak_bytes > 0 else Status.ERROR,
        f"inference needs {gb(run.memory.peak_bytes)} at its peak, {tokens} tokens long",
        measurements=_counters("inference", run.memory),
    )


def ac6_4(facts: Facts) -> Outcome:
    """The peak of training is measured, or estimated where the model is not here."""
    size, evidence, how = facts.training_bytes()
    measurements = [Measurement("training_peak_bytes", size, "bytes")]
    reason = f"training needs {gb(size)} at its peak ({how})"
    if facts.estimate is not None:
        parts = {name: value for name, value in facts.estimate.items() if name != "total"}
        measurements += [Measurement(f"{name}_bytes", x, "bytes") for name, x in parts.items()]
        longer = _longer_rows(facts.context.model)
        fitting = [n for n, size in longer.items() if size <= facts.context.budget_bytes]
        reason += f"; of rows of {LONGER_ROWS} tokens, {fitting or 'none'} fit the budget"
        measurements += [
            Measurement(f"estimate_at_{n}_tokens_bytes", size, "bytes")
            for n, size in longer.items()
        ]
    elif facts.context.model == EMBEDDED:
        target = closed_form.published_config(TARGET) or {}
        length = facts.context.settings.train_tokens
        size = closed_form.estimate_training(target, row_tokens=length)["total"]
        name = "qwen2_5_coder_7b_training_estimate_bytes"
        measurements.append(Measurement(name, size, "bytes"))
        reason += f"; {TARGET} would need {gb(size)} (simulated, closed form)"
    return Outcome(Status.PASS, reason, evidence, tuple(measurements))


def _longer_rows(model: str) -> dict[int, int]:
    """Return the estimated peak in bytes by row length in tokens."""
    config = closed_form.published_config(model) or {}
    return {
        length: closed_form.estimate_training(config, row_tokens=length)["total"]
        for length in LONGER_ROWS
    }


def ac6_5(facts: Facts) -> Outcome:
    """Peaks, not averages, were captured: active, cache and process apart."""
    run, other = facts.measured_training(), facts.measured_inference()
    peaks = tuple(float(value) for value in run.peak_bytes)
    captured = run.memory.peak_bytes >= max(peaks) > 0 and other.memory.peak_bytes > 0
    return Outcome(
        Status.PASS if captured else Status.ERROR,
        f"peak memory: {gb(run.memory.peak_bytes)} active in training, "
        f"{gb(run.memory.rss_bytes)} resident in the process",
        measurements=(
            Measurement("peak_after_step_bytes", max(peaks), "bytes", None, peaks),
            *_counters("training", run.memory),
        ),
    )


def _counters(name: str, memory: Memory) -> tuple[Measurement, ...]:
    counters = (
        Measurement(f"{name}_active_peak_bytes", memory.peak_bytes, "bytes"),
        Measurement(f"{name}_cache_bytes", memory.cache_bytes, "bytes"),
        Measurement(f"{name}_peak_rss_bytes", memory.rss_bytes, "bytes"),
    )
    if memory.working_set_bytes is None:
        return (*counters, text("recommended_working_set", "none: not on Metal"))
    limit = Measurement("recommended_working_set_bytes", memory.working_set_bytes, "bytes")
    return (*counters, limit)


def ac6_6(facts: Facts) -> Outcome:
    """The headroom between training peak and budget is computed."""
    size, evidence, how = facts.training_bytes()
    budget = facts.context.budget_bytes
    return Outcome(
        Status.PASS,
        f"headroom {gb(budget - size)} of the {gb(budget)} budget ({how})",
        evidence,
        (
            Measurement("headroom_bytes", budget - size, "bytes"),
            Measurement("budget_bytes", budget, "bytes"),
        ),
    )


def ac6_7(facts: Facts) -> Outcome:
    """Training fits the budget, by MLX's counter and by the process's."""
    size, evidence, how = facts.training_bytes()
    budget = facts.context.budget_bytes
    resident = 0 if facts.estimate is not None else facts.measured_training().memory.rss_bytes
    needed, what = max((size, "active peak"), (resident, "process peak"))
    return Outcome(
        Status.PASS if needed <= budget else Status.FAIL,
        f"{what} {gb(needed)}, budget {gb(budget)} ({how})",
        evidence,
        (Measurement("needed_bytes", needed, "bytes", limit=f"<= {budget}"),),
    )


def ac6_8(facts: Facts) -> Outcome:
    """The memory profile is documented, agrees with its evidence, and is of this model."""
    return documented.judge(
        training_documents.MEMORY, facts.context.project, facts.subject.fingerprint
    )
