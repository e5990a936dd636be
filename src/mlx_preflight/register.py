"""List every session and check of the plan, in the plan's order.

One way to add a check: a row here and a function of the same name in the session's
module. Nothing else names sessions or checks.
"""

from __future__ import annotations

from mlx_preflight import remedies
from mlx_preflight.errors import UsageError
from mlx_preflight.plan import GROUPS, Check, Session, suggest
from mlx_preflight.project_table import Settings

BLACK, RUFF, MYPY = "black>=25.9,<27", "ruff>=0.17,<0.18", "mypy>=1.18,<3"
PYTEST = ("pytest>=7.4,<10", "coverage[toml]>=7.10,<8")
BUILD, PIP, UV = "build>=1.3,<2", "pip>=25,<27", "uv>=0.9,<1"
PIP_AUDIT = ("pip-audit>=2.9,<3", "cvss>=3.3,<4")
MCP_TESTS = ("matplotlib>=3.10,<4", "qdrant-edge-py>=0.9,<1")
"""What the tests of MCP draw and compare with."""
MCP = ("mcp>=2.3,<3", "qdrant-client>=1.20,<2", "snowballstemmer>=3,<4")
"""What the extra `mcp` installs, for projects that are no package of it."""

_SIGN_OFF = "read the answers, then `mlx-preflight sign-off AC5 --note '…'`"


def _gate(number: int, name: str, title: str, remedy: str, **options: object) -> Session:
    return Session(
        id=f"gate{number}-{name}",
        title=f"Gate {number}: {title}",
        tag="gates",
        module=f"gates.{name}",
        checks=(Check(f"GATE{number}", title, remedy),),
        **options,  # type: ignore[arg-type]  # the rows below are checked by Session itself
    )


GATES = (
    _gate(
        1,
        "format",
        "black finds nothing to reformat",
        "run `black .`",
        requirements=(BLACK,),
    ),
    _gate(
        2,
        "lint",
        "ruff finds no more than the accepted number of errors",
        "run `ruff check .` and mend what it names",
        requirements=(RUFF,),
    ),
    _gate(
        3,
        "types",
        "mypy finds no more than the accepted number of errors",
        "run `mypy .` and mend what it names",
        requirements=(MYPY,),
        stack="tests",
    ),
    _gate(
        4,
        "unit",
        "every unit test passes",
        "run `pytest -q` and mend what fails",
        requirements=PYTEST,
        stack="tests",
    ),
    _gate(
        5,
        "integration",
        "every acceptance test passes",
        "run `pytest -q tests/acceptance` and mend what fails",
        requirements=PYTEST,
        stack="tests",
    ),
    _gate(
        6,
        "coverage",
        "line coverage of the source is high enough, exactly compared",
        "test the lines that the report names",
        requirements=PYTEST,
        stack="tests",
        # It reads what gates 4 and 5 measured, so it must start after both ended.
        parallel=False,
    ),
    _gate(
        7,
        "build",
        "sdist and wheel build",
        "run `python -m build` and mend what it names",
        requirements=(BUILD, UV),
        # A source walk beside running tests meets files that vanish under it.
        parallel=False,
    ),
    _gate(
        8,
        "audit",
        "no severe known vulnerability in the runtime environment, and every package was audited",
        "upgrade the packages named; where nothing could be audited, name a reachable "
        "advisory service with audit-service and audit-url, or a database with audit-database",
        requirements=PIP_AUDIT,
        stack="model",
    ),
)

