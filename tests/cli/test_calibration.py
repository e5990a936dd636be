"""The commands on the calibration, as they are typed."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_preflight.training import calibration_file
from mlx_preflight.training.calibration_file import Calibration
from mlx_preflight.training.speed import Speed


def typed(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command with a data folder of its own."""
    return subprocess.run(
        [sys.executable, "-m", "mlx_preflight", *arguments],
        env={**os.environ, "MLX_PREFLIGHT_DATA": str(data)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_without_a_calibration_there_is_nothing_to_show(tmp_path: Path) -> None:
    """Exit 3 with the command that makes one."""
    for words in (("show",), ("export", str(tmp_path / "x.json")), ("forget",)):
        done = typed(tmp_path, "calibration", *words)
        assert done.returncode == 3
        assert "mlx-preflight calibrate" in done.stderr
    done = typed(tmp_path, "calibration", "import", str(tmp_path / "absent.json"))
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_machine_is_calibrated_once_for_every_folder(tmp_path: Path) -> None:
    """Measured, shown, exported, forgotten, imported, and used by the next estimate."""
    data, file = tmp_path / "data", tmp_path / "x.json"
    done = typed(data, "calibrate", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["steps"]
    assert Path(made["file"]).is_file()
    assert "GFLOP/s" in typed(data, "calibration", "show").stdout
    assert typed(data, "calibration", "export", str(file)).returncode == 0
    assert typed(data, "calibration", "export", str(file)).returncode == 2
    assert typed(data, "calibration", "forget").returncode == 0
    assert typed(data, "calibration", "show").returncode == 3
    assert typed(data, "calibration", "import", str(file)).returncode == 0
    hours = typed(
        data, "estimate", "embedded", "--num-layers=4", "--max-seq-length=64", "--duration=10"
    )
    assert "the calibration of" in hours.stdout, hours.stderr
    file.write_text(file.read_text().replace('"schema": 1', '"schema": 7'))
    refused = typed(data, "calibration", "import", str(file))
    assert "schema 7" in refused.stderr


def test_a_calibration_of_other_hardware_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said when it is imported and when it is shown, and it takes nobody's place."""
    monkeypatch.setenv("MLX_PREFLIGHT_DATA", str(tmp_path / "data"))
    machine = {**calibration_file.machine(), "cpu_count": 999}
    products = {"float32/0": {"128": 1e10}}
    found = Calibration(
        *("cpu", machine, {"mlx": "1"}, "2026-01-02T03:04:05+00:00"),
        *(Speed(products, 1e10, 1e-6, 1.5), {}),
    )
    own = calibration_file.write(dataclasses.replace(found, machine=calibration_file.machine()))
    before = own.read_bytes()
    file = tmp_path / "x.json"
    file.write_text(json.dumps(found.to_json()))
    done = typed(tmp_path / "data", "calibration", "import", str(file))
    assert done.returncode == 0
    assert "does not count here: cpu_count is 999" in done.stdout
    assert own.read_bytes() == before
    shown = typed(tmp_path / "data", "calibration", "show", "--json")
    assert [one["counts_here"] for one in json.loads(shown.stdout)] == [True, False]
    assert "does not count" in typed(tmp_path / "data", "calibration", "show").stdout
    assert typed(tmp_path / "data", "calibration", "forget").stdout.count("removed") == 2
