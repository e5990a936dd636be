"""Cases of run5-memory, run6-rehearsal and run7-duration."""

from __future__ import annotations

import dataclasses
from typing import Any

from mlx_preflight.core.errors import BlockedError, ChildError, WorkerError
from mlx_preflight.core.result import Status
from mlx_preflight.plan import register as plan
from mlx_preflight.selftest.cases.checkpoints import CONFIG as MODEL_CONFIG
from mlx_preflight.selftest.injection.bases import data, own_model, run_config, run_settings
from mlx_preflight.selftest.injection.case import CONFIG, Case, Kit, Step
from mlx_preflight.selftest.injection.installed import broken_module
from mlx_preflight.selftest.injection.steps import (
    answered,
    changed,
    edit_json,
    remove,
    sample_fields,
    settings,
    write,
)
from mlx_preflight.selftest.injection.training_rows import chats

MEGA = 10**6

MEMORY = Kit(plan.RUN5_MEMORY, (run_config,))
REHEARSAL = Kit(plan.RUN6_REHEARSAL, (run_config,))
DURATION = Kit(plan.RUN7_DURATION, (run_config,))

RUNS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "full": {"fine_tune_type": "full"},
    "dora": {"fine_tune_type": "dora", "num_layers": 0},
    "dropout": {"lora_parameters": {"rank": 4, "scale": 1.0, "dropout": 0.1}},
    "checkpointing": {"grad_checkpoint": True, "optimizer": "adafactor"},
    "a mask and accumulation": {"mask_prompt": True, "grad_accumulation_steps": 2},
}

BROKEN_ROWS = {"a brace": "{\n", "no messages": '{"messages": 3}\n', "an empty line": "\n"}

UNTRAINABLE: tuple[Step, ...] = (
    own_model,
    edit_json(MODEL_CONFIG, quantization={"bits": 4, "group_size": 64}),
    run_settings(fine_tune_type="full"),
)
"""Quantized blocks that are trained whole: no step has a gradient of them."""


def tight(bytes_: int) -> Step:
    """Return what asks for a budget."""
    return sample_fields(budget_bytes=bytes_)


def cheaper(facts: Any) -> Any:
    """Return facts in which the slices needed half of what was predicted."""
    halved = tuple(
        {
            **answer,
            "widths": {
                width: {**known, "peak_bytes": known["peak_bytes"] // 2}
                for width, known in answer["widths"].items()
            },
        }
        for answer in facts.rehearsal.answers
    )
    made = dataclasses.replace(facts.rehearsal, answers=halved)
    return dataclasses.replace(facts, rehearsal=made)


PEAKS: tuple[Case, ...] = (
    *(MEMORY.clean(name, run_settings(**changes)) for name, changes in RUNS.items()),
    MEMORY.clean("no validation rows", remove("data/valid.jsonl"), near=plan.RUN5_2),
    MEMORY.defect(plan.RUN5_3, "a budget of 5 MB", tight(5 * MEGA)),
    *(
        MEMORY.defect(
            plan.RUN5_1,
            f"rows: {name}",
            data("train", text),
            status=Status.BLOCKED,
            along=[plan.RUN5_2, plan.RUN5_3],
        )
        for name, text in BROKEN_ROWS.items()
    ),
    MEMORY.defect(
        plan.RUN5_1,
        "no data",
        run_settings(data="nowhere"),
        status=Status.ERROR,
        along=["*"],
    ),
    MEMORY.defect(
        plan.RUN5_1, "no configuration", write(CONFIG, "{"), status=Status.BLOCKED, along=["*"]
    ),
    MEMORY.defect(
        plan.RUN5_3,
        "quantized blocks that are trained whole",
        *UNTRAINABLE,
        status=Status.BLOCKED,
        along=[plan.RUN5_1, plan.RUN5_2],
    ),
    MEMORY.defect(
        plan.RUN5_2,
        "validation that cannot be predicted",
        answered(validation=BlockedError("no batch can be made", hint="see run4-data")),
        status=Status.BLOCKED,
        along=[plan.RUN5_3],
        answer=True,
    ),
    MEMORY.defect(
        plan.RUN5_3,
        "a budget that cannot be read",
        answered(budget=BlockedError("garbled")),
        status=Status.BLOCKED,
        answer=True,
    ),
)

STEPS: tuple[Case, ...] = (
    REHEARSAL.clean("as it is"),
    REHEARSAL.clean("checkpointing", run_settings(grad_checkpoint=True), near=plan.RUN6_1),
    REHEARSAL.defect(
        plan.RUN6_1,
        "an optimizer that raises",
        *broken_module(
            "mlx.optimizers.optimizers", "module.Adam.apply_single = fails(KeyError('v'))"
        ),
        blocks=True,
    ),
    REHEARSAL.defect(
        plan.RUN6_1,
        "a step without a gradient",
        answered(rehearsal=WorkerError("ValueError: Cannot calculate VJP with respect to indices")),
        blocks=True,
        answer=True,
    ),
    REHEARSAL.defect(
        plan.RUN6_1,
        "a step that was killed",
        answered(rehearsal=ChildError("rehearsed: killed by SIGKILL")),
        status=Status.ERROR,
        along=[plan.RUN6_2, plan.RUN6_3],
        answer=True,
    ),
    REHEARSAL.defect(
        plan.RUN6_1,
        "nothing is trained",
        run_settings(train=False, test=True),
        status=Status.BLOCKED,
        along=[plan.RUN6_2, plan.RUN6_3],
    ),
    REHEARSAL.defect(
        plan.RUN6_2,
        "no step was timed",
        answered(times=None),
        status=Status.BLOCKED,
        answer=True,
    ),
    REHEARSAL.defect(plan.RUN6_3, "a budget of 1 MB", tight(MEGA), blocks=True),
    REHEARSAL.defect(
        plan.RUN6_3,
        "a budget that a colleague's run takes",
        answered("memory.budget", asked_bytes=5 * MEGA),
        answer=True,
    ),
    REHEARSAL.clean("slices that need less", changed(cheaper), near=plan.RUN6_3, answer=True),
)

HOURS: tuple[Case, ...] = (
    DURATION.clean("as it is"),
    DURATION.clean("a limit of a day", settings(max_hours=24.0), near=plan.RUN7_2),
    DURATION.clean("more rows than iterations", data("train", chats(40)), near=plan.RUN7_1),
    DURATION.defect(plan.RUN7_2, "a limit of nothing", settings(max_hours=1e-6)),
    DURATION.defect(
        plan.RUN7_1, "a run that pages", tight(MEGA), status=Status.BLOCKED, along=[plan.RUN7_2]
    ),
    DURATION.defect(
        plan.RUN7_1, "no rows", data("train", ""), status=Status.BLOCKED, along=[plan.RUN7_2]
    ),
    DURATION.defect(
        plan.RUN7_1,
        "no configuration",
        write(CONFIG, "{"),
        status=Status.BLOCKED,
        along=[plan.RUN7_2],
    ),
)

CASES: tuple[Case, ...] = (*PEAKS, *STEPS, *HOURS)
