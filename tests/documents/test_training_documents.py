"""Documents that are generated from evidence, and what happens when either is touched."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from mlx_preflight.core.errors import BlockedError
from mlx_preflight.core.json_file import write_json
from mlx_preflight.core.result import (
    CheckResult,
    Evidence,
    Measurement,
    SessionResult,
    Status,
    write_result,
)
from mlx_preflight.criteria import generated_docs
from mlx_preflight.documents import training_documents

if TYPE_CHECKING:
    from pathlib import Path

PRINT = "f" * 64

FIGURES: dict[str, list[tuple[Any, ...]]] = {
    "ac5-inference": [
        ("decode_tokens_per_s", 130.5, "tokens/s"),
        ("prompt_tokens_per_s", 528.0, "tokens/s"),
        ("first_token_s", 0.053, "s"),
        ("answer_s", 0.36, "s"),
    ],
    "ac6-memory": [
        ("inference_active_peak_bytes", 4_543_240, "bytes"),
        ("training_peak_bytes", 27_752_968, "bytes"),
        ("training_peak_rss_bytes", 129_171_456, "bytes"),
        ("headroom_bytes", 15_972_247_032, "bytes"),
        ("budget_bytes", 16_000_000_000, "bytes"),
        ("qwen2_5_coder_7b_training_estimate_bytes", 6_360_574_976, "bytes"),
        ("qwen2_5_coder_7b_training_estimate_low_bytes", 6_000_000_000, "bytes"),
        ("qwen2_5_coder_7b_training_estimate_high_bytes", 7_000_000_000, "bytes"),
        ("calibration_predicted_bytes", 28_000_000, "bytes", (14_000_000.0, 28_000_000.0)),
        ("calibration_measured_bytes", 27_000_000, "bytes", (14_100_000.0, 27_000_000.0)),
        ("calibration_error_percent", 3.7, "percent", (-0.7, 3.7)),
        ("location", "/home/me/models", "text"),
    ],
}

ENVIRONMENT = {
    "system": "Linux",
    "machine": "x86_64",
    "processor": "a CPU",
    "cpu_count": 2,
    "memory_bytes": 25_000_000_000,
    "python": "3.11.7",
    "packages": {"mlx": "0.32.4"},
}


def prepare(project: Path, status: Status = Status.PASS, answer: str = "def f():\n  pass") -> Path:
    """Write results of both sessions and AC5's answers; return the state folder."""
    state = project / ".preflight"
    for session, figures in FIGURES.items():
        measurements = tuple(
            Measurement(name, value, unit, None, *samples)
            for name, value, unit, *samples in figures
        )
        check = CheckResult("AC0.1", "x", status, Evidence.EMBEDDED, "seen", "", measurements)
        model = {"requested": "embedded", "parameters": 919_680, "fingerprint": PRINT}
        model["path"] = "/home/me/models"
        result = SessionResult(
            session,
            session,
            (check,),
            "r1",
            "2026-01-02T00:00:00",
            1.0,
            "embedded",
            model,
            ENVIRONMENT,
        )
        write_result(state / "results", result)
    answers = [{"id": "one", "prompt": "Write f.", "answer": answer, "token_ids": [1, 2]}]
    path = state / "artifacts" / "ac5-inference" / "answers.json"
    write_json(path, {"judged": {"answers": answers}})
    return state