SESSIONS: tuple[Session, ...] = (
    *GATES,
    Session(
        "ac1-evaluation",
        "AC1: framework evaluation complete",
        "ac",
        "criteria.evaluation",
        tuple(
            Check(f"AC1.{n}", title, "write docs/training/T001_framework_evaluation.md")
            for n, title in enumerate(
                (
                    "the evaluation report exists",
                    "a section on MLX-LM with pros and cons",
                    "a section on axolotl with pros and cons",
                    "a comparison matrix of five criteria",
                    "a framework is selected with explicit rationale",
                    "at least three decision factors",
                    "every figure stands in dated evidence, or is cited",
                ),
                1,
            )
        ),
    ),
    Session(
        "ac2-selection",
        "AC2: framework selected with rationale",
        "ac",
        "criteria.selection",
        tuple(
            Check(f"AC2.{n}", title, "write docs/training/T001_framework_evaluation.md")
            for n, title in enumerate(
                (
                    "MLX-LM is selected in a clear statement",
                    "a rationale with at least three decision factors",
                    "trade-offs are acknowledged",
                    "a fallback plan is documented",
                    "the selection is the one that measured scores and weights give",
                ),
                1,
            )
        ),
    ),
    Session(
        "ac3-installation",
        "AC3: proof-of-concept installation successful",
        "ac",
        "criteria.installation",
        (
            Check("AC3.1", "mlx-lm is installed", remedies.INSTALL),
            Check("AC3.2", "the core library of MLX is installed", remedies.INSTALL),
            Check("AC3.3", "transformers is installed", remedies.INSTALL),
            Check("AC3.4", "all imports work", remedies.INSTALL),
            Check("AC3.5", "`pip check` finds no conflict", remedies.REINSTALL),
            Check("AC3.6", "no conflict with the MCP dependencies", remedies.REINSTALL),
            Check("AC3.7", "the installation guide is documented", "see AC7"),
        ),
        requirements=(PIP, UV),
        stack="model",
    ),
    Session(
        "ac4-loading",
        "AC4: model loaded",
        "ac",
        "criteria.loading",
        (
            Check("AC4.1", "the loading script exists", "restore scripts/training/"),
            Check("AC4.2", "the checkpoint loads without errors", "see the reason"),
            Check(
                "AC4.3", "the architecture and parameter count are as expected", "see the reason"
            ),
            Check("AC4.4", "the tokenizer encodes and decodes", remedies.OWN_TOKENIZER),
            Check("AC4.5", "the checkpoint is complete and intact", remedies.DOWNLOAD_AGAIN),
            Check("AC4.6", "the script is documented", "name it in docs/training/*.md"),
        ),
        stack="model",
        parallel=False,
        runs_model=True,
    ),
    Session(
        "ac5-inference",
        "AC5: basic inference",
        "ac",
        "criteria.inference",
        (
            Check("AC5.1", "the inference script exists", "restore scripts/training/"),
            Check("AC5.2", "inference runs without errors", "see the reason"),
            Check("AC5.3", "answers have at least 20 tokens", "raise generate-tokens"),
            Check("AC5.4", "answers are coherent", _SIGN_OFF),
            Check("AC5.5", "inference time is measured", "see the reason"),
            Check("AC5.6", "prompts and answers are saved", "run the session again"),
            Check("AC5.7", "the same seed gives the same answers", "see the reason"),
        ),
        stack="model",
        parallel=False,
        runs_model=True,
    ),
    Session(
        "ac6-memory",
        "AC6: memory profiled (critical)",
        "ac",
        "criteria.memory",
        (
            Check("AC6.1", "the profiling script exists", "restore scripts/training/"),
            Check("AC6.2", "profiling runs without errors", "see the reason"),
            Check("AC6.3", "inference memory is measured", "see the reason"),
            Check("AC6.4", "training memory is measured or estimated", "see the reason"),
            Check("AC6.5", "peak memory is captured", "see the reason"),
            Check("AC6.6", "headroom against the budget is computed", "see the reason"),
            Check("AC6.7", "training memory is within the budget", remedies.OVER_BUDGET),
            Check("AC6.8", "the memory profile is documented", "run `mlx-preflight document`"),
        ),
        stack="model",
        parallel=False,
        runs_model=True,
    ),
    Session(
        "ac7-guide",
        "AC7: installation guide documented",
        "ac",
        "criteria.guide",
        tuple(
            Check(f"AC7.{n}", title, "write docs/training/FRAMEWORK_SETUP.md")
            for n, title in enumerate(
                (
                    "the guide exists",
                    "numbered installation steps",
                    "at least five commands to copy",
                    "dependencies with versions",
                    "at least three troubleshooting entries",
                    "verification steps",
                    "prerequisites",
                    "cross-references to the evaluation and the next step",
                ),
                1,
            )
        ),
    ),
    Session(
        "ac8-dependencies",
        "AC8: dependencies in pyproject.toml",
        "ac",
        "criteria.dependencies",
        (
            Check("AC8.1", "mlx-lm is a dependency", "add it to [project] dependencies"),
            Check("AC8.2", "mlx is a dependency", "add it to [project] dependencies"),
            Check("AC8.3", "transformers is a dependency", "add it to [project] dependencies"),
            Check("AC8.4", "huggingface-hub is a dependency", "add it to [project] dependencies"),
            Check("AC8.5", "every dependency has a lower and an upper bound", "add the bound"),
            Check("AC8.6", "an editable installation works", "run `pip install -e .`"),
            Check("AC8.7", "`pip check` finds no conflict", remedies.REINSTALL),
            Check("AC8.8", "no severe known vulnerability at run time", "see gate8-audit"),
        ),
        requirements=(PIP, *PIP_AUDIT, UV),
        stack="model",
        # It reads the result of gate 8, where this run has one.
        parallel=False,
    ),
    Session(
        "e2e",
        "Integration test 1: end-to-end workflow",
        "integration",
        "integration.e2e",
        (
            Check("INT1.1", "the framework imports", "see the reason"),
            Check("INT1.2", "the model loads", "see the reason"),
            Check("INT1.3", "the model answers", "see the reason"),
            Check("INT1.4", "memory is profiled", "see the reason"),
        ),
        stack="model",
        runs_model=True,
    ),
    Session(
        "mcp",
        "Integration test 2: MCP integration not broken",
        "integration",
        "integration.mcp",
        (
            Check("INT2.1", "the MCP server can be created", remedies.MCP),
            Check("INT2.2", "MemoryManager works", remedies.MCP),
            Check("INT2.3", "QdrantManager works", remedies.MCP),
            Check("INT2.4", "the MCP tests pass", "run `pytest -q tests/mcp` and mend what fails"),
            Check("INT2.5", "`pip check` finds no conflict beside MLX", remedies.REINSTALL),
        ),
        requirements=(*MCP, *PYTEST, *MCP_TESTS, PIP),
        stack="model",
    ),
    Session(
        "regression-tests",
        "Regression test 1: existing tests still pass",
        "regression",
        "integration.regression",
        (Check("REG1", "the test gates of this run passed", "see gates 4 and 5"),),
        parallel=False,
    ),
    Session(
        "regression-gates",
        "Regression test 2: quality gates keep their baseline",
        "regression",
        "integration.regression",
        (Check("REG2", "lint, types and coverage of this run passed", "see gates 2, 3 and 6"),),
        parallel=False,
    ),
    Session(
        "bench-load",
        "Benchmark 1: model loading time",
        "bench",
        "integration.benchmarks",
        (Check("BENCH1", "the loading time of this run is recorded", "see ac4-loading"),),
        parallel=False,
        required=False,
    ),
    Session(
        "bench-inference",
        "Benchmark 2: inference speed",
        "bench",
        "integration.benchmarks",
        (Check("BENCH2", "the decode speed of this run is recorded", "see ac5-inference"),),
        parallel=False,
        required=False,
    ),
    Session(
        "selftest",
        "Self-test: every gate turns red for its fault, and for nothing else",
        "selftest",
        "selftest.session",
        tuple(
            Check(f"SELF.{n}", f"gate {n} can fail", "see the reason; other versions of the tool?")
            for n in range(1, len(GATES) + 1)
        ),
        requirements=(BLACK, RUFF, MYPY, *PYTEST, BUILD, UV, *PIP_AUDIT),
    ),
)


