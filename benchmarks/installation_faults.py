"""Faults of a pair of model and versions whose first backward fails, planted in an installation.

`plant` writes a `sitecustomize.py`: on PYTHONPATH it changes one module of mlx or mlx_lm when
that is imported, in the judging process and in every child of it, as a broken release would.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiny_models import SHAPE, SPECIAL

EXPERTS: dict[str, Any] = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
    "norm_topk_prob": True,
}

MORE: dict[str, dict[str, Any]] = {
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2, "tie_word_embeddings": False},
    "qwen2_moe": {**EXPERTS, "shared_expert_intermediate_size": 64},
    "gpt_oss": {
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "head_dim": 32,
        "sliding_window": 32,
        "rope_scaling": None,
    },
    "cohere2": {"head_dim": 32, "sliding_window": 32, "sliding_window_pattern": 3},
    "lfm2": {
        "norm_eps": 1e-5,
        "conv_bias": False,
        "conv_L_cache": 3,
        "block_dim": 128,
        "block_multiple_of": 64,
        "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": False,
        "block_ff_dim": 192,
        "layer_types": ["conv", "full_attention", "conv"],
    },
    "granitemoehybrid": {
        "attention_bias": False,
        "embedding_multiplier": 1.0,
        "attention_multiplier": 0.1,
        "logits_scaling": 1.0,
        "residual_multiplier": 0.5,
        "layer_types": ["mamba", "attention", "mamba"],
        "shared_intermediate_size": 64,
        "mamba_n_heads": 8,
        "mamba_d_head": 32,
        "mamba_proj_bias": False,
        "mamba_d_state": 16,
        "mamba_d_conv": 4,
        "mamba_n_groups": 1,
        "mamba_conv_bias": True,
    },
    "qwen3_next": {
        **EXPERTS,
        "linear_num_value_heads": 4,
        "linear_num_key_heads": 2,
        "linear_key_head_dim": 32,
        "linear_value_head_dim": 32,
        "linear_conv_kernel_dim": 4,
        "decoder_sparse_step": 1,
        "shared_expert_intermediate_size": 64,
        "mlp_only_layers": [],
        "partial_rotary_factor": 0.5,
        "head_dim": 32,
        "full_attention_interval": 3,
    },
}
"""Hybrid, sliding-window and expert families beside those of `tiny_models`."""

BITS = {"quantization": {"group_size": 32, "bits": 4}}

SITE = '''
"""A planted fault."""
import functools, importlib.machinery, importlib.util, os, sys, time

class Loader:
    def __init__(self, loader):
        self.loader = loader
    def create_module(self, spec):
        return self.loader.create_module(spec)
    def exec_module(self, module):
        self.loader.exec_module(module)
        plant(module)
    def __getattr__(self, name):
        return getattr(self.loader, name)

class Finder:
    def find_spec(self, name, path, target=None):
        if name != {module!r}:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None:
            spec.loader = Loader(spec.loader)
        return spec

def trained():
    """Whether this process trains a slice: what fails on the device fails nowhere else."""
    return any("rehearsal_child" in word for word in sys.orig_argv)

def backward(module, name, act):
    """Let the gradient of a function of a module fail, and its forward as it is."""
    import mlx.core as mx
    real = getattr(module, name)
    def changed(*arrays, **named):
        # The arrays alone are differentiated; what is no array stays as it is.
        at = [i for i, one in enumerate(arrays) if isinstance(one, mx.array)]
        keys = [k for k, one in named.items() if isinstance(one, mx.array)]
        @mx.custom_function
        def forward(*given):
            filled = list(arrays)
            for i, one in zip(at, given):
                filled[i] = one
            return real(*filled, **{{**named, **dict(zip(keys, given[len(at):]))}})
        @forward.vjp
        def gradient(primals, cotangents, outputs):
            act()
            return primals
        return forward(*[arrays[i] for i in at], *[named[k] for k in keys])
    setattr(module, name, changed)

def fails(error):
    def act(*_, **__):
        raise error
    return act

def plant(module):
{body}

sys.meta_path.insert(0, Finder())
'''
"""What `plant` writes; `body` changes `module`."""


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        family: `model_type` of the model that meets it.
        module: Module that is changed.
        body: Python that changes `module`.
        words: Part of the reason by which it must be named.
        status: Status of RUN6.1.
        config: Fields of the model's config that differ.
        settings: Settings of the run that differ.
    """

    family: str
    module: str
    body: str
    words: str
    status: str = "FAIL"
    config: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> dict[str, Any]:
        """Return the model's config."""
        special = {**SPECIAL, **MORE}[self.family]
        return {"model_type": self.family, "dtype": "float32", **SHAPE, **special, **self.config}

    def plant(self, folder: Path) -> Path:
        """Write the fault into a folder, and return that."""
        folder.mkdir(parents=True, exist_ok=True)
        body = "\n".join(f"    {line}" for line in self.body.splitlines())
        text = SITE.format(module=self.module, body=body)
        (folder / "sitecustomize.py").write_text(text, encoding="utf-8")
        return folder


