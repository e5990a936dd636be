"""Cases of run3-model: checkpoints and tokenizers that mlx-lm cannot train."""

from __future__ import annotations

import json
from typing import Any

from mlx_preflight.core.result import Status
from mlx_preflight.plan import register as plan
from mlx_preflight.selftest.injection import tensors
from mlx_preflight.selftest.injection.bases import own_model, run_config, run_settings
from mlx_preflight.selftest.injection.case import Case, Kit, Step
from mlx_preflight.selftest.injection.steps import (
    arguments,
    cut,
    edit_json,
    remove,
    rename,
    write,
)

KIT = Kit(plan.RUN3_MODEL, (run_config, own_model))

CONFIG, WEIGHTS = "model/config.json", "model/model.safetensors"
TOKENIZER, TOKENIZER_CONFIG = "model/tokenizer.json", "model/tokenizer_config.json"

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "an encoder": {"model_type": "bert"},
    "a misspelt model type": {"model_type": "qwen22"},
    "a model file of its own": {"model_file": "modeling.py"},
    "bitsandbytes": {"quantization_config": {"quant_method": "bitsandbytes"}},
}

OWN_CODE: tuple[Step, ...] = (
    write("model/tokenization_own.py", "class Own: pass\n"),
    edit_json(
        TOKENIZER_CONFIG,
        auto_map={"AutoTokenizer": ["tokenization_own.Own", None]},
        tokenizer_class="Own",
    ),
)

DAMAGES: dict[str, Step] = {
    "weights that are cut off": cut(WEIGHTS, 1000),
    "weights without a byte": write(WEIGHTS, b""),
    "a NaN": tensors.put(WEIGHTS, "down_proj.weight", float("nan")),
    "an infinite value": tensors.put(WEIGHTS, "norm.weight", float("inf")),
    "another width": edit_json(CONFIG, intermediate_size=1000),
    "more layers than there are": edit_json(CONFIG, num_hidden_layers=9),
    "pickles alone": rename(WEIGHTS, "model/pytorch_model.bin"),
    "a tensor is missing": tensors.change(WEIGHTS, lambda found: found.pop(min(found))),
    "weights of zeros": tensors.put(WEIGHTS, "down_proj.weight", 0.0, whole=True),
    "an index that names a missing shard": write(
        "model/model.safetensors.index.json",
        json.dumps({"weight_map": {"model.layers.9.mlp.up_proj.weight": "model-2.safetensors"}}),
    ),
}

CASES: tuple[Case, ...] = (
    KIT.clean("as it is"),
    KIT.clean("our own name for it", run_settings(model="embedded"), near=plan.RUN3_1),
    KIT.clean("a folder beside the config", run_settings(model="./model"), near=plan.RUN3_1),
    KIT.clean("code of its own that is left alone", *OWN_CODE, near=plan.RUN3_4),
    KIT.clean("a key that mlx-lm ignores", edit_json(CONFIG, of_tomorrow=1), near=plan.RUN3_2),
    KIT.clean(
        "notes and pickles beside the weights",
        *(write("model/README.md", "# A model\n"), write("model/optimizer.bin", b"\x80\x04")),
        near=plan.RUN3_3,
    ),
    KIT.defect(plan.RUN3_1, "no such folder", run_settings(model="./nowhere"), along=["*"]),
    KIT.defect(
        plan.RUN3_1,
        "a model that is not here",
        run_settings(model="nobody/has-this-one-4bit"),
        status=Status.BLOCKED,
        along=["*"],
    ),
    *(
        KIT.defect(plan.RUN3_2, name, edit_json(CONFIG, **keys), along=[plan.RUN3_3, plan.RUN3_4])
        for name, keys in ARCHITECTURES.items()
    ),
    *(KIT.defect(plan.RUN3_3, name, step) for name, step in DAMAGES.items()),
    KIT.defect(
        plan.RUN3_4,
        "no end token",
        edit_json(TOKENIZER_CONFIG, eos_token=None),
        along=[plan.RUN3_3],
    ),
    KIT.defect(
        plan.RUN3_4,
        "an end token beyond the vocabulary",
        edit_json(TOKENIZER_CONFIG, lambda stored: stored.update({"eos_token": "<gone>"})),
        along=[plan.RUN3_3],
    ),
    KIT.defect(
        plan.RUN3_4,
        "a tokenizer of another library",
        write(TOKENIZER, '{"version": "1.0"}'),
        along=[plan.RUN3_3],
    ),
    KIT.defect(plan.RUN3_4, "no tokenizer", remove(TOKENIZER), along=[plan.RUN3_3]),
    KIT.defect(
        plan.RUN3_4, "code of its own that is run", *OWN_CODE, arguments("--trust-remote-code")
    ),
)
