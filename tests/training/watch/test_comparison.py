"""What a run is compared with, in numbers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from mlx_preflight.training.contention import SwapUse
from mlx_preflight.training.watch.comparison import Comparison
from mlx_preflight.training.watch.forecast import Forecast, trainer_words
from mlx_preflight.training.watch.notices import Notices
from mlx_preflight.training.watch.saves import Adapter
from mlx_preflight.training.watch.trainer_output import Start, TrainReport, ValReport

GB = 10**9
KNOWN = Forecast(
    iters=100,
    save_every=10,
    steps_per_eval=50,
    peak_bytes=2 * GB,
    peak_low_bytes=GB,
    peak_high_bytes=3 * GB,
    peak_iteration=3,
    adapter_bytes=GB,
    widths=(64,) * 100,
)


def compared(forecast: Forecast = KNOWN, seconds: tuple[float, ...] = ()) -> Comparison:
    """Return the comparison of a run whose rows of ten steps took some seconds."""
    found = Comparison(forecast, Notices())
    found.hear(Start(), 0.0)
    at = 0.0
    for index, duration in enumerate(seconds, 1):
        at += duration
        found.hear(TrainReport(10 * index, 2.0), at)
    return found


def causes(found: Comparison) -> set[str]:
    """Return what was said, less the finish."""
    return set(found.notices.latest) - {"finish"}


def test_a_run_as_predicted_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """But when it will be over, once."""
    found = compared(seconds=(15, *(10,) * 8))
    found.hold(3 * GB)
    found.look(8 * GB, SwapUse(0, 0))
    found.look_at_disk(100 * GB)
    assert causes(found) == set()
    assert capfd.readouterr().err.count("finish: about") == 1
    assert found.pace.step_s() == 1.0
    assert found.pace.left_s() == 10.0


def test_steps_that_become_slower_are_said_once(capfd: pytest.CaptureFixture[str]) -> None:
    """With the latest value kept for the end."""
    found = compared(seconds=(15, 10, 10, 10, 20, 20, 20, 30, 30))
    assert "slower" in causes(found)
    assert capfd.readouterr().err.count("times as long as the first") == 1
    assert any("3 times" in text for text in found.notices.changed())


def test_wider_batches_are_not_slower() -> None:
    """Twice the tokens in less than twice the time."""
    widths = (*(128,) * 40, *(640,) * 60)
    found = compared(Forecast(iters=100, widths=widths), (15, 10, 10, 10, 28, 28, 28, 28))
    assert causes(found) == set()


def test_a_predicted_time_is_compared() -> None:
    """Where there is one."""
    known = Forecast(iters=100, step_s=(1.0,) * 100)
    assert causes(compared(known, (15, 10, 10, 10))) == set()
    assert causes(compared(known, (15, 20, 20, 20))) == {"slower than predicted"}


def test_validations_are_taken_out_and_come_again() -> None:
    """A validation of 40 s before step 50, and another at the end."""
    found = compared(seconds=(10, 10, 10, 10))
    found.hear(ValReport(50, 2.0, 40.0), 80.0)
    found.hear(TrainReport(50, 2.0), 90.0)
    assert found.pace.windows[-1].duration_s == 10.0
    assert found.pace.left_s() == 50 + 40


def test_a_loss_that_is_no_number_spoils_later_adapters() -> None:
    """Those from before it are usable."""
    found = compared(seconds=(10, 10))
    found.adapters += [Adapter(Path(f"{n}"), n, 1) for n in (10, 20, 30)]
    assert found.usable() == Adapter(Path("30"), 30, 1)
    found.hear(TrainReport(30, math.nan), 30.0)
    found.hear(TrainReport(40, 2.0), 40.0)
    assert found.usable() == Adapter(Path("20"), 20, 1)
    assert causes(found) == {"nan train"}


def test_iterations_without_a_trained_token_are_said_before() -> None:
    """Before the first step, with their number."""
    found = Comparison(Forecast(nan_iterations=(7, 9), nan_count=2), Notices())
    found.start()
    assert "iteration 7 and 1 more" in found.notices.latest["nan ahead"]


def test_memory_over_the_prediction_is_said() -> None:
    """Of the processes with what is outside of MLX, and of MLX's own peak exactly."""
    found = compared()
    found.hold(int(4.1 * GB))
    assert "predicted were 1 GB to 3 GB" in found.notices.latest["peak a process of the run holds"]
    found = compared()
    found.hear(TrainReport(10, 2.0, int(3.1 * GB)), 10.0)
    assert causes(found) == {"peak MLX's peak"}


def test_the_system_and_its_disk_are_watched() -> None:
    """Free memory, swap since the start, and the space of the saves to come."""
    found = compared()
    found.look(GB // 2, SwapUse(0, 5 * GB))
    found.look(8 * GB, SwapUse(0, 6 * GB))
    found.look_at_disk(5 * GB)
    assert causes(found) == {"free", "swap", "disk"}
    assert "10 saves to come need 10 GB" in found.notices.latest["disk"]


@pytest.mark.parametrize(
    "before",
    ["", "caffeinate -is ", "nice -n 5 ", "uv run --extra x ", "env A=b ", "/usr/bin/"],
)
def test_the_trainer_is_found_behind_what_wraps_it(before: str) -> None:
    """A command of anything else has none."""
    words = f"{before}mlx_lm.lora -c x.yaml".split()
    assert trainer_words(words) == words[-3:]
    assert trainer_words(f"{before}python train.py mlx".split()) is None


def test_interpreters_and_launchers_start_the_trainer() -> None:
    """As the judge reads them."""
    assert trainer_words(["python3", "-m", "mlx_lm", "lora", "--train"]) is not None
    assert trainer_words(["mlx.launch", "-n", "2", "mlx_lm.lora"]) is not None
    assert trainer_words(["python3", "-m", "mlx_lm", "generate"]) is None
