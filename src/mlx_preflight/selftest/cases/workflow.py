"""Cases of the two integration tests: the workflow end to end, and the MCP server beside it."""

from __future__ import annotations

from mlx_preflight.core.errors import ChildError
from mlx_preflight.core.result import Status
from mlx_preflight.plan import register as plan
from mlx_preflight.selftest.cases.checkpoints import CONFIG, WEIGHTS
from mlx_preflight.selftest.cases.installation import child
from mlx_preflight.selftest.injection import tensors
from mlx_preflight.selftest.injection.bases import model_copy, package
from mlx_preflight.selftest.injection.case import Case, Kit, Step
from mlx_preflight.selftest.injection.installed import broken_module, conflict, shadowed
from mlx_preflight.selftest.injection.steps import (
    answered,
    cut,
    edit_json,
    remove,
    settings,
    write,
)

E2E = Kit("e2e", (package(), settings(train_tokens=32)))

WORKFLOW: tuple[Case, ...] = (
    E2E.clean("as it is"),
    E2E.clean("a copy in a folder", model_copy, near=plan.INT1_2),
    E2E.clean(
        "one end token more",
        *(model_copy, edit_json("model/generation_config.json", eos_token_id=[1022, 1021])),
        near=plan.INT1_3,
    ),
    E2E.defect(
        plan.INT1_1,
        "a framework that does not import",
        *shadowed("mlx_lm", "raise ImportError('libmlx.so: cannot open shared object file')\n"),
        blocks=True,
    ),
    E2E.defect(
        plan.INT1_2, "weights that are cut off", model_copy, cut(WEIGHTS, 1000), blocks=True
    ),
    E2E.defect(
        plan.INT1_2,
        "a shape that the config does not name",
        *(model_copy, edit_json(CONFIG, intermediate_size=1000)),
        blocks=True,
    ),
    E2E.defect(
        plan.INT1_3,
        "every token ends the answer",
        *(model_copy, edit_json("model/generation_config.json", eos_token_id=[*range(1024)])),
    ),
    E2E.defect(
        plan.INT1_3,
        "a worker that was killed",
        answered(answered=None, trained=None, failure=ChildError("killed"), failed_step=3),
        status=Status.ERROR,
        blocks=True,
        answer=True,
    ),
    E2E.defect(
        plan.INT1_4,
        "an optimizer that raises",
        *broken_module(
            "mlx.optimizers.optimizers", "module.Adam.apply_single = fails(KeyError('v'))"
        ),
    ),
    E2E.defect(
        plan.INT1_4,
        "a NaN in a norm",
        *(model_copy, tensors.put(WEIGHTS, "input_layernorm.weight", float("nan"))),
        along=[plan.INT1_3],
    ),
    E2E.defect(
        plan.INT1_4,
        "a loss that is not finite",
        answered("trained", losses=lambda known: (*known[:-1], None)),
        answer=True,
    ),
)

PASSING = "def test_one() -> None:\n    assert int('1') == 1\n"
FAILING = "def test_two() -> None:\n    assert int('1') == 2\n"
SKIPPING = "import pytest\n\n\n@pytest.mark.skip(reason='no server')\ndef test_one():\n    pass\n"

MCP = Kit("mcp", (package(), write("tests/mcp/test_one.py", PASSING)))


def tests(**files: str) -> tuple[Step, ...]:
    """Return what writes files of the MCP tests."""
    return tuple(write(f"tests/mcp/{name}.py", text) for name, text in files.items())


SUITES: dict[str, tuple[Status, tuple[Step, ...]]] = {
    "a failing test": (Status.FAIL, tests(test_two=FAILING)),
    "no tests": (Status.ERROR, (remove("tests"),)),
    "no test in the folder": (Status.ERROR, (remove("tests/mcp/test_one.py"),)),
    "only skipped tests": (Status.ERROR, tests(test_one=SKIPPING)),
    "an exit of 0 before a failing test": (
        Status.ERROR,
        tests(
            test_one="import pytest\n\n\n"
            + PASSING
            + "\n\ndef test_stop():\n    pytest.exit('enough', returncode=0)\n",
            test_two=FAILING,
        ),
    ),
    "an exit status that a conftest sets": (
        Status.FAIL,
        tests(
            test_two=FAILING,
            conftest="def pytest_sessionfinish(session):\n    session.exitstatus = 0\n",
        ),
    ),
    "a plugin that says that tests passed": (
        Status.ERROR,
        tests(
            test_one=SKIPPING,
            conftest="def pytest_terminal_summary(terminalreporter):\n"
            "    terminalreporter.write_line('7 passed in 0.1s')\n",
        ),
    ),
}

SERVER: tuple[Case, ...] = (
    MCP.clean("as it is"),
    MCP.clean("a skip beside it", *tests(test_two=SKIPPING), near=plan.INT2_4),
    MCP.clean(
        "pytest's cache in its configuration",
        write("pytest.ini", "[pytest]\naddopts = --ff\ncache_dir = .own-cache\n"),
        near=plan.INT2_4,
    ),
    MCP.defect(
        plan.INT2_1, "an SDK that does not import", *shadowed("mcp", "raise ImportError('gone')\n")
    ),
    MCP.defect(
        plan.INT2_1,
        "a server that cannot be created",
        *broken_module(
            "mcp_local.mcp_server", "module.create_server = fails(RuntimeError('no server'))"
        ),
    ),
    MCP.defect(
        plan.INT2_2,
        "a memory that forgets",
        *broken_module(
            "mcp_local.memory_manager", "module.MemoryManager.heads = lambda *a, **k: []"
        ),
    ),
    MCP.defect(
        plan.INT2_3,
        "an index that loses a text",
        *broken_module("mcp_local.qdrant_manager", "module.QdrantManager.count = lambda self: 1"),
    ),
    MCP.defect(
        plan.INT2_3,
        "a client that does not import",
        *shadowed("qdrant_client", "raise ImportError('gone')\n"),
    ),
    *(
        MCP.defect(plan.INT2_4, name, *steps, status=status)
        for name, (status, steps) in SUITES.items()
    ),
    MCP.defect(plan.INT2_5, "a package in conflict", *conflict()),
    MCP.defect(
        plan.INT2_5,
        "a missing pip",
        answered(pip_check=child(1, err="No module named pip")),
        status=Status.ERROR,
        answer=True,
    ),
)

CASES: tuple[Case, ...] = (*WORKFLOW, *SERVER)
