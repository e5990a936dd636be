"""Every rule of MLX that depends on its version, in one table.

Read from mlx 0.32 (commit 846d1762 of 2026-08-22, headers of 0.32.4); code is read, not
copied. A version outside `CHECKED` still gets a prediction, with a warning and a wider
interval.
"""

from __future__ import annotations

CHECKED = ("0.32.2", "0.32.3", "0.32.4")
"""Versions of mlx that the rules were read from or measured on."""

OVERRIDES = (
    "MLX_DISABLE_COMPILE",
    "MLX_BFS_MAX_WIDTH",
    "MLX_MAX_OPS_PER_BUFFER",
    "MLX_MAX_MB_PER_BUFFER",
)
"""Environment variables by which MLX leaves the rules below; with compilation disabled a
prediction was 16 % too high (embedded model, checkpointing on)."""

EVAL_WIDTH = 20
"""mlx/utils.h `bfs_max_width`: default of MLX_BFS_MAX_WIDTH."""

ACTIVE_TASKS = 10
"""mlx/transforms.cpp `MAX_ACTIVE_TASKS`: tasks that may be outstanding."""

DISPATCHES_PER_TASK = 10
"""mlx/backend/cpu/encoder.h: dispatches of the CPU backend that form one task."""

DONATION_EXTRA = 16384
"""mlx/backend/common/utils.h `is_donatable`: bytes by which a donated buffer may be larger."""

METAL_KERNELS = 40
"""mlx/backend/metal/device.cpp: kernels of a command buffer on a base or Pro chip; 50 on Max
and Ultra."""

METAL_MEBI = 40
"""mlx/backend/metal/device.cpp: 2^20 elements that a command buffer touches, likewise."""

METAL_PAGE = 16384
"""mlx/backend/metal/allocator.cpp: larger buffers are multiples of the page of Apple chips."""

CPU_PAGE = 4096
"""mlx/backend/no_gpu/allocator.cpp: page of the buffer cache; buffers have any size."""

CPU_CACHE = 32 << 20
"""mlx/backend/no_gpu/allocator.cpp: bytes of freed buffers that are kept for reuse."""

REUSE_FACTOR = 2
"""mlx/backend/common/buffer_cache.h: a kept buffer of this multiple of a request is too large."""

REUSE_PAGES = 2
"""mlx/backend/common/buffer_cache.h: pages by which a kept buffer is too large."""

REUSED = 0.5
"""Share of what reused buffers may be too large that is added to the upper end on the CPU.

A step writes adapters and moments into buffers of the step before, each up to `REUSE_FACTOR`
times, but at most `REUSE_PAGES`, too large; a replay starts from their exact sizes. Up to 0.47
of the sum was measured (short rows, where the optimizer has the peak); of a 7B model it is some
megabytes.
"""

NORM_GROUPS = 512
"""mlx/backend/metal/normalization.cpp: rows of partial weight gradients of a norm."""

FUSION_DEPTH = 11
"""mlx/compile.cpp `max_compile_depth`."""

FUSION_ARRAYS = 24
"""mlx/compile.cpp `max_compile_arrays`."""

UNARY = frozenset(
    {
        "Abs",
        "ArcCos",
        "ArcCosh",
        "ArcSin",
        "ArcSinh",
        "ArcTan",
        "ArcTanh",
        "AsType",
        "Ceil",
        "Cos",
        "Conjugate",
        "Cosh",
        "Remainder",
        "Erf",
        "ErfInv",
        "Exp",
        "Floor",
        "Log",
        "Log1p",
        "LogicalNot",
        "Negative",
        "Round",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Square",
        "Sqrt",
        "Tan",
        "Tanh",
        "Expm1",
        "Real",
        "Imag",
        "BitwiseInvert",
    }
)
"""mlx/compile.cpp `is_unary`, by exported name (Rsqrt is exported as Sqrt)."""

FP8 = frozenset({"FromFP8", "ToFP8"})
"""mlx/fast_primitives.h `ConvertFP8`, by name: evaluated as unary ones, and never fused."""

BINARY = frozenset(
    {
        "Add",
        "Divide",
        "Equal",
        "Greater",
        "GreaterEqual",
        "Less",
        "LessEqual",
        "LogicalAnd",
        "LogicalOr",
        "LogAddExp",
        "Maximum",
        "Minimum",
        "Multiply",
        "NotEqual",
        "Power",
        "Subtract",
        "BitwiseBinary",
        "ArcTan2",
    }
)
"""mlx/compile.cpp `is_binary`."""

FUSABLE = UNARY | BINARY | {"Select", "Broadcast"}
"""mlx/compile.cpp `is_fusable`."""

ACTIVATIONS = frozenset({"Sigmoid", "Tanh", "Erf"})
"""Primitives of the activation functions that mlx/nn/layers/activations.py and
mlx_lm/models/activations.py compile, so that they are fused in inference too."""

NEVER_A_ROOT = frozenset({"Broadcast"})
"""mlx/compile.cpp `compile_fuse`: a broadcast is never the result of a fused kernel."""

ERROR = {"cpu": (0.05, 0.10), "metal": (0.15, 0.15), "cuda": (0.15, 0.30)}
"""Share by which a measured peak may lie under and over the predicted one, per backend.

cpu: 363 runs of benchmarks/memory_accuracy.py; the largest shortfall is 2.3 %, and repeats of
a run of 4 MB differ by 2 %.
metal: the published runs with fully stated settings lie within 9 %; benchmarks/results.
cuda: nothing measured, so wider.
"""

GENERATION_ERROR = {**ERROR, "cpu": (0.25, 0.15)}
"""The same for generation.

cpu: 48 runs of benchmarks/generation_accuracy.py lie within 10 %, one of them 10.3 % over what
is predicted; of 95 others, of 15 architectures, the largest lay 25 % under it (44 % once, of
2 MB). The few evaluations of a generation do not meet every timing of the worker, as a training
does, and the highest one is predicted.
"""

WIDER = 2.0
"""Factor on both for a version of mlx that is not in `CHECKED`, or one of `OVERRIDES`."""

SELDOM_MEASURED = 0.05
"""Share added to the lower end for dropout, dora and full training, of which fewer runs are
measured (benchmarks/run_memory.py): one lay 6.0 % under its prediction.
"""

CONTINUED = 0.20
"""Share added to both ends where loops over tokens were continued from short ones.

Of small models traced in full, 64 and 97 tokens, a continued peak lay up to 6 % off on the CPU
and 20 % on Metal, whose command buffers hold more tokens than a short loop has.
"""
