"""Generate the training documents from dated evidence, and compare them with it.

`docs/training/evidence/*.json` holds what a run measured; the documents are rendered from
it and nothing else, so a number in them that the evidence does not hold is found by
rendering again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_preflight.errors import BlockedError, ResultError
from mlx_preflight.report.markdown import render_value
from mlx_preflight.result import SessionResult, Status, read_json, read_result, write_json
from mlx_preflight.result import write_text as write

SCHEMA = 1
FOLDER = Path("docs", "training")
MAX_DOCUMENT_BYTES = 1_000_000
CURVE = Path("memory_curve.svg")
"""Picture of the predicted peak against the length of the rows; its figures lie beside it."""

_LOCAL = ("location", "recommended_working_set")
"""Measurements that only mean something on the machine itself."""

_SIMULATED = ("qwen2_5_coder_7b_", "calibration_predicted_")
"""Beginnings of figures that are computed, in checks whose other figures are measured."""


@dataclass(frozen=True, slots=True)
class Document:
    """Name one generated document.

    Attributes:
        name: File under `docs/training`.
        session: Session whose result is its evidence.
        render: Returns the text for an evidence document.
    """

    name: str
    session: str
    render: Callable[[Mapping[str, Any]], Iterator[str]]

    def path(self, project: Path) -> Path:
        """Return the document's place in a project."""
        return project / FOLDER / self.name

    def evidence(self, project: Path) -> Path:
        """Return the evidence's place in a project."""
        return project / FOLDER / "evidence" / f"{self.session}.json"


def record(document: Document, project: Path, state: Path) -> None:
    """Keep a session's last result as evidence and render the document from it.

    Args:
        document: Which one.
        project: Root of the project.
        state: Its `.preflight` folder.

    Raises:
        BlockedError: The session has no result, or one with an ERROR in it.
        ResultError: A file cannot be read or written.
    """
    path = state / "results" / f"{document.session}.json"
    if not path.is_file():
        raise BlockedError(f"{path}: nothing was measured", hint=f"nox -s {document.session}")
    result = read_result(path)
    if any(check.status is Status.ERROR for check in result.checks):
        raise BlockedError(
            f"the result of {result.id} has an ERROR, so it is no evidence",
            hint=f"nox -s {document.session}",
        )
    write_json(document.evidence(project), _evidence(result, state) | _curve(document, project))
    write(document.path(project), expected(document, project))


def expected(document: Document, project: Path) -> str:
    """Return the text that the evidence gives.

    Raises:
        ResultError: The evidence is missing, damaged or of another schema.
    """
    path = document.evidence(project)
    if not path.is_file():
        raise ResultError(
            f"{path.relative_to(project)}: no evidence", hint="mlx-preflight document"
        )
    data = read_json(path)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ResultError(f"{path.relative_to(project)}: not evidence of schema {SCHEMA}")
    try:
        return "\n".join(document.render(data)) + "\n"
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ResultError(f"{path.relative_to(project)}: incomplete: {error!r}") from error


def disagreement(document: Document, project: Path) -> str:
    """Return how a document differs from its evidence; empty when it does not.

    Raises:
        ResultError: The evidence or the document cannot be read.
    """
    path = document.path(project)
    name = path.relative_to(project)
    wanted = expected(document, project).splitlines()
    if not path.is_file():
        return f"{name} does not exist"
    if path.stat().st_size > MAX_DOCUMENT_BYTES:
        return f"{name} has over {MAX_DOCUMENT_BYTES} bytes"
    try:
        found = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ResultError(f"{name}: unreadable: {error}") from error
    for number, (is_there, should_be) in enumerate(zip(found, wanted, strict=False), 1):
        if is_there != should_be:
            return f"{name}:{number} says {is_there[:80]!r}, the evidence {should_be[:80]!r}"
    if len(found) != len(wanted):
        return f"{name} has {len(found)} lines, the evidence gives {len(wanted)}"
    return ""


def _curve(document: Document, project: Path) -> dict[str, Any]:
    """Return the figures of the curve that scripts/training/memory_curve.py drew, if it did."""
    path = project / FOLDER / CURVE.with_suffix(".json")
    if document.session != "ac6-memory" or not path.is_file():
        return {}
    return {"curve": read_json(path)}