def gradient_raises(name: str, said: str, kind: str = "ValueError") -> str:
    """Return a body: the gradient of `module.name` raises."""
    return f"backward(module, {name!r}, fails({kind}({said!r})))"


CORE = "mlx.core"

FAULTS: dict[str, Fault] = {
    "indices of quantized experts": Fault(
        "qwen3_moe",
        CORE,
        gradient_raises(
            "gather_qmm", "[GatherQMM::vjp] Cannot calculate VJP with respect to indices."
        ),
        "Cannot calculate VJP with respect to indices",
        config=BITS,
    ),
    "experts without a gradient": Fault(
        "mixtral",
        CORE,
        gradient_raises("gather_mm", "[Primitive::vjp] Not implemented for GatherMM."),
        "Not implemented for GatherMM",
    ),
    "experts in groups without a gradient": Fault(
        "olmoe",
        CORE,
        gradient_raises("gather_qmm", "[GatherQMM::vjp] no gradient for groups of 32"),
        "no gradient for groups of 32",
        config=BITS,
    ),
    "out of memory": Fault(
        "qwen2_moe",
        CORE,
        gradient_raises(
            "gather_mm", "[malloc] Unable to allocate 80000000000 bytes.", "RuntimeError"
        ),
        "out of memory",
    ),
    "attention without a gradient": Fault(
        "gemma3_text",
        "mlx_lm.models.gemma3_text",
        gradient_raises(
            "scaled_dot_product_attention",
            "[Primitive::vjp] Not implemented for ScaledDotProductAttention.",
        ),
        "Not implemented for ScaledDotProductAttention",
    ),
    "attention sinks without a gradient": Fault(
        "gpt_oss",
        "mlx_lm.models.gpt_oss",
        gradient_raises(
            "scaled_dot_product_attention",
            "[ScaledDotProductAttention::vjp] VJP with respect to sinks is not implemented.",
        ),
        "respect to sinks is not implemented",
    ),
    "model file that cannot be imported": Fault(
        "cohere2",
        "mlx_lm.models.cohere2",
        "raise ImportError(\"cannot import name 'LayerNorm' from 'mlx.nn'\")",
        "cannot import name 'LayerNorm'",
    ),
    "renamed function": Fault(
        "lfm2",
        CORE,
        "del module.conv1d",
        "has no attribute 'conv1d'",
    ),
    "scan without a gradient": Fault(
        "granitemoehybrid",
        "mlx_lm.models.granitemoehybrid",
        gradient_raises("ssm_update", "[Primitive::vjp] Not implemented for CustomKernel."),
        "Not implemented for CustomKernel",
    ),
    "delta rule without a gradient": Fault(
        "qwen3_next",
        "mlx_lm.models.qwen3_next",
        gradient_raises("gated_delta_update", "[CustomKernel::vjp] the kernel has no gradient"),
        "the kernel has no gradient",
    ),
    "quantized product without a gradient": Fault(
        "qwen2",
        CORE,
        gradient_raises("quantized_matmul", "[QuantizedMatmul::vjp] no gradient for group size 32"),
        "no gradient for group size 32",
        config=BITS,
    ),
    "optimizer that raises": Fault(
        "qwen3",
        "mlx.optimizers.optimizers",
        "module.Adam.apply_single = fails(KeyError('v'))",
        "KeyError: 'v'",
    ),
    "missing argument in training": Fault(
        "gemma2",
        "mlx_lm.models.gemma2",
        "real = module.Model.__call__\n"
        "def call(self, inputs, cache=None, **named):\n"
        "    if self.training and cache is None:\n"
        '        raise TypeError("GemmaModel.__call__() missing 1 required positional '
        "argument: 'cache'\")\n"
        "    return real(self, inputs, cache, **named)\n"
        "module.Model.__call__ = call",
        "missing 1 required positional argument: 'cache'",
    ),
    "wrong shape of an adapter": Fault(
        "phi3",
        "mlx_lm.tuner.lora",
        "import mlx.core as mx\n"
        "real = module.LoRALinear.__init__\n"
        "def init(self, *a, **k):\n"
        "    real(self, *a, **k)\n"
        "    self.lora_b = mx.zeros((self.lora_b.shape[0] + 1, self.lora_b.shape[1]))\n"
        "module.LoRALinear.__init__ = init",
        "[matmul]",
    ),
    "loss of another signature": Fault(
        "smollm3",
        "mlx.nn.losses",
        "real = module.cross_entropy\n"
        "def cross_entropy(logits, targets, *, reduction):\n"
        "    return real(logits, targets, reduction=reduction)\n"
        "module.cross_entropy = cross_entropy",
        "missing 1 required keyword-only argument: 'reduction'",
    ),
    "checkpointing that fails": Fault(
        "olmo2",
        CORE,
        "module.checkpoint = lambda f: fails(ValueError('[checkpoint] outputs of the function "
        "must be arrays'))",
        "[checkpoint] outputs of the function",
        settings={"grad_checkpoint": True},
    ),
    "step that does not compile": Fault(
        "starcoder2",
        "mlx_lm.tuner.trainer",
        "class Core:\n"
        "    def __getattr__(self, name, real=module.mx):\n"
        "        return getattr(real, name)\n"
        "    def compile(self, *_, **__):\n"
        "        return fails(ValueError('[compile] Attempting to compile a function with "
        "uncaptured inputs is not allowed.'))\n"
        "module.mx = Core()",
        "uncaptured inputs is not allowed",
    ),
    "type that the backend lacks": Fault(
        "granite",
        "mlx.nn.layers.linear",
        "import mlx.core as mx\n"
        "real = module.Linear.__call__\n"
        "def call(self, x):\n"
        "    if x.dtype == mx.bfloat16:\n"
        "        raise ValueError('[addmm] bfloat16 is not supported on this backend.')\n"
        "    return real(self, x)\n"
        "module.Linear.__call__ = call",
        "bfloat16 is not supported",
        config={"dtype": "bfloat16"},
    ),
    "crash of the process": Fault(
        "mistral",
        CORE,
        "if trained():\n"
        "    def crash():\n"
        "        sys.stderr.write('terminate called after throwing an instance of "
        "std::runtime_error\\n  what():  [METAL] Unable to load kernel vjp_bf16\\n')\n"
        "        sys.stderr.flush()\n"
        "        os.abort()\n"
        "    backward(module.fast, 'rms_norm', crash)",
        "Unable to load kernel vjp_bf16",
    ),
    "crash in the update": Fault(
        "qwen2",
        "mlx.optimizers.optimizers",
        "def crash(self, *_, **__):\n"
        "    os.kill(os.getpid(), 11)\n"
        "if trained():\n"
        "    module.Adam.apply_single = crash",
        "killed by SIGSEGV",
    ),
    "layer of another signature": Fault(
        "gemma2",
        "mlx_lm.models.gemma2",
        "module.RMSNorm.__init__ = fails(TypeError('RMSNorm.__init__() got an unexpected "
        "keyword argument'))",
        "unexpected keyword argument",
        status="ERROR",
    ),
    "averaging that was moved": Fault(
        "qwen3",
        "mlx.nn.utils",
        "del module.average_gradients",
        "cannot import name 'average_gradients'",
        status="ERROR",
    ),
    "adapters that cannot be made": Fault(
        "llama",
        "mlx_lm.tuner.utils",
        "module.linear_to_lora_layers = fails(AttributeError(\"'Attention' object has no "
        "attribute 'q_proj'\"))",
        "has no attribute 'q_proj'",
        status="BLOCKED",
    ),
    "renamed setting of the trainer": Fault(
        "phi3",
        "mlx_lm.tuner.trainer",
        "real = module.TrainingArgs.__init__\n"
        "def init(self, *a, **k):\n"
        "    if 'grad_checkpoint' in k:\n"
        "        raise TypeError(\"unexpected keyword argument 'grad_checkpoint'\")\n"
        "    real(self, *a, **k)\n"
        "module.TrainingArgs.__init__ = init",
        "unexpected keyword argument 'grad_checkpoint'",
    ),
    "gradient of the whole step": Fault(
        "olmo2",
        "mlx.nn.utils",
        "module.value_and_grad = lambda *_: fails(ValueError('[vjp] no gradient'))",
        "[vjp] no gradient",
    ),
    "step that never ends": Fault(
        "llama",
        CORE,
        "if trained():\n    backward(module.fast, 'rms_norm', lambda: time.sleep(3600))",
        "never ends",
        status="BLOCKED",
    ),
}
"""Name → fault; every one is another pair of model and fault."""
