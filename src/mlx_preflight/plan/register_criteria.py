"""Rows of the plan: criteria, integration and regression tests, benchmarks."""

from __future__ import annotations

from mlx_preflight.plan import remedies
from mlx_preflight.plan.register_gates import GATE8_AUDIT, PIP_AUDIT, PYTEST, UV
from mlx_preflight.plan.spec import Check, Session, ids

PIP = "pip>=25,<27"
MCP_TESTS = ("matplotlib>=3.10,<4", "qdrant-edge-py>=0.9,<1")
"""What the tests of MCP draw and compare with."""
MCP = ("mcp>=2.3,<3", "qdrant-client>=1.20,<2", "snowballstemmer>=3,<4")
"""What the extra `mcp` installs, for projects that are no package of it."""

AC1_EVALUATION, AC2_SELECTION = "ac1-evaluation", "ac2-selection"
AC3_INSTALLATION, AC4_LOADING = "ac3-installation", "ac4-loading"
AC5_INFERENCE, AC6_MEMORY = "ac5-inference", "ac6-memory"
AC7_GUIDE, AC8_DEPENDENCIES = "ac7-guide", "ac8-dependencies"
REGRESSION_TESTS, REGRESSION_GATES = "regression-tests", "regression-gates"
BENCH_LOAD, BENCH_INFERENCE = "bench-load", "bench-inference"

AC1_1, AC1_2, AC1_3, AC1_4, AC1_5, AC1_6, AC1_7 = ids("AC1.", 7)
AC2_1, AC2_2, AC2_3, AC2_4, AC2_5 = ids("AC2.", 5)
AC3_1, AC3_2, AC3_3, AC3_4, AC3_5, AC3_6, AC3_7 = ids("AC3.", 7)
AC4_1, AC4_2, AC4_3, AC4_4, AC4_5, AC4_6 = ids("AC4.", 6)
AC5_1, AC5_2, AC5_3, AC5_4, AC5_5, AC5_6, AC5_7 = ids("AC5.", 7)
AC6_1, AC6_2, AC6_3, AC6_4, AC6_5, AC6_6, AC6_7, AC6_8 = ids("AC6.", 8)
AC7_1, AC7_2, AC7_3, AC7_4, AC7_5, AC7_6, AC7_7, AC7_8 = ids("AC7.", 8)
AC8_1, AC8_2, AC8_3, AC8_4, AC8_5, AC8_6, AC8_7, AC8_8 = ids("AC8.", 8)
INT1_1, INT1_2, INT1_3, INT1_4 = ids("INT1.", 4)
INT2_1, INT2_2, INT2_3, INT2_4, INT2_5 = ids("INT2.", 5)
REG1, REG2 = ids("REG", 2)
BENCH1, BENCH2 = ids("BENCH", 2)

_EVALUATE = "write docs/training/T001_framework_evaluation.md"
_GUIDE = "write docs/training/FRAMEWORK_SETUP.md"
_SIGN_OFF = "read the answers, then `mlx-preflight sign-off AC5 --note '…'`"

