"""Search for the settings of a model that fit a budget, giving up as little as possible.

A way is an order in which settings are lowered until the predicted upper end fits; what
was lowered before the last step is then raised again where there is room. Every way that
ends within the budget is an answer; the cheapest comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlx_preflight.core.errors import EstimateError
from mlx_preflight.memory.predict import Prediction, predict
from mlx_preflight.memory.settings import Settings
from mlx_preflight.models.quantization import read_quantization

COSTS = {
    "batch_size": 1,
    "grad_checkpoint": 2,
    "max_seq_length": 4,
    "num_layers": 6,
    "rank": 6,
    "bits": 10,
}
"""Cost of one step down. A smaller batch costs nothing but time, as gradients are
accumulated over as many more; checkpointing about a third more time; shorter rows cut long
examples; fewer layers, a lower rank and fewer bits cost quality."""

Ladders = Mapping[str, Sequence[int | bool]]

LADDERS: Ladders = {
    "batch_size": (8, 4, 2, 1),
    "grad_checkpoint": (False, True),
    "max_seq_length": (8192, 4096, 3072, 2048, 1536, 1024, 768, 512, 256),
    "num_layers": (64, 32, 16, 8, 4),
    "rank": (64, 32, 16, 8, 4),
    "bits": (8, 6, 4),
}
"""Values to step down to, in order."""

WAYS = (
    ("batch_size", "grad_checkpoint", "max_seq_length", "num_layers", "rank", "bits"),
    ("batch_size", "max_seq_length", "num_layers", "rank", "bits"),
    ("batch_size", "grad_checkpoint", "num_layers", "rank", "bits"),
    ("grad_checkpoint", "batch_size", "bits", "max_seq_length", "num_layers", "rank"),
)
"""Orders in which settings are given up: all; without checkpointing; with complete rows; with
fewer bits before shorter rows."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Settings that fit a budget.

    Attributes:
        settings: Settings that fit.
        prediction: What they are predicted to take.
        given_up: What was lowered, in words.
        cost: Sum of the steps down, by `COSTS`.
    """

    settings: Settings
    prediction: Prediction
    given_up: tuple[str, ...]
    cost: int


@dataclass(frozen=True, slots=True)
class Search:
    """Outcome of a search.

    Attributes:
        fits: Those that fit, cheapest first; empty when nothing does.
        smallest: The settings with everything lowered that may be.
    """

    fits: tuple[Fit, ...]
    smallest: Prediction


def fit(
    config: Mapping[str, Any],
    wanted: Settings,
    budget_bytes: int,
    *,
    keep: Sequence[str] = (),
    limits: Sequence[int] = (),
    note: Callable[[str], None] = lambda _: None,
) -> Search:
    """Return the settings nearest to what is wanted that fit a budget.

    Args:
        config: The model's config.json.
        wanted: Settings without a budget.
        budget_bytes: Memory that the predicted upper end may take.
        keep: Settings that must stay as wanted, by name.
        limits: Row lengths to step down to, in order; none takes those of `LADDERS`.
        note: Shows progress; called with one line.

    Raises:
        EstimateError: An unknown name in `keep`, a budget of zero, or settings that cannot be.
    """
    _check(keep, budget_bytes)
    if read_quantization(config) is not None:
        keep = (*keep, "bits")  # mlx_lm converts no weights that are quantized already
    ladders = {**LADDERS, "max_seq_length": tuple(limits) or LADDERS["max_seq_length"]}
    seen: dict[Settings, Prediction] = {}

    def ask(settings: Settings) -> Prediction:
        if settings not in seen:
            note(f"prediction {len(seen) + 1}")
            seen[settings] = predict(config, settings)
        return seen[settings]

    def fits(settings: Settings) -> bool:
        return ask(settings).peak_high_bytes <= budget_bytes

    layers = int(config.get("num_hidden_layers", wanted.num_layers))
    if wanted.num_layers < 0:
        wanted = replace(wanted, num_layers=layers)
    smallest = wanted
    for name in COSTS.keys() - {*keep}:
        smallest = _set(smallest, name, [*_below(wanted, name, ladders)][-1:])
    found = set()
    if fits(smallest):
        for way in WAYS:
            settings = _descend(wanted, [name for name in way if name not in keep], ladders, fits)
            found |= {settings} - {None}
    answers = [_fit(wanted, settings, ask(settings), ladders) for settings in found if settings]
    answers.sort(key=lambda item: (item.cost, item.prediction.peak_bytes))
    return Search(tuple(answers), ask(smallest))


def _check(keep: Sequence[str], budget_bytes: int) -> None:
    for name in keep:
        if name not in COSTS:
            raise EstimateError("keep", name, ", ".join(COSTS))
    if budget_bytes <= 0:
        raise EstimateError("budget-gb", budget_bytes / 1e9, "a number above 0")


def _below(settings: Settings, name: str, ladders: Ladders) -> Iterator[int | bool]:
    """Yield the values of a setting below its own, next one first."""
    own = getattr(settings, name)
    for value in ladders[name]:
        if (name == "grad_checkpoint" and value and not own) or (
            name != "grad_checkpoint" and (own is None or value < own)
        ):
            yield value


def _set(settings: Settings, name: str, values: Sequence[int | bool]) -> Settings:
    """Return the settings with the last of the values; a smaller batch accumulates more."""
    if not values:
        return settings
    change: dict[str, Any] = {name: values[-1]}
    changed = replace(settings, **change)
    if name == "batch_size":
        whole = settings.batch_size * settings.grad_accumulation_steps
        changed = replace(changed, grad_accumulation_steps=max(1, whole // changed.batch_size))
    return changed


def _descend(
    wanted: Settings, steps: Sequence[str], ladders: Ladders, fits: Callable[[Settings], bool]
) -> Settings | None:
    """Lower one setting after the other until it fits, then raise what need not be low."""
    settings, lowered = wanted, []
    for name in steps:
        if fits(settings):
            break
        values = [*_below(wanted, name, ladders)]
        if not values:
            continue
        lowered.append(name)
        lowest = _set(settings, name, values)
        settings = _highest(settings, name, values, fits) if fits(lowest) else lowest
    if not fits(settings):
        return None
    for name in lowered[:-1]:
        values = [getattr(wanted, name), *_below(wanted, name, ladders)]
        for value in values[: values.index(getattr(settings, name))]:
            if fits(raised := _set(settings, name, [value])):
                settings = raised
                break
    return settings


def _highest(
    settings: Settings,
    name: str,
    values: Sequence[int | bool],
    fits: Callable[[Settings], bool],
) -> Settings:
    """Return the settings with the highest of descending values that fits; the last one does."""
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        if fits(_set(settings, name, [values[middle]])):
            high = middle
        else:
            low = middle + 1
    return _set(settings, name, [values[low]])


def _fit(wanted: Settings, settings: Settings, prediction: Prediction, ladders: Ladders) -> Fit:
    given_up, cost = [], 0
    for name, price in COSTS.items():
        before, after = getattr(wanted, name), getattr(settings, name)
        if before != after:
            cost += price * ([*_below(wanted, name, ladders)].index(after) + 1)
            given_up.append(f"{name} {_word(before)} to {_word(after)}")
    return Fit(settings, prediction, tuple(given_up), cost)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "unquantized" if value is None else str(value)
