"""Faults of training data, each found by exactly its check, and clean data without a finding."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from mlx_preflight.core import child
from mlx_preflight.core.result import CheckResult, Status
from mlx_preflight.core.text import strip_escapes
from mlx_preflight.plan import register
from mlx_preflight.run.context import Context
from mlx_preflight.run.session import run_session
from mlx_preflight.selftest.cases.rows import CLEAN
from mlx_preflight.selftest.injection.row_faults import FAULTS, TEMPLATE, Fault
from tests.training import rows_of
from tests.training.rows_of import chats

pytestmark = pytest.mark.slow

ITERS = ("--iters", "16", "--num-layers", "1")

SESSION = next(s for s in register.sessions("run") if s.id == register.RUN4_DATA)


def prepared(fault: Fault, tmp_path: Path) -> Context:
    """Write a fault's data and model, and return the context of its run."""
    files = {"valid": chats(5, 9), **fault.files}
    data = rows_of.folder(tmp_path / "data", files)
    model = rows_of.MODEL
    if fault.template != TEMPLATE or fault.tokenizer:
        model = rows_of.model(tmp_path / "model", fault.template, fault.tokenizer, fault.config)
    return rows_of.context(tmp_path, data, *ITERS, *fault.arguments, model=model)


def judged(context: Context) -> dict[str, CheckResult]:
    return {check.id: check for check in run_session(SESSION, context).checks}


def described(results: dict[str, CheckResult]) -> str:
    return "\n".join(f"{c.id} {c.status} {c.reason}" for c in results.values())


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_by_its_check(name: str, tmp_path: Path) -> None:
    """A fault fails one check, with its file and line, and what to do; no other one fails."""
    fault = FAULTS[name]
    results = judged(prepared(fault, tmp_path))
    failed = [check.id for check in results.values() if check.status is Status.FAIL]
    assert failed == [fault.check], described(results)
    found = results[fault.check]
    assert fault.says in found.reason
    assert found.remedy
    if fault.split:
        named = f"{fault.split}.jsonl, line {fault.line}" in found.reason
        assert named or "a limit that cuts most" in name
        places = [(item.path, item.line) for item in found.diagnostics]
        assert (f"data/{fault.split}.jsonl", fault.line) in places
    assert {c.status for c in results.values()} <= {Status.PASS, Status.FAIL, Status.BLOCKED}
    text = json.dumps([str(check) for check in results.values()])
    assert "word word" not in text


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.raises])
def test_the_trainer_fails_as_announced(name: str, tmp_path: Path) -> None:
    """mlx_lm.lora ends with the announced exception, or a loss of NaN, when it was announced."""
    fault = FAULTS[name]
    context = prepared(fault, tmp_path)
    found = judged(context)[fault.check]
    training = context.training
    assert training is not None
    adapters = ("--adapter-path", str(tmp_path / "adapters"), "--steps-per-report", "1")
    done = child.run_child(
        (sys.executable, "-m", "mlx_lm", "lora", *training.arguments, *adapters),
        cwd=tmp_path,
        timeout_s=120,
        env=child.offline_environment(),
    )
    said = strip_escapes(done.stdout + done.stderr)
    announced = re.search(r"iteration (\d+)", found.reason)
    first = int(announced[1]) if announced else 1
    losses = re.findall(r"^ +(\d+) +([\d.]+|nan) [▲▼]", said, re.MULTILINE)
    if fault.raises == "nan":
        assert [int(number) for number, loss in losses if loss == "nan"][:1] == [first]
    else:
        assert done.returncode != 0
        assert re.search(rf"^[\w.]*{fault.raises}", said[-600:], re.MULTILINE), said[-3000:]
        if fault.says != "test.jsonl has 2":
            assert len(losses) == first - 1, said[-3000:]


@pytest.mark.parametrize("name", CLEAN)
def test_clean_data_pass(name: str, tmp_path: Path) -> None:
    """Data without a fault pass every check."""
    files, arguments, template = CLEAN[name]
    results = judged(prepared(Fault(files, "", arguments=arguments, template=template), tmp_path))
    assert {check.status for check in results.values()} == {Status.PASS}, described(results)