def sessions(group: str = "preflight") -> tuple[Session, ...]:
    """Return the sessions of a group in the plan's order.

    Raises:
        UsageError: The group does not exist.
    """
    if group not in GROUPS:
        raise UsageError(f"unknown group {group!r}{suggest(group, GROUPS)}")
    return tuple(item for item in SESSIONS if {item.tag, item.id} & {*GROUPS[group]})


def off(settings: Settings) -> dict[str, str]:
    """Return the sessions that a project turned off, with its reasons.

    Raises:
        UsageError: One of them does not exist; the message suggests the nearest one.
    """
    known = [item.id for item in SESSIONS]
    for name in settings.off:
        if name not in known:
            raise UsageError(f"off: unknown session {name!r}{suggest(name, known)}")
    return dict(settings.off)


def find_session(name: str) -> tuple[Session, Check | None]:
    """Return the session of an id, or of one of its checks together with that check.

    Raises:
        UsageError: Nothing has that id; the message suggests the nearest one.
    """
    for session in SESSIONS:
        if session.id == name.lower():
            return session, None
        for check in session.checks:
            if check.id == name.upper():
                return session, check
    known = [item.id for item in SESSIONS] + [c.id for item in SESSIONS for c in item.checks]
    raise UsageError(
        f"unknown check {name!r}{suggest(name, known)}",
        hint="`mlx-preflight list` prints every id",
    )
