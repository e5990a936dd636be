"""Run MLX-LM's trainer or generator once and write down what it took.

Started by `measure` in a fresh process: `python -m mlx_preflight.memory.measure_child JOB
ANSWER`. It prints nothing that matters; the answer is a JSON file.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any


def main(arguments: list[str]) -> int:
    """Read the job, run it, write the answer."""
    from mlx_preflight.memory.settings import Settings  # noqa: PLC0415

    job = json.loads(Path(arguments[0]).read_text("utf-8"))
    keys = job["settings"].pop("keys")
    settings = Settings(**job["settings"], keys=tuple(keys) if keys is not None else None)
    if job.get("memory_limit_bytes"):
        limit = int(job["memory_limit_bytes"])
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    answer = _train(job, settings)
    Path(arguments[1]).write_text(json.dumps(answer), "utf-8")
    return 0


def _train(job: dict[str, Any], settings: Any) -> dict[str, Any]:
    import mlx.core as mx  # noqa: PLC0415
    from mlx_lm.tuner import trainer  # noqa: PLC0415

    from mlx_preflight.memory import architecture  # noqa: PLC0415

    if settings.backend == "cpu":
        mx.set_default_device(mx.cpu)
    mx.random.seed(job["seed"])
    model = architecture.build(job["config"], settings)
    mx.eval(model.parameters())
    architecture.adapt(model, settings)
    optimizer = architecture.optimizer(model, settings, initialised=False)
    mx.eval(model.parameters())
    vocabulary = int(job["config"]["vocab_size"])
    row = [(7 * i + 3) % vocabulary for i in range(settings.max_seq_length)]
    rows = [(row, 0)] * settings.batch_size
    steps = int(job["steps"])
    seconds: list[float] = []
    peaks: list[int] = []

    class Watch(trainer.TrainingCallback):  # type: ignore[misc]
        def on_train_loss_report(self, info: dict[str, Any]) -> None:
            seconds.append(1 / info["iterations_per_second"])
            peaks.append(int(mx.get_peak_memory()))

    arguments = trainer.TrainingArgs(
        batch_size=settings.batch_size,
        iters=steps,
        steps_per_report=1,
        steps_per_eval=10**9,
        steps_per_save=10**9,
        max_seq_length=settings.max_seq_length,
        grad_checkpoint=settings.grad_checkpoint,
        grad_accumulation_steps=settings.grad_accumulation_steps,
        adapter_file=job["adapter_file"],
    )
    mx.clear_cache()
    before = int(mx.get_active_memory())
    mx.reset_peak_memory()
    started = time.perf_counter()
    trainer.train(
        model=model, optimizer=optimizer, train_dataset=rows, args=arguments,
        training_callback=Watch(),
    )
    return {
        "peak_bytes": int(mx.get_peak_memory()),
        "before_bytes": before,
        "step_peaks_bytes": peaks,
        "cache_bytes": int(mx.get_cache_memory()),
        "process_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        * (1 if sys.platform == "darwin" else 1024),
        "step_s": seconds,
        "train_s": time.perf_counter() - started,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
