"""AC6: what inference and QLoRA training need, and whether that fits the budget."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from mlx_preflight.core.errors import PreflightError
from mlx_preflight.core.result import Measurement, Outcome, Status
from mlx_preflight.core.units import format_bytes, format_interval, format_percent
from mlx_preflight.criteria import generated_docs, script
from mlx_preflight.criteria.memory_facts import TARGET, PeakFacts
from mlx_preflight.criteria.model_under_test import error_outcome, text_measurement
from mlx_preflight.memory.settings import in_words
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context
from mlx_preflight.runtime.messages import Memory, TrainingReport

if TYPE_CHECKING:
    from mlx_preflight.memory.calibration import MeasuredPoint
    from mlx_preflight.memory.predict import Prediction

WORST_SHARE = 0.10
"""Error above which the predictor is not trusted on this machine (specification of AC6)."""


def gather(session: Session, context: Context) -> PeakFacts:
    """Measure inference and training, and search settings that fit where these do not."""
    # Importing a session must not lower the process's limit of open files, as mlx_lm does.
    from mlx_preflight.criteria import profiling  # noqa: PLC0415  (it predicts, so it imports mlx)

    return profiling.gather(session, context)


def ac6_2(facts: PeakFacts) -> Outcome:
    """Judge that both ran, and that every loss and every adapter tensor is finite."""
    for part, error in facts.failures.items():
        if part != "calibration":
            return error_outcome(error)
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


def ac6_3(facts: PeakFacts) -> Outcome:
    """Report the peak of inference."""
    run = facts.measured_inference()
    answer = run.answers[0]
    tokens = answer.prompt_tokens + len(answer.token_ids)
    return Outcome(
        Status.PASS if run.memory.peak_bytes > 0 else Status.ERROR,
        f"inference needs {format_bytes(run.memory.peak_bytes)} at its peak, {tokens} tokens long",
        measurements=_counters("inference", run.memory),
    )


def ac6_4(facts: PeakFacts) -> Outcome:
    """Report the peak of training, and judge the predictor by its error on this machine."""
    size, evidence, how = facts.training_bytes()
    points = facts.calibrated()
    worst = max(points, key=lambda point: abs(point.error))
    measurements = [Measurement("training_peak_bytes", size, "bytes"), *_calibration(points)]
    reason = f"training needs {format_bytes(size)} at its peak ({how})"
    if facts.estimate is not None:
        measurements += _predicted(facts.estimate)
    elif (target := facts.target) is not None:
        measurements += _predicted(target, "qwen2_5_coder_7b_")
        reason += (
            f"; {TARGET.repository} would need {format_bytes(target.peak_bytes)} on Metal "
            f"({format_interval(target.peak_low_bytes, target.peak_high_bytes)}, simulated)"
        )
    reason += (
        f"; the predictor is {format_percent(100 * worst.error, signed=True)} off at worst in "
        f"{len(points)} runs on this machine"
    )
    if facts.unpredicted:
        reason += f"; this model's run was measured and not predicted: {facts.unpredicted}"
    right = abs(worst.error) <= WORST_SHARE
    remedy = "" if right else "decide by measurements here: `mlx-preflight measure MODEL`"
    status = Status.PASS if right else Status.FAIL
    return Outcome(status, reason, evidence, tuple(measurements), remedy)


def _calibration(points: Sequence[MeasuredPoint]) -> list[Measurement]:
    predicted = tuple(float(point.predicted_bytes) for point in points)
    measured = tuple(float(point.measured_bytes) for point in points)
    errors = tuple(100 * point.error for point in points)
    worst = max(errors, key=abs)
    limit = f"within {100 * WORST_SHARE:.0f}"
    return [
        Measurement("calibration_predicted_bytes", max(predicted), "bytes", None, predicted),
        Measurement("calibration_measured_bytes", max(measured), "bytes", None, measured),
        Measurement("calibration_error_percent", worst, "percent", limit, errors),
    ]


def _predicted(found: Prediction, prefix: str = "") -> list[Measurement]:
    named = {
        "training_estimate_bytes": found.peak_bytes,
        "training_estimate_low_bytes": found.peak_low_bytes,
        "training_estimate_high_bytes": found.peak_high_bytes,
        **{f"{name.replace(' ', '_')}_bytes": x for name, x in found.breakdown_bytes.items() if x},
    }
    return [Measurement(prefix + name, value, "bytes") for name, value in named.items()]


def ac6_5(facts: PeakFacts) -> Outcome:
    """Judge that peaks, not averages, were captured: active, cache and process apart."""
    run, other = facts.measured_training(), facts.measured_inference()
    peaks = tuple(float(value) for value in run.peak_bytes)
    captured = run.memory.peak_bytes >= max(peaks) > 0 and other.memory.peak_bytes > 0
    return Outcome(
        Status.PASS if captured else Status.ERROR,
        f"peak memory: {format_bytes(run.memory.peak_bytes)} active in training, "
        f"{format_bytes(run.memory.rss_bytes)} resident in the process",
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
        return (*counters, text_measurement("recommended_working_set", "none: not on Metal"))
    limit = Measurement("recommended_working_set_bytes", memory.working_set_bytes, "bytes")
    return (*counters, limit)


def ac6_6(facts: PeakFacts) -> Outcome:
    """Compute the headroom between training peak and budget."""
    size, evidence, how = facts.training_bytes()
    budget = facts.context.budget_bytes
    return Outcome(
        Status.PASS,
        f"headroom {format_bytes(budget - size)} of the {format_bytes(budget)} budget ({how})",
        evidence,
        (
            Measurement("headroom_bytes", budget - size, "bytes"),
            Measurement("budget_bytes", budget, "bytes"),
        ),
    )


def ac6_7(facts: PeakFacts) -> Outcome:
    """Compare the training peak with the budget, by MLX's counter and by the process's."""
    _, evidence, how = facts.training_bytes()
    needed, what = facts.needed()
    budget = facts.context.budget_bytes
    fits = needed <= budget
    return Outcome(
        Status.PASS if fits else Status.FAIL,
        f"{what} {format_bytes(needed)}, budget {format_bytes(budget)} ({how})",
        evidence,
        (Measurement("needed_bytes", needed, "bytes", limit=f"<= {budget}"),),
        remedy="" if fits else _settings_that_fit(facts),
    )


def _settings_that_fit(facts: PeakFacts) -> str:
    """Return the nearest settings that are predicted to fit, or how far the smallest is away."""
    found = facts.alternatives
    if isinstance(found, PreflightError):
        raise found
    if found is None:
        return ""
    command = (
        f"`mlx-preflight fit {facts.context.model} "
        f"--budget-gb {facts.context.budget_bytes / 1e9:g} --write ./run`"
    )
    if not found.fits:
        least = found.smallest
        size = format_bytes(least.peak_high_bytes)
        return f"no settings fit: {in_words(least.settings)} still needs {size}; see {command}"
    best = found.fits[0]
    return (
        f"{in_words(best.settings)} needs at most {format_bytes(best.prediction.peak_high_bytes)} "
        f"(simulated); {command} writes its config"
    )


CHECKS: dict[str, Callable[[PeakFacts], Outcome]] = {
    register.AC6_1: lambda facts: script.exists(facts.script),
    register.AC6_2: ac6_2,
    register.AC6_3: ac6_3,
    register.AC6_4: ac6_4,
    register.AC6_5: ac6_5,
    register.AC6_6: ac6_6,
    register.AC6_7: ac6_7,
    register.AC6_8: lambda facts: generated_docs.judge(facts.document, facts.subject.fingerprint),
}

confirm = partial(
    script.confirm, name="memory_profile.py", check=register.AC6_2, says=("Inference memory",)
)