def _evidence(result: SessionResult, state: Path) -> dict[str, Any]:
    """Return the evidence document: no path of this machine, no digest list."""
    data = result.to_json()
    model = {
        key: value
        for key, value in dict(result.model).items()
        if key in {"requested", "parameters", "fingerprint", "revision", "quantization"}
    }
    environment = {key: value for key, value in result.environment.items() if key != "release"}
    checks = [
        {
            **check,
            "measurements": [m for m in check["measurements"] if m["name"] not in _LOCAL],
        }
        for check in data["checks"]
        # The document's own check would make the evidence depend on the document.
        if check["id"] not in {"AC5.6", "AC6.8"}
    ]
    answers = state / "artifacts" / result.id / "answers.json"
    return {
        "schema": SCHEMA,
        "session": result.id,
        "date": result.started[:10],
        "profile": result.profile,
        "model": model,
        "environment": environment,
        "checks": checks,
        "answers": read_json(answers)["judged"]["answers"] if answers.is_file() else [],
    }


def _head(data: Mapping[str, Any], title: str) -> Iterator[str]:
    env, model = data["environment"], data["model"]
    packages = ", ".join(f"{k} {v}" for k, v in sorted(env["packages"].items()))
    yield f"# {title}"
    yield ""
    yield (
        f"Generated by `mlx-preflight document` from `evidence/{data['session']}.json`; "
        "edit neither by hand."
    )
    yield ""
    yield f"- Measured on {data['date']}, profile `{data['profile']}`"
    yield (
        f"- Model: `{model['requested']}`, {model['parameters']:,} parameters, "
        f"files `{model['fingerprint'][:12]}`"
    )
    yield (
        f"- Machine: {env['processor']}, {env['cpu_count']} cores, "
        f"{env['memory_bytes'] / 1e9:.1f} GB RAM, {env['system']} {env['machine']}"
    )
    yield f"- Versions: Python {env['python']}, {packages}"
    if data["profile"] == "embedded":
        yield ""
        yield (
            "The embedded model is a fixture: these figures say nothing about "
            "Qwen2.5-Coder-7B-Instruct or any other model."
        )
    yield ""


def _table(data: Mapping[str, Any]) -> Iterator[str]:
    yield "| check | status | evidence | figure | value |"
    yield "|---|---|---|---|---|"
    for check in data["checks"]:
        for item in check["measurements"]:
            value = render_value(item["value"], item["unit"])
            computed = item["name"].startswith(_SIMULATED)
            evidence = "simulated" if computed else check["evidence"]
            yield f"| {check['id']} | {check['status']} | {evidence} | {item['name']} | {value} |"


def _value(data: Mapping[str, Any], name: str) -> float:
    for check in data["checks"]:
        for item in check["measurements"]:
            if item["name"] == name:
                return float(item["value"])
    raise KeyError(name)


def _inference(data: Mapping[str, Any]) -> Iterator[str]:
    yield from _head(data, "Inference test results")
    yield "## Speed"
    yield ""
    yield (
        f"Median decode speed {_value(data, 'decode_tokens_per_s'):.1f} tokens/sec, prefill "
        f"{_value(data, 'prompt_tokens_per_s'):.0f} tokens/sec, first token after "
        f"{_value(data, 'first_token_s'):.3f} seconds, a whole answer in "
        f"{_value(data, 'answer_s'):.2f} seconds."
    )
    yield ""
    yield from _table(data)
    yield ""
    yield "## Test prompts and outputs"
    yield ""
    if not data["answers"]:
        raise ValueError("no answers")
    for number, item in enumerate(data["answers"], 1):
        yield f"### Test prompt {number}: {_inline(item['id'])}"
        yield ""
        yield from _block(item["prompt"])
        yield ""
        yield f"Response, {len(item['token_ids'])} tokens:"
        yield ""
        yield from _block(item["answer"])
        yield ""


