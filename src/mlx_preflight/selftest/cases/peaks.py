"""Cases of AC6: what is measured and predicted of the memory."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from mlx_preflight.core.errors import ChildError, WorkerError
from mlx_preflight.core.result import Status
from mlx_preflight.criteria import generated_docs, script
from mlx_preflight.criteria.memory_facts import SCRIPT as NAME
from mlx_preflight.documents import training_documents
from mlx_preflight.plan import register as plan
from mlx_preflight.selftest.cases.checkpoints import WEIGHTS
from mlx_preflight.selftest.cases.loading import BROKEN
from mlx_preflight.selftest.injection import tensors
from mlx_preflight.selftest.injection.bases import checkout, model_copy
from mlx_preflight.selftest.injection.case import Case, Kit, Sample, Step
from mlx_preflight.selftest.injection.steps import (
    answered,
    changed,
    edit_json,
    remove,
    replaced,
    sample_fields,
    settings,
    write,
)

SCRIPT = f"scripts/training/{NAME}"
PAGE = f"docs/training/{training_documents.MEMORY.name}"
EVIDENCE = "docs/training/evidence/ac6-memory.json"
MEASURED = (plan.AC6_3, plan.AC6_4, plan.AC6_5, plan.AC6_6, plan.AC6_7)
GIGA = 10**9


@functools.cache
def _kept(calibrate: Any) -> Any:
    return functools.cache(calibrate)


def calibrated_once(sample: Sample) -> None:
    """Let the predictor's error be measured for real, and once in a process."""
    from mlx_preflight.memory import calibration  # noqa: PLC0415  (it imports mlx)

    sample.replaced.append((calibration, "calibrate", _kept(calibration.calibrate)))


KIT = Kit(
    plan.AC6_MEMORY,
    (checkout, settings(train_steps=3, generate_tokens=20, train_tokens=64), calibrated_once),
)


def reread(sample: Sample) -> None:
    """Read script and page of the sample again; the measurements are those of the base."""
    found = {
        "script": script.inspect(sample.folder, NAME),
        "document": generated_docs.compare(training_documents.MEMORY, sample.folder),
    }
    sample.changes.append(lambda facts: dataclasses.replace(facts, **found))


def failing(part: str, error: Exception) -> Step:
    """Return what lets a part of the measurement fail."""
    gone = {part: None} if part in {"training", "inference"} else {}
    fields = {"failures": {part: error}, **gone}
    return changed(lambda facts: replaced(facts, "", fields))


def off(share: float) -> Step:
    """Return what adds a point whose prediction is off by a share."""

    def change(facts: Any) -> Any:
        first = facts.points[0]
        wrong = dataclasses.replace(first, predicted_bytes=int(share * GIGA), measured_bytes=GIGA)
        return dataclasses.replace(facts, points=(*facts.points, wrong))

    return changed(change)


def budget(facts: Any) -> Any:
    """Return facts of a run that needs 17 GB."""
    return replaced(facts, "training.memory", {"peak_bytes": 17 * GIGA})


DOCUMENTS: dict[str, Step] = {
    "no page of the memory": remove(PAGE),
    "an edited page": write(PAGE, "# Memory\n\nPeak 1 GB.\n"),
    "no evidence": remove(EVIDENCE),
    "evidence of another model": edit_json(
        EVIDENCE, lambda data: data["model"].update(fingerprint="0" * 64)
    ),
}

SCRIPTS: dict[str, Step] = {
    "no script": remove(SCRIPT),
    **{name: write(SCRIPT, text) for name, text in BROKEN.items()},
}

CASES: tuple[Case, ...] = (
    KIT.clean("as it is"),
    KIT.clean("a predictor that is 9 % off", off(1.09), near=plan.AC6_4, answer=True),
    KIT.clean(
        "another page beside it",
        write("docs/training/notes.md", "# Notes\n"),
        reread,
        near=plan.AC6_8,
        shared=True,
    ),
    *(KIT.defect(plan.AC6_1, name, step, reread, shared=True) for name, step in SCRIPTS.items()),
    KIT.defect(
        plan.AC6_2,
        "a NaN in a norm",
        *(model_copy, tensors.put(WEIGHTS, "input_layernorm.weight", float("nan"))),
        along=[plan.AC6_8],
    ),
    KIT.defect(
        plan.AC6_2,
        "out of memory",
        failing("training", WorkerError("train: out of memory")),
        along=[plan.AC6_4, plan.AC6_5, plan.AC6_6, plan.AC6_7],
        answer=True,
    ),
    KIT.defect(
        plan.AC6_2,
        "a trainer that was killed",
        failing("training", ChildError("train: killed by SIGKILL")),
        status=Status.ERROR,
        along=[plan.AC6_4, plan.AC6_5, plan.AC6_6, plan.AC6_7],
        answer=True,
    ),
    KIT.defect(plan.AC6_2, "nothing quantized", answered("training", bits=0), answer=True),
    KIT.defect(
        plan.AC6_2,
        "a loss that is not finite",
        answered("training", losses=lambda known: (*known[:-1], None)),
        answer=True,
    ),
    KIT.defect(
        plan.AC6_3,
        "an inference that died",
        failing("inference", ChildError("generate: killed by SIGKILL")),
        status=Status.ERROR,
        along=[plan.AC6_2, plan.AC6_5],
        answer=True,
    ),
    KIT.defect(
        plan.AC6_3,
        "no peak of inference",
        answered("inference.memory", peak_bytes=0),
        status=Status.ERROR,
        along=[plan.AC6_5],
        answer=True,
    ),
    KIT.defect(plan.AC6_4, "a predictor that is 11 % above", off(1.11), answer=True),
    KIT.defect(plan.AC6_4, "a predictor that is 11 % below", off(0.89), answer=True),
    KIT.defect(
        plan.AC6_4,
        "a calibration that died",
        failing("calibration", ChildError("killed")),
        status=Status.ERROR,
        answer=True,
    ),
    KIT.defect(
        plan.AC6_5,
        "a peak below that of a step",
        answered("training.memory", peak_bytes=1),
        status=Status.ERROR,
        answer=True,
    ),
    KIT.defect(
        plan.AC6_6,
        "no training was measured",
        answered(training=None),
        status=Status.ERROR,
        along=[plan.AC6_2, *MEASURED],
        answer=True,
    ),
    KIT.defect(plan.AC6_7, "a budget of nothing", sample_fields(budget_bytes=10_000_000)),
    KIT.defect(plan.AC6_7, "a run of 17 GB", changed(budget), answer=True),
    *(KIT.defect(plan.AC6_8, name, step, reread, shared=True) for name, step in DOCUMENTS.items()),
)
