"""Cases of AC4: scripts, checkpoints and tokenizers."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from mlx_preflight.core.errors import ChildError
from mlx_preflight.core.result import Status
from mlx_preflight.criteria import loading, script
from mlx_preflight.plan import register as plan
from mlx_preflight.selftest.cases.checkpoints import (
    CONFIG,
    TOKENIZER_CONFIG,
    WEIGHTS,
)
from mlx_preflight.selftest.injection import tensors
from mlx_preflight.selftest.injection.bases import checkout, model_copy
from mlx_preflight.selftest.injection.case import Case, Kit, Sample, Step
from mlx_preflight.selftest.injection.steps import (
    answered,
    cut,
    edit_json,
    remove,
    rename,
    sample_fields,
    settings,
    write,
)

KIT = Kit(plan.AC4_LOADING, (checkout,))

SCRIPT = f"scripts/training/{loading.SCRIPT}"
UNUSABLE = (plan.AC4_3, plan.AC4_4, plan.AC4_5)
"""What cannot be judged where the files are refused before they are loaded."""


def read_script(name: str) -> Step:
    """Return what inspects a script again; the rest is that of the base."""

    def act(sample: Sample) -> None:
        found = script.inspect(sample.folder, name)
        sample.changes.append(lambda facts: dataclasses.replace(facts, script=found))

    return act


def unnamed(name: str) -> Step:
    """Return what lets no document of the sample name a script."""

    def act(sample: Sample) -> None:
        for path in (sample.folder / "docs/training").rglob("*.md"):
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace(name.removesuffix(".py"), "another"), encoding="utf-8")

    return act


BROKEN = {
    "a script that is no Python": "def (",
    "an empty script": "",
    "a script of one comment": '"""Load the model."""\n\npass\n',
}
RAISING = {
    "a script that is not written": "raise SystemExit('not written yet')\n",
    "a script that imports nothing": "import os\n",
}

FILES: dict[str, tuple[Step, ...]] = {
    "weights that are cut off": (cut(WEIGHTS, 100),),
    "empty weights": (write(WEIGHTS, b""),),
    "weights that are a web page": (write(WEIGHTS, "<html>404</html>"),),
    "pickles alone": (rename(WEIGHTS, "model/pytorch_model.bin"),),
    "no config": (remove(CONFIG),),
    "a config that is no JSON": (write(CONFIG, "{"),),
}

VALUES: dict[str, Step] = {
    "a NaN": tensors.put(WEIGHTS, "down_proj.weight", float("nan")),
    "an infinite value": tensors.put(WEIGHTS, "up_proj.weight", float("inf")),
    "a matrix of zeros": tensors.put(WEIGHTS, "down_proj.weight", 0.0, whole=True),
}


def missing(found: tensors.Tensors) -> None:
    """Leave a tensor out."""
    del found[next(name for name in sorted(found) if name.endswith("mlp.down_proj.weight"))]


def sharded(sample: Sample) -> None:
    """Split the weights in two files with an index."""
    folder = sample.folder / "model"
    found = tensors.read(folder / "model.safetensors")
    names = sorted(found)
    places: dict[str, str] = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"model-{number:05}-of-00002.safetensors"
        tensors.save(folder / file, {name: found[name] for name in part})
        places |= dict.fromkeys(part, file)
    (folder / "model.safetensors").unlink()
    size = sum(array.nbytes for array in found.values())
    index = {"metadata": {"total_size": size}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def stale(index: dict[str, Any]) -> None:
    """Let an index name a shard that is not there for a tensor that is elsewhere."""
    index["weight_map"][min(index["weight_map"])] = "model-00003-of-00003.safetensors"


def no_prompt(stored: dict[str, Any]) -> None:
    """Let the chat template forget the generation prompt."""
    text = str(stored["chat_template"])
    stored["chat_template"] = text.replace("{% if add_generation_prompt %}", "{% if false %}")


def ends_with(token: str) -> Step:
    """Return what gives the tokenizer another end token."""
    return edit_json(TOKENIZER_CONFIG, lambda stored: stored.update({"eos_token": token}))


ENDLESS: tuple[Step, ...] = (
    edit_json(CONFIG, eos_token_id=1021),
    edit_json("model/generation_config.json", eos_token_id=1021),
    ends_with("<|endoftext|>"),
)
"""The template's end of a turn is a stop token of no file: every answer is cut at the limit."""