def _memory(data: Mapping[str, Any]) -> Iterator[str]:
    yield from _head(data, "Memory profile")
    budget, headroom = _value(data, "budget_bytes"), _value(data, "headroom_bytes")
    training = _value(data, "training_peak_bytes")
    yield "## In short"
    yield ""
    yield f"- Inference memory: {_gb(_value(data, 'inference_active_peak_bytes'))} peak, measured"
    yield (
        f"- Training memory (QLoRA, batch size 1): {_gb(training)} peak, measured; process "
        f"peak {_gb(_value(data, 'training_peak_rss_bytes'))} resident"
    )
    yield f"- Peak memory: {_gb(training)}, the highest that was seen, not an average"
    yield f"- Headroom: {_gb(headroom)} of the {budget / 1e9:.0f} GB budget"
    yield from _target(data)
    yield (
        f"- The predictor's error on this machine: "
        f"{_value(data, 'calibration_error_percent'):+.1f} % at worst, in "
        f"{len(_samples(data, 'calibration_error_percent'))} runs"
    )
    yield ""
    yield (
        "A 16 GB budget is not a 16 GB Mac: Metal recommends a working set of about 10.7 to "
        "11.8 GB there."
    )
    yield ""
    if "curve" in data:
        yield from _peaks(data["curve"])
    yield "## Predicted and measured on this machine"
    yield ""
    yield "| run | predicted | measured | error |"
    yield "|---|---|---|---|"
    columns = (
        _samples(data, f"calibration_{name}")
        for name in ("predicted_bytes", "measured_bytes", "error_percent")
    )
    for number, (predicted, measured, share) in enumerate(zip(*columns, strict=True), 1):
        yield f"| {number} | {_gb(predicted)} | {_gb(measured)} | {share:+.1f} % |"
    yield ""
    yield "## Figures"
    yield ""
    yield from _table(data)


def _target(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the plan's model would need, where the run was of the embedded one."""
    name = "qwen2_5_coder_7b_training_estimate_"
    if all(
        item["name"] != f"{name}bytes" for check in data["checks"] for item in check["measurements"]
    ):
        return
    estimate, low, high = (_value(data, name + end) for end in ("bytes", "low_bytes", "high_bytes"))
    yield (
        f"- Qwen2.5-Coder-7B-Instruct, one row of as many tokens, 16 layers, rank 8, 4 bit, on "
        f"Metal: {_gb(estimate)} for training ({_gb(low)} to {_gb(high)}), **simulated** from "
        "the traced graph, nothing was run"
    )


def _peaks(curve: Mapping[str, Any]) -> Iterator[str]:
    """Yield the curve as picture and table."""
    yield "## Peak against row length"
    yield ""
    yield (
        f"{curve['model']}, 4 bit, batch size 1, 16 layers, rank 8, on {curve['backend']}: "
        f"**{curve['evidence']}** on {curve['date']} from the traced graph, nothing was run. In "
        "parentheses the interval."
    )
    yield ""
    yield f"![peak memory against row length]({CURVE})"
    yield ""
    names = sorted(curve["peaks"])
    yield f"| tokens of a row | {' | '.join(names)} |"
    yield "|---|" + "---|" * len(names)
    for number, length in enumerate(curve["row_tokens"]):
        cells = (curve["peaks"][name][number] for name in names)
        shown = " | ".join(
            f"{_gb(item['peak_bytes'])} ({_gb(item['low_bytes'])} to {_gb(item['high_bytes'])})"
            for item in cells
        )
        yield f"| {length} | {shown} |"
    yield ""


def _samples(data: Mapping[str, Any], name: str) -> list[float]:
    for check in data["checks"]:
        for item in check["measurements"]:
            if item["name"] == name:
                return [float(value) for value in item["samples"]]
    raise KeyError(name)


def _gb(value: float) -> str:
    size = value / 1e9
    return f"{size:.2f} GB" if size >= 1 else f"{size:.3g} GB"


def _inline(text: str) -> str:
    return "".join(char for char in text if char.isalnum() or char in "-_/. ")[:80]


def _block(text: str) -> Iterator[str]:
    """Yield foreign text as an indented code block: no fence in it can end it."""
    for line in text.splitlines() or [""]:
        shown = "".join(char for char in line if char.isprintable())
        yield f"    {shown}".rstrip()


INFERENCE = Document("inference_test_results.md", "ac5-inference", _inference)
MEMORY = Document("memory_profile.md", "ac6-memory", _memory)
DOCUMENTS = (INFERENCE, MEMORY)