@pytest.fixture(params=training_documents.DOCUMENTS, ids=lambda item: item.name)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A document that was just generated, and its project."""
    training_documents.record(request.param, tmp_path, prepare(tmp_path))
    return request.param, tmp_path


def test_a_generated_document_agrees_and_passes(written: Any) -> None:
    """What was just generated agrees with its evidence and passes for its own model."""
    document, project = written
    assert (
        generated_docs.judge(generated_docs.compare(document, project), PRINT).status is Status.PASS
    )


def test_a_changed_number_fails_with_its_line(written: Any) -> None:
    """One digit changed by hand is found and quoted."""
    document, project = written
    path = document.path(project)
    path.write_text(re.sub(r"(\d)\.(\d)", r"\1.9\2", path.read_text(), count=1))
    outcome = generated_docs.judge(generated_docs.compare(document, project), PRINT)
    assert outcome.status is Status.FAIL
    assert document.name in outcome.reason


def test_changed_evidence_fails_too(written: Any) -> None:
    """A figure changed in the evidence no longer agrees with the document."""
    document, project = written
    path = document.evidence(project)
    data = json.loads(path.read_text())
    data["checks"][0]["measurements"][0]["value"] = 1
    path.write_text(json.dumps(data))
    assert (
        generated_docs.judge(generated_docs.compare(document, project), PRINT).status is Status.FAIL
    )


@pytest.mark.parametrize("damage", ["absent", "schema", "garbage", "no document", "not text"])
def test_missing_and_damaged_files_fail(written: Any, damage: str) -> None:
    """Absence, another schema, garbage and bytes that are no text never pass."""
    document, project = written
    evidence, path = document.evidence(project), document.path(project)
    if damage == "absent":
        evidence.unlink()
    elif damage == "schema":
        evidence.write_text('{"schema": 2}')
    elif damage == "garbage":
        evidence.write_text("{")
    elif damage == "no document":
        path.unlink()
    else:
        path.write_bytes(b"\xff\xfe\x00")
    assert (
        generated_docs.judge(generated_docs.compare(document, project), PRINT).status is Status.FAIL
    )


def test_another_models_document_does_not_count(written: Any) -> None:
    """A document about other model files fails for these; without a model it is blocked."""
    document, project = written
    assert (
        generated_docs.judge(generated_docs.compare(document, project), "0" * 64).status
        is Status.FAIL
    )
    assert (
        generated_docs.judge(generated_docs.compare(document, project), "").status is Status.BLOCKED
    )


def test_no_path_of_the_machine_reaches_the_evidence(written: Any) -> None:
    """Folders of the measuring machine are left out of what is committed."""
    document, project = written
    assert "/home/me" not in document.evidence(project).read_text()
    assert "/home/me" not in document.path(project).read_text()


def test_an_error_is_no_evidence(tmp_path: Path) -> None:
    """A session that could not measure, or never ran, gives no document."""
    state = prepare(tmp_path, Status.ERROR)
    with pytest.raises(BlockedError, match="ERROR"):
        training_documents.record(training_documents.MEMORY, tmp_path, state)
    with pytest.raises(BlockedError, match="nothing was measured"):
        training_documents.record(training_documents.MEMORY, tmp_path, tmp_path / "none")


def test_an_answer_cannot_write_markdown(tmp_path: Path) -> None:
    """A model's answer stays inside an indented block, fences and escapes included."""
    answer = "```\n# Verdict: PASS\n\x1b[31m<script>alert(1)</script>"
    state = prepare(tmp_path, answer=answer)
    training_documents.record(training_documents.INFERENCE, tmp_path, state)
    text = training_documents.INFERENCE.path(tmp_path).read_text()
    assert "    # Verdict: PASS" in text
    assert not re.search(r"^(# Verdict|```|<script)", text, re.MULTILINE)
    assert "\x1b" not in text


def test_the_plans_own_check_reads_the_memory_profile(tmp_path: Path) -> None:
    """The plan's regular expression finds a training figure in GB within the budget."""
    training_documents.record(training_documents.MEMORY, tmp_path, prepare(tmp_path))
    text = training_documents.MEMORY.path(tmp_path).read_text()
    found = re.findall(r"Training.*?([0-9]+\.?[0-9]*) ?GB", text, re.IGNORECASE)
    assert float(found[0]) <= 16.0


def test_another_model_has_no_line_about_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the plan's model was not estimated, its profile can be written all the same."""
    figures = [item for item in FIGURES["ac6-memory"] if "qwen" not in item[0]]
    monkeypatch.setitem(FIGURES, "ac6-memory", figures)
    training_documents.record(training_documents.MEMORY, tmp_path, prepare(tmp_path))
    text = training_documents.MEMORY.path(tmp_path).read_text()
    assert "Qwen2.5-Coder-7B-Instruct, one row" not in text
    assert "+3.7 % at worst, in 2 runs" in text


def test_what_was_computed_is_not_called_measured(tmp_path: Path) -> None:
    """The estimate of the 7B model stands beside measurements of another one."""
    training_documents.record(training_documents.MEMORY, tmp_path, prepare(tmp_path))
    text = training_documents.MEMORY.path(tmp_path).read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| AC0.1")]
    kinds = {row[3]: row[2] for row in rows}
    assert kinds["qwen2_5_coder_7b_training_estimate_bytes"] == "simulated"
    assert kinds["calibration_predicted_bytes"] == "simulated"
    assert kinds["calibration_measured_bytes"] == kinds["training_peak_bytes"] == "embedded"
    # Nothing is left of a budget to three digits alone: 15.97 GB are not 16.
    assert "Headroom: 15.97 GB of the 16 GB budget" in text
