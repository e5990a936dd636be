"""Calibration files: kept for the same hardware, and refused field by field."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_preflight.core.errors import ResultError
from mlx_preflight.memory.predict import predict
from mlx_preflight.memory.settings import Settings
from mlx_preflight.models import source
from mlx_preflight.training import calibrating, calibration_file, timing
from mlx_preflight.training.calibration_file import Calibration
from mlx_preflight.training.speed import Speed

SPEED = Speed({"bfloat16/0": {"128": 1e10}, "bfloat16/4": {"128": 1e10}}, 1e10, 1e-6, 1.5)


def calibrated(**changes: Any) -> Calibration:
    """Return a calibration of this machine, some fields changed."""
    made = Calibration(
        "cpu",
        calibration_file.machine(),
        {"mlx": "0.32.4"},
        "2026-01-02T03:04:05+00:00",
        SPEED,
        {"embedded, 4 blocks": [0.1, 0.2]},
    )
    return dataclasses.replace(made, **changes)


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's own data out of it."""
    monkeypatch.setenv("MLX_PREFLIGHT_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_a_calibration_is_found_again_on_the_same_hardware(data_folder: Path) -> None:
    """And nowhere else: another processor, or another number of cores, finds none."""
    assert calibration_file.find("cpu") is None
    file = calibration_file.write(calibrated())
    assert file.is_relative_to(data_folder)
    assert calibration_file.find("cpu") == calibrated()
    assert calibration_file.find("metal") is None
    for name, other in (("processor", "Apple M9"), ("cpu_count", 999)):
        machine = {**calibration_file.machine(), name: other}
        calibration_file.write(calibrated(machine=machine))
        assert calibration_file.find("cpu") is None


def test_its_own_calibration_comes_before_an_imported_one() -> None:
    """Which never replaces it, and counts where there is no other."""
    other = calibrated(created="2025-01-01T00:00:00+00:00")
    calibration_file.write(other, imported=True)
    assert calibration_file.find("cpu") == other
    calibration_file.write(calibrated())
    calibration_file.write(other, imported=True)
    assert calibration_file.find("cpu") == calibrated()
    elsewhere = calibrated(machine={**calibration_file.machine(), "processor": "Apple M9"})
    calibration_file.write(elsewhere)
    assert calibration_file.find("cpu") == other


FAULTS: dict[str, tuple[str, Any]] = {
    "schema": ("schema 2", 2),
    "backend": ("backend is 'tpu'", "tpu"),
    "created": ("created: no time", "yesterday"),
    "bytes_s": ("bytes_s: -1 is out of range", -1),
    "kernel_s": ("kernel_s: no float", "1e-6"),
    "factor": ("factor is 1000", 1000),
    "products": ("unknown kind 'int8/0'", {"int8/0": {"1": 1.0}}),
    "steps": ("steps.x.0: 0 is out of range", {"x": [0]}),
    "machine": ("machine.processor: no str", {}),
    "versions": ("a version is no text", {"mlx": 1}),
    "other": ("other: unknown", 1),
    "products ": ("products: none", {}),
    "products  ": ("unknown kind", {"float32/\u00b2": {"1": 1.0}}),
    "products   ": ("no rates by tokens", {"float32/0": {"\u00b2": 1.0}}),
    "products    ": ("no rates by tokens", {"float32/0": {"9" * 5000: 1.0}}),
    "versions ": ("versions: over 200 characters, or control", {"mlx": "\x1b[2J"}),
    "versions  ": ("versions: over 200 characters, or control", {"mlx": "1" * 300}),
    "steps ": ("steps: over 200 characters, or control", {"\x1b[31m": [1.0]}),
    "machine ": (
        "machine.processor: over 200 characters, or control",
        {**calibration_file.machine(), "processor": "\x1b[31mM1"},
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_field_is_named(tmp_path: Path, name: str) -> None:
    """Whatever a file from elsewhere holds, it changes nothing but numbers in range."""
    said, value = FAULTS[name]
    document = {**calibrated().to_json(), name.strip(): value}
    (tmp_path / "x.json").write_text(json.dumps(document))
    with pytest.raises(ResultError, match=said.replace("(", "\\(")):
        calibration_file.read(tmp_path / "x.json")


def test_an_edited_or_broken_file_is_refused(tmp_path: Path) -> None:
    """The digest is of the content; NaN is no number of JSON; a list is no calibration."""
    document = calibrated().to_json()
    file = tmp_path / "x.json"
    file.write_text(json.dumps({**document, "factor": 1.4}))
    with pytest.raises(ResultError, match="digest is of another content"):
        calibration_file.read(file)
    file.write_text(json.dumps(document).replace("1.5", "NaN"))
    with pytest.raises(ResultError, match="NaN is not JSON") as found:
        calibration_file.read(file)
    assert "calibrate" in found.value.hint
    file.write_text("[]")
    with pytest.raises(ResultError, match="no mapping"):
        calibration_file.read(file)
    del document["bytes_s"]
    file.write_text(json.dumps(document))
    with pytest.raises(ResultError, match="bytes_s: no float"):
        calibration_file.read(file)


def test_hours_rest_on_it_and_name_it() -> None:
    """Twice the factor, twice the time; the words say which file it was."""
    run = Settings(batch_size=1, max_seq_length=64, num_layers=4, bits=4)
    found = predict(source.find("qwen2.5-coder-0.5b").config, run)
    calibration_file.write(calibrated())
    once = timing.of_prediction(found, 64)
    assert once.source == calibrated().describe()
    assert "2026-01-02" in once.source
    slower = dataclasses.replace(SPEED, factor=3.0)
    calibration_file.write(calibrated(speed=slower))
    twice = timing.of_prediction(found, 64)
    assert float(twice.train.at(64)) == pytest.approx(2 * float(once.train.at(64)))


@pytest.mark.parametrize("factors", [(2.0, 1.5, 8.0), (1.0, 3.0, 0.5)])
def test_a_fit_finds_what_products_copies_and_calls_cost(factors: tuple[float, ...]) -> None:
    """From steps in which they have different shares; the rates then add up to the steps."""
    told = [(4.0, 1.0, 0.5), (0.1, 0.2, 0.4), (0.2, 0.8, 0.4), (8.0, 1.0, 0.2)]
    parts = [(sum(np.multiply(one, factors)), one) for one in told]
    found = calibrating.fitted(SPEED, parts)
    assert found.factor == pytest.approx(factors[0])
    assert found.bytes_s == pytest.approx(SPEED.bytes_s * factors[0] / factors[1])
    assert found.kernel_s == pytest.approx(SPEED.kernel_s * factors[2] / factors[0])


def test_a_fit_of_one_step_has_no_negative_cost() -> None:
    """One model, one width: some part explains the step, and none is below zero."""
    found = calibrating.fitted(SPEED, [(6.0, (1.0, 1.0, 1.0))])
    assert min(found.factor, found.bytes_s, found.kernel_s) > 0
    assert all(math.isfinite(value) for value in (found.factor, found.bytes_s, found.kernel_s))
