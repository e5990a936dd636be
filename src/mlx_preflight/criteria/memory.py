"""Judge AC6: what inference and QLoRA training need, and whether that fits the budget."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from mlx_preflight.criteria import documented, script
from mlx_preflight.criteria.profiling import TARGET, Facts, gather
from mlx_preflight.criteria.subject import failed, gb, text
from mlx_preflight.memory import calibration, fit
from mlx_preflight.memory.calibration import Point
from mlx_preflight.memory.predict import Prediction
from mlx_preflight.memory.settings import in_words
from mlx_preflight.model.exchange import Memory, TrainingReport
from mlx_preflight.report import training_documents
from mlx_preflight.result import Measurement, Outcome, Status

__all__ = ["Facts", "gather"]

SCRIPT = "memory_profile.py"


def ac6_1(facts: Facts) -> Outcome:
    """The profiling script exists."""
    return script.exists(facts.context.project, SCRIPT)


def ac6_2(facts: Facts) -> Outcome:
    """Inference and training ran, every loss and every adapter tensor is finite."""
    for part, error in facts.failures.items():
        if part != "calibration":
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
    """The peak of training is measured, or predicted by a predictor that is right here."""
    size, evidence, how = facts.training_bytes()
    points = facts.calibrated()
    worst = max(points, key=lambda point: abs(point.error))
    measurements = [Measurement("training_peak_bytes", size, "bytes"), *_calibration(points)]
    reason = f"training needs {gb(size)} at its peak ({how})"
    if facts.estimate is not None:
        measurements += _predicted(facts.estimate)
    elif (target := facts.target) is not None:
        measurements += _predicted(target, "qwen2_5_coder_7b_")
        reason += (
            f"; {TARGET.repository} would need {gb(target.peak_bytes)} on Metal "
            f"({gb(target.peak_low_bytes)} to {gb(target.peak_high_bytes)}, simulated)"
        )
    reason += (
        f"; the predictor is {100 * worst.error:+.1f} % off at worst in {len(points)} runs "
        "on this machine"
    )
    right = abs(worst.error) <= calibration.WORST_SHARE
    return Outcome(Status.PASS if right else Status.FAIL, reason, evidence, tuple(measurements))


def _calibration(points: Sequence[Point]) -> list[Measurement]:
    """Return predicted and measured bytes of every point, and the error in percent."""
    predicted = tuple(float(point.predicted_bytes) for point in points)
    measured = tuple(float(point.measured_bytes) for point in points)
    errors = tuple(100 * point.error for point in points)
    worst = max(errors, key=abs)
    limit = f"within {100 * calibration.WORST_SHARE:.0f}"
    return [
        Measurement("calibration_predicted_bytes", max(predicted), "bytes", None, predicted),
        Measurement("calibration_measured_bytes", max(measured), "bytes", None, measured),
        Measurement("calibration_error_percent", worst, "percent", limit, errors),
    ]


def _predicted(found: Prediction, prefix: str = "") -> list[Measurement]:
    """Return a prediction with its interval and what it is made of."""
    named = {
        "training_estimate_bytes": found.peak_bytes,
        "training_estimate_low_bytes": found.peak_low_bytes,
        "training_estimate_high_bytes": found.peak_high_bytes,
        **{f"{name.replace(' ', '_')}_bytes": x for name, x in found.breakdown_bytes.items() if x},
    }
    return [Measurement(prefix + name, value, "bytes") for name, value in named.items()]


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
    fits = needed <= budget
    return Outcome(
        Status.PASS if fits else Status.FAIL,
        f"{what} {gb(needed)}, budget {gb(budget)} ({how})",
        evidence,
        (Measurement("needed_bytes", needed, "bytes", limit=f"<= {budget}"),),
        remedy="" if fits else _settings_that_fit(facts),
    )


def _settings_that_fit(facts: Facts) -> str:
    """Return the nearest settings that are predicted to fit, or how far the smallest is away."""
    config, settings = facts.wanted()
    found = fit.fit(config, settings, facts.context.budget_bytes)
    command = (
        f"`mlx-preflight fit {facts.context.model} "
        f"--budget-gb {facts.context.budget_bytes / 1e9:g} --write ./run`"
    )
    if not found.fits:
        least = found.smallest
        size = gb(least.peak_high_bytes)
        return f"no settings fit: {in_words(least.settings)} still needs {size}; see {command}"
    best = found.fits[0]
    return (
        f"{in_words(best.settings)} needs at most {gb(best.prediction.peak_high_bytes)} "
        f"(simulated); {command} writes its config"
    )


def ac6_8(facts: Facts) -> Outcome:
    """The memory profile is documented, agrees with its evidence, and is of this model."""
    return documented.judge(
        training_documents.MEMORY, facts.context.project, facts.subject.fingerprint
    )