CASES: tuple[Case, ...] = (
    KIT.clean("as it is"),
    KIT.clean("a copy in a folder", model_copy, near=plan.AC4_2),
    KIT.clean("two shards with an index", model_copy, sharded, near=(plan.AC4_2, plan.AC4_5)),
    KIT.clean(
        "notes and pickles beside the weights",
        *(model_copy, write("model/README.md", "# A model\n"), write("model/x.bin", b"\x80\x04")),
        near=plan.AC4_5,
    ),
    KIT.clean(
        "an index that names a shard which is not there",
        *(model_copy, sharded),
        edit_json("model/model.safetensors.index.json", stale),
        near=plan.AC4_2,
    ),
    KIT.clean("dtype: auto", model_copy, edit_json(CONFIG, dtype="auto"), near=plan.AC4_5),
    KIT.clean(
        "another script beside it",
        write("scripts/training/more.py", "print(1)\n"),
        read_script(loading.SCRIPT),
        near=(plan.AC4_1, plan.AC4_6),
        shared=True,
    ),
    KIT.defect(plan.AC4_1, "no script", remove(SCRIPT), read_script(loading.SCRIPT), shared=True),
    *(
        KIT.defect(plan.AC4_1, name, write(SCRIPT, text), read_script(loading.SCRIPT), shared=True)
        for name, text in BROKEN.items()
    ),
    *(
        KIT.defect(plan.AC4_2, name, write(SCRIPT, text), along=[plan.AC4_1])
        for name, text in RAISING.items()
    ),
    *(
        KIT.defect(plan.AC4_2, name, model_copy, *steps, along=UNUSABLE)
        for name, steps in FILES.items()
    ),
    KIT.defect(
        plan.AC4_2,
        "a tensor is missing",
        *(model_copy, tensors.change(WEIGHTS, missing)),
        along=UNUSABLE,
    ),
    KIT.defect(
        plan.AC4_2,
        "a shape that the config does not name",
        *(model_copy, edit_json(CONFIG, intermediate_size=1000)),
        along=UNUSABLE,
    ),
    KIT.defect(
        plan.AC4_2,
        "a time limit of nothing",
        settings(timeout_s=0.1),
        status=Status.ERROR,
        along=[plan.AC4_1, plan.AC4_3, plan.AC4_4],
    ),
    KIT.defect(
        plan.AC4_2,
        "a worker that was killed",
        answered(loads=None, failure=ChildError("load: killed by SIGKILL")),
        status=Status.ERROR,
        along=[plan.AC4_3, plan.AC4_4],
        answer=True,
    ),
    KIT.defect(plan.AC4_3, "a model of another size", sample_fields(profile="qwen2.5-coder-7b")),
    KIT.defect(plan.AC4_3, "fewer parameters", answered("loads.warm", parameters=1), answer=True),
    KIT.defect(
        plan.AC4_4,
        "a template without a generation prompt",
        *(model_copy, edit_json(TOKENIZER_CONFIG, no_prompt)),
    ),
    KIT.defect(
        plan.AC4_4,
        "a template that does not render",
        *(model_copy, edit_json(TOKENIZER_CONFIG, chat_template="{% for m in messages %}")),
    ),
    KIT.defect(plan.AC4_4, "an end of turn that no file stops at", model_copy, *ENDLESS),
    *(KIT.defect(plan.AC4_5, name, model_copy, step) for name, step in VALUES.items()),
    KIT.defect(
        plan.AC4_5,
        "a block of a quantization that is none",
        model_copy,
        edit_json(CONFIG, quantization={"bits": 4, "group_size": 64}),
        along=[plan.AC4_2, plan.AC4_3, plan.AC4_4],
    ),
    KIT.defect(
        plan.AC4_6,
        "no document names the script",
        unnamed(loading.SCRIPT),
        read_script(loading.SCRIPT),
        shared=True,
    ),
)