CRITERIA = (
    Session(
        AC1_EVALUATION,
        "AC1: framework evaluation complete",
        "ac",
        "criteria.evaluation",
        (
            Check(AC1_1, "the evaluation report exists", _EVALUATE),
            Check(AC1_2, "a section on MLX-LM with pros and cons", _EVALUATE),
            Check(AC1_3, "a section on axolotl with pros and cons", _EVALUATE),
            Check(AC1_4, "a comparison matrix of five criteria", _EVALUATE),
            Check(AC1_5, "a framework is selected with explicit rationale", _EVALUATE),
            Check(AC1_6, "at least three decision factors", _EVALUATE),
            Check(AC1_7, "every figure stands in dated evidence, or is cited", _EVALUATE),
        ),
    ),
    Session(
        AC2_SELECTION,
        "AC2: framework selected with rationale",
        "ac",
        "criteria.selection",
        (
            Check(AC2_1, "MLX-LM is selected in a clear statement", _EVALUATE),
            Check(AC2_2, "a rationale with at least three decision factors", _EVALUATE),
            Check(AC2_3, "trade-offs are acknowledged", _EVALUATE),
            Check(AC2_4, "a fallback plan is documented", _EVALUATE),
            Check(
                AC2_5, "the selection is the one that measured scores and weights give", _EVALUATE
            ),
        ),
    ),
    Session(
        AC3_INSTALLATION,
        "AC3: proof-of-concept installation successful",
        "ac",
        "criteria.installation",
        (
            Check(AC3_1, "mlx-lm is installed", remedies.INSTALL),
            Check(AC3_2, "the core library of MLX is installed", remedies.INSTALL),
            Check(AC3_3, "transformers is installed", remedies.INSTALL),
            Check(AC3_4, "all imports work", remedies.INSTALL),
            Check(AC3_5, "`pip check` finds no conflict", remedies.REINSTALL),
            Check(AC3_6, "no conflict with the MCP dependencies", remedies.REINSTALL),
            Check(AC3_7, "the installation guide is documented", f"run `nox -s {AC7_GUIDE}`"),
        ),
        tools=(UV,),
        requirements=(PIP,),
        stack="runtime",
    ),
    Session(
        AC4_LOADING,
        "AC4: model loaded",
        "ac",
        "criteria.loading",
        (
            Check(AC4_1, "the loading script exists", "restore scripts/training/"),
            Check(AC4_2, "the checkpoint loads without errors"),
            Check(AC4_3, "the architecture and parameter count are as expected"),
            Check(AC4_4, "the tokenizer encodes and decodes", remedies.OWN_TOKENIZER),
            Check(AC4_5, "the checkpoint is complete and intact", remedies.DOWNLOAD_AGAIN),
            Check(AC4_6, "the script is documented", "name it in docs/training/*.md"),
        ),
        stack="model",
        parallel=False,
        runs_model=True,
    ),
    Session(
        AC5_INFERENCE,
        "AC5: basic inference",
        "ac",
        "criteria.inference",
        (
            Check(AC5_1, "the inference script exists", "restore scripts/training/"),
            Check(AC5_2, "inference runs without errors"),
            Check(AC5_3, "answers have at least 20 tokens", "raise generate-tokens"),
            Check(AC5_4, "answers are coherent", _SIGN_OFF),
            Check(AC5_5, "inference time is measured"),
            Check(AC5_6, "prompts and answers are saved", "run the session again"),
            Check(AC5_7, "the same seed gives the same answers"),
        ),
        stack="model",
        parallel=False,
        runs_model=True,
    ),
    Session(
        AC6_MEMORY,
        "AC6: memory profiled (critical)",
        "ac",
        "criteria.memory",
        (
            Check(AC6_1, "the profiling script exists", "restore scripts/training/"),
            Check(AC6_2, "profiling runs without errors"),
            Check(AC6_3, "inference memory is measured"),
            Check(AC6_4, "training memory is measured or estimated"),
            Check(AC6_5, "peak memory is captured"),
            Check(AC6_6, "headroom against the budget is computed"),
            Check(AC6_7, "training memory is within the budget", remedies.OVER_BUDGET),
            Check(AC6_8, "the memory profile is documented", "run `mlx-preflight document`"),
        ),
        stack="model",
        parallel=False,
        runs_model=True,
    ),
    Session(
        AC7_GUIDE,
        "AC7: installation guide documented",
        "ac",
        "criteria.guide",
        (
            Check(AC7_1, "the guide exists", _GUIDE),
            Check(AC7_2, "numbered installation steps", _GUIDE),
            Check(AC7_3, "at least five commands to copy", _GUIDE),
            Check(AC7_4, "dependencies with versions", _GUIDE),
            Check(AC7_5, "at least three troubleshooting entries", _GUIDE),
            Check(AC7_6, "verification steps", _GUIDE),
            Check(AC7_7, "prerequisites", _GUIDE),
            Check(AC7_8, "cross-references to the evaluation and the next step", _GUIDE),
        ),
    ),
    Session(
        AC8_DEPENDENCIES,
        "AC8: dependencies in pyproject.toml",
        "ac",
        "criteria.dependencies",
        (
            Check(AC8_1, "mlx-lm is a dependency", "add it to [project] dependencies"),
            Check(AC8_2, "mlx is a dependency", "add it to [project] dependencies"),
            Check(AC8_3, "transformers is a dependency", "add it to [project] dependencies"),
            Check(AC8_4, "huggingface-hub is a dependency", "add it to [project] dependencies"),
            Check(AC8_5, "every dependency has a lower and an upper bound", "add the bound"),
            Check(AC8_6, "an editable installation works", "run `pip install -e .`"),
            Check(AC8_7, "`pip check` finds no conflict", remedies.REINSTALL),
            Check(
                AC8_8, "no severe known vulnerability at run time", f"run `nox -s {GATE8_AUDIT}`"
            ),
        ),
        tools=(*PIP_AUDIT, UV),
        stack="runtime",
        # It reads the result of gate 8, where this run has one.
        parallel=False,
    ),
    Session(
        "e2e",
        "Integration test 1: end-to-end workflow",
        "integration",
        "criteria.e2e",
        (
            Check(INT1_1, "the framework imports", remedies.INSTALL),
            Check(INT1_2, "the model loads", f"run `nox -s {AC4_LOADING}`"),
            Check(INT1_3, "the model answers", f"run `nox -s {AC5_INFERENCE}`"),
            Check(INT1_4, "memory is profiled", f"run `nox -s {AC6_MEMORY}`"),
        ),
        stack="model",
        runs_model=True,
    ),
    Session(
        "mcp",
        "Integration test 2: MCP integration not broken",
        "integration",
        "criteria.mcp",
        (
            Check(INT2_1, "the MCP server can be created", remedies.MCP),
            Check(INT2_2, "MemoryManager works", remedies.MCP),
            Check(INT2_3, "QdrantManager works", remedies.MCP),
            Check(INT2_4, "the MCP tests pass", "run `pytest -q tests/mcp` and fix what fails"),
            Check(INT2_5, "`pip check` finds no conflict beside MLX", remedies.REINSTALL),
        ),
        requirements=(*MCP, *PYTEST, *MCP_TESTS, PIP),
        stack="model",
    ),
    Session(
        REGRESSION_TESTS,
        "Regression test 1: existing tests still pass",
        "regression",
        "criteria.regression",
        (Check(REG1, "the test gates of this run passed", "see gates 4 and 5"),),
        parallel=False,
    ),
    Session(
        REGRESSION_GATES,
        "Regression test 2: quality gates keep their baseline",
        "regression",
        "criteria.regression",
        (Check(REG2, "lint, types and coverage of this run passed", "see gates 2, 3 and 6"),),
        parallel=False,
    ),
    Session(
        BENCH_LOAD,
        "Benchmark 1: model loading time",
        "bench",
        "criteria.benchmarks",
        (Check(BENCH1, "the loading time of this run is recorded", f"run `nox -s {AC4_LOADING}`"),),
        parallel=False,
        required=False,
    ),
    Session(
        BENCH_INFERENCE,
        "Benchmark 2: inference speed",
        "bench",
        "criteria.benchmarks",
        (
            Check(
                BENCH2, "the decode speed of this run is recorded", f"run `nox -s {AC5_INFERENCE}`"
            ),
        ),
        parallel=False,
        required=False,
    ),
)
