"""Hold every rule of MLX that depends on its version, in one table.

Read from mlx 0.32 (commit 846d1762 of 2026-08-22, headers of 0.32.4); code is read, not
copied. A version outside `CHECKED` still gets a prediction, with a warning and a wider
interval.
"""

from __future__ import annotations

CHECKED = ("0.32.2", "0.32.3", "0.32.4")
"""Versions of mlx that the rules were read from or measured on."""

EVAL_WIDTH = 20
"""mlx/utils.h `bfs_max_width`: default of MLX_BFS_MAX_WIDTH."""

ACTIVE_TASKS = 10
"""mlx/transforms.cpp `MAX_ACTIVE_TASKS`: tasks that may be outstanding."""

DISPATCHES_PER_TASK = 10
"""mlx/backend/cpu/encoder.h: dispatches of the CPU backend that form one task."""

DONATION_EXTRA = 16384
"""mlx/backend/common/utils.h `is_donatable`: bytes by which a donated buffer may be larger."""

CPU_CACHE_BYTES = 32 << 20
"""mlx/backend/no_gpu/allocator.cpp: limit of the CPU backend's buffer cache."""

CPU_PAGE = 4096
"""mlx/backend/no_gpu/allocator.cpp: page size of the CPU backend's buffer cache."""

FUSION_DEPTH = 11
"""mlx/compile.cpp `max_compile_depth`."""

FUSION_ARRAYS = 24
"""mlx/compile.cpp `max_compile_arrays`."""

UNARY = frozenset(
    "Abs ArcCos ArcCosh ArcSin ArcSinh ArcTan ArcTanh AsType Ceil Cos Conjugate Cosh Remainder "
    "Erf ErfInv Exp Floor Log Log1p LogicalNot Negative Round Sigmoid Sign Sin Sinh Square Sqrt "
    "Tan Tanh Expm1 Real Imag BitwiseInvert".split()
)
"""mlx/compile.cpp `is_unary`, by exported name (Rsqrt is exported as Sqrt)."""

BINARY = frozenset(
    "Add Divide Equal Greater GreaterEqual Less LessEqual LogicalAnd LogicalOr LogAddExp Maximum "
    "Minimum Multiply NotEqual Power Subtract BitwiseBinary ArcTan2".split()
)
"""mlx/compile.cpp `is_binary`."""

FUSABLE = UNARY | BINARY | {"Select", "Broadcast"}
"""mlx/compile.cpp `is_fusable`."""

NEVER_A_ROOT = frozenset({"Broadcast"})
"""mlx/compile.cpp `compile_fuse`: a broadcast is never the result of a fused kernel."""

ERROR = {"cpu": (0.10, 0.10), "metal": (0.15, 0.15), "cuda": (0.15, 0.30)}
"""Share by which a measured peak may lie under and over the predicted one, per backend."""
