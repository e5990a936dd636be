"""Run MLX-LM's trainer or generator once and write down what it took.

Started by `measure` in a fresh process: `python -m mlx_preflight.memory.measure_child JOB
ANSWER`. It prints nothing that matters; the answer is a JSON file.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

from mlx_preflight.memory.settings import Settings

OVER_LIMIT = 86
"""Exit code of a run that took more memory than it was allowed."""

GUARD_S = 0.02
"""Seconds between two looks at the memory."""


def main(arguments: list[str]) -> int:
    """Read the job, run it, write the answer."""
    import mlx.core as mx  # noqa: PLC0415

    job = json.loads(Path(arguments[0]).read_text("utf-8"))
    settings = Settings.from_json(job["settings"])
    if job["memory_limit_bytes"]:
        watch = threading.Thread(target=_guard, args=(int(job["memory_limit_bytes"]),), daemon=True)
        watch.start()
    if settings.backend == "cpu":
        mx.set_default_device(mx.cpu)
    mx.random.seed(job["seed"])
    model = _model(job, settings)
    run = _generate if settings.inference else _train
    answer = run(job, settings, model)
    Path(arguments[1]).write_text(json.dumps(answer), "utf-8")
    return 0


def _guard(limit: int) -> None:
    """End the process once it takes more than the limit.

    Not by a resource limit: macOS ignores that on the address space, and resident memory
    leaves out Metal's buffers there, so MLX is asked too.
    """
    import mlx.core as mx  # noqa: PLC0415
    import psutil  # noqa: PLC0415

    process = psutil.Process()
    while True:
        used = max(process.memory_info().rss, mx.get_active_memory() + mx.get_cache_memory())
        if used > limit:
            text = f"took {used / 1e9:.3f} GB, more than the limit of {limit / 1e9:.3f} GB"
            print(text, file=sys.stderr, flush=True)
            os._exit(OVER_LIMIT)
        time.sleep(GUARD_S)


def _model(job: dict[str, Any], settings: Settings) -> Any:
    """Return the evaluated model, of real weights when the job names a folder."""
    import mlx.core as mx  # noqa: PLC0415
    from mlx.utils import tree_flatten  # noqa: PLC0415

    from mlx_preflight.memory import architecture, quantization  # noqa: PLC0415

    if job["weights"]:
        from mlx_lm.utils import load_model  # noqa: PLC0415

        model, _ = load_model(Path(job["weights"]))
        architecture.cast(model, settings)
        if quantization.stored(job["config"]) is None:
            quantization.quantize(model, job["config"], settings)
    else:
        model = architecture.build(job["config"], settings)
    # One by one, so that the guard sees memory grow, and random ones are not all drawn unquantized.
    for _, array in tree_flatten(model.parameters()):
        mx.eval(array)
    return model


def _train(job: dict[str, Any], settings: Settings, model: Any) -> dict[str, Any]:
    import mlx.core as mx  # noqa: PLC0415
    from mlx_lm.tuner import trainer  # noqa: PLC0415

    from mlx_preflight.memory import architecture  # noqa: PLC0415

    architecture.adapt(model, settings)
    optimizer = architecture.optimizer(model, settings, initialised=False)
    mx.eval(model.parameters())
    vocabulary = architecture.vocabulary(model)
    row = [(7 * i + 3) % vocabulary for i in range(settings.max_seq_length)]
    seconds: list[float] = []

    class Watch(trainer.TrainingCallback):  # type: ignore[misc]
        def on_train_loss_report(self, info: dict[str, Any]) -> None:
            seconds.append(1 / info["iterations_per_second"])

    arguments = trainer.TrainingArgs(
        batch_size=settings.batch_size,
        iters=int(job["steps"]),
        steps_per_report=1,
        steps_per_eval=10**9,
        steps_per_save=10**9,
        max_seq_length=settings.max_seq_length,
        grad_checkpoint=settings.grad_checkpoint,
        grad_accumulation_steps=settings.grad_accumulation_steps,
        adapter_file=job["adapter_file"],
    )
    before = _reset()
    trainer.train(
        model=model,
        optimizer=optimizer,
        train_dataset=[(row, 0)] * settings.batch_size,
        args=arguments,
        training_callback=Watch(),
    )
    tokens = settings.batch_size * (settings.max_seq_length - 1)
    return _answer(before, seconds, tokens)


def _generate(_: dict[str, Any], settings: Settings, model: Any) -> dict[str, Any]:
    import mlx.core as mx  # noqa: PLC0415
    from mlx_lm.generate import generate_step  # noqa: PLC0415

    from mlx_preflight.memory import architecture  # noqa: PLC0415

    vocabulary = architecture.vocabulary(model)
    prompt = mx.array([(7 * i + 3) % vocabulary for i in range(settings.prompt_tokens)])
    mx.eval(prompt)
    model.eval()
    before = _reset()
    seconds: list[float] = []
    last = time.perf_counter()
    tokens = generate_step(
        prompt, model, max_tokens=settings.generate_tokens, kv_bits=settings.kv_bits
    )
    for _ in tokens:
        now = time.perf_counter()
        seconds.append(now - last)
        last = now
    return _answer(before, seconds, 1)


def _reset() -> int:
    """Forget what loading took; return the active bytes."""
    import mlx.core as mx  # noqa: PLC0415

    mx.clear_cache()
    mx.reset_peak_memory()
    return int(mx.get_active_memory())


def _answer(before: int, seconds: list[float], tokens: int) -> dict[str, Any]:
    import mlx.core as mx  # noqa: PLC0415

    steady = seconds[1:] or seconds
    return {
        "peak_bytes": int(mx.get_peak_memory()),
        "before_bytes": before,
        "cache_bytes": int(mx.get_cache_memory()),
        "process_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        * (1 if sys.platform == "darwin" else 1024),
        "step_s": seconds,
        "tokens_per_s": tokens * len(steady) / sum(steady) if steady else 0.0,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
