"""Search for the settings of a model that fit a budget, giving up as little as possible.

A way is an order in which settings are lowered until the predicted upper end fits; what
was lowered before the last step is then raised again where there is room. Every way that
ends within the budget is an answer; the cheapest comes first. Settings whose run cannot be
traced are left out, as if they did not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mlx_preflight.core.errors import EstimateError
from mlx_preflight.memory import architecture, line_search, slices
from mlx_preflight.memory.fit_predictions import Predictions
from mlx_preflight.memory.predict import Prediction
from mlx_preflight.memory.settings import Settings
from mlx_preflight.models.quantization import read_quantization

COSTS = {
    "batch_size": 1,
    "grad_checkpoint": 2,
    "keys": 3,
    "max_seq_length": 4,
    "num_layers": 6,
    "rank": 6,
    "bits": 10,
}
"""Cost of one step down. A smaller batch costs nothing but time, as gradients are
accumulated over as many more; checkpointing about a third more time; adapters of the attention
alone leave the experts as they are; shorter rows cut long examples; fewer layers, a lower rank
and fewer bits cost quality."""

Value = int | bool | tuple[str, ...]
Ladders = Mapping[str, Sequence[Value]]

LADDERS: dict[str, Sequence[Value]] = {
    "batch_size": (8, 4, 2, 1),
    "grad_checkpoint": (False, True),
    "keys": (),
    "max_seq_length": (8192, 4096, 3072, 2048, 1536, 1024, 768, 512, 256),
    "num_layers": (64, 32, 16, 8, 4),
    "rank": (64, 32, 16, 8, 4),
    "bits": (8, 6, 4),
}
"""Values to step down to, in order; those of `max_seq_length` are only counted for the cost."""

ROW_STEP = 32
"""Tokens to which rows are padded (mlx_lm/tuner/trainer.py 0.32)."""

SHORTEST = 256
"""Tokens below which no row limit is proposed."""

WAYS = (
    ("batch_size", "grad_checkpoint", "keys", "max_seq_length", "num_layers", "rank", "bits"),
    ("batch_size", "keys", "max_seq_length", "num_layers", "rank", "bits"),
    ("batch_size", "grad_checkpoint", "num_layers", "rank", "bits"),
    ("grad_checkpoint", "batch_size", "bits", "max_seq_length", "num_layers", "rank"),
)
"""Orders in which settings are given up: all; without checkpointing; with complete rows and all
keys; with fewer bits before shorter rows."""

ROOM = 0.05
"""Share of the budget that must be free before an earlier setting is raised again."""


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
        find_smallest: Predicts the settings with everything lowered that may be.
    """

    fits: tuple[Fit, ...]
    find_smallest: Callable[[], Prediction] = field(repr=False, compare=False)

    @property
    def smallest(self) -> Prediction:
        """Return the prediction with everything lowered that may be; made when it is asked."""
        return self.find_smallest()


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
        limits: Row lengths to step down to, in order; none takes every `ROW_STEP`.
        note: Shows progress; called with one line.

    Raises:
        EstimateError: An unknown name in `keep`, a budget of zero, or settings that cannot be.
        UntraceableError: Not even the wanted run can be traced.
    """
    _check(keep, budget_bytes)
    kept = _kept(keep, config, wanted)
    if wanted.num_layers < 0:
        wanted = replace(wanted, num_layers=slices.blocks_of(config))
    asked = Predictions(config, budget_bytes, note)
    asked.predict(wanted)
    ladders = {**LADDERS, "max_seq_length": tuple(limits) or _rows(wanted.max_seq_length)}
    if "keys" not in kept and architecture.may_have_experts(config):
        keys = architecture.attention_keys(config, wanted)
        ladders["keys"] = (keys,) if keys else ()
    found: set[Settings] = set()
    for way in WAYS:
        names = [name for name in way if name not in kept]
        settings = _descend(wanted, names, ladders, asked)
        if settings is None and way == WAYS[0]:
            break  # with everything lowered
        found |= {settings} if settings else set()
    counted = {**ladders, "max_seq_length": tuple(limits) or LADDERS["max_seq_length"]}
    answers = [_fit(wanted, one, asked.predict(one), counted) for one in found]
    answers.sort(key=lambda item: (item.cost, item.prediction.peak_bytes))
    return Search(tuple(answers), lambda: _smallest(wanted, ladders, kept, asked))


def _kept(keep: Sequence[str], config: Mapping[str, Any], wanted: Settings) -> set[str]:
    """Return what must stay: what is asked, and what this run does not have."""
    found = {*keep}
    if read_quantization(config) is not None:
        found.add("bits")  # mlx_lm converts no weights that are quantized already
    if wanted.fine_tune_type == "full":
        found |= {"bits", "rank", "keys"}
    if wanted.keys is not None or wanted.fine_tune_type == "dora":
        found.add("keys")
    return found


def _smallest(wanted: Settings, ladders: Ladders, kept: set[str], asked: Predictions) -> Prediction:
    """Return the prediction with everything lowered that may be and that can be traced."""
    settings = wanted
    for name in [name for name in COSTS if name not in kept]:
        settings = _set(settings, name, [*_below(wanted, name, ladders)][-1:])
    if asked.high(settings) == float("inf"):
        settings = replace(settings, grad_checkpoint=wanted.grad_checkpoint)
    return asked.predict(settings)


def _check(keep: Sequence[str], budget_bytes: int) -> None:
    for name in keep:
        if name not in COSTS:
            raise EstimateError("keep", name, ", ".join(COSTS))
    if budget_bytes <= 0:
        raise EstimateError("budget-gb", budget_bytes / 1e9, "a number above 0")


def _below(settings: Settings, name: str, ladders: Ladders) -> Iterator[Value]:
    """Yield the values of a setting below its own, next one first."""
    own = getattr(settings, name)
    if name in ("grad_checkpoint", "keys"):
        yield from (value for value in ladders[name] if value and not own)
        return
    yield from (value for value in ladders[name] if own is None or value < own)


def _set(settings: Settings, name: str, values: Sequence[Value]) -> Settings:
    """Return the settings with the last of the values; a smaller batch accumulates more."""
    if not values:
        return settings
    change: dict[str, Any] = {name: values[-1]}
    changed = replace(settings, **change)
    if name == "batch_size":
        whole = settings.batch_size * settings.grad_accumulation_steps
        changed = replace(changed, grad_accumulation_steps=max(1, whole // changed.batch_size))
    return changed


def _rows(own: int) -> tuple[int, ...]:
    """Return the lengths of rows below one that the trainer does not pad further."""
    return tuple(range((own - 1) // ROW_STEP * ROW_STEP, SHORTEST - 1, -ROW_STEP))


def _descend(
    wanted: Settings, steps: Sequence[str], ladders: Ladders, asked: Predictions
) -> Settings | None:
    """Lower one setting after the other until it fits, then raise what need not be low."""
    settings, lowered = wanted, []
    for name in steps:
        if asked.fits(settings):
            break
        values = [*_below(wanted, name, ladders)]
        start = line_search.Start(
            getattr(settings, name), asked.high(settings), asked.floor(settings)
        )
        lower = _highest(settings, name, values, asked, start)
        if lower is not None:
            lowered.append(name)
            settings = lower
    if not asked.fits(settings):
        return None
    for name in lowered[:-1]:
        settings = _raised(wanted, settings, name, ladders, asked)
    return settings


def _highest(
    settings: Settings,
    name: str,
    values: Sequence[Value],
    asked: Predictions,
    start: line_search.Start,
) -> Settings | None:
    """Return the settings with the highest value that fits, or with the lowest one.

    None where there is no value, or where no run of that value can be traced.
    """
    if not values:
        return None
    made = [_set(settings, name, [value]) for value in values]
    index = line_search.first_that_fits(
        values, lambda i: asked.high(made[i]), start, asked.budget_bytes
    )
    return made[index] if asked.high(made[index]) < float("inf") else None


def _raised(
    wanted: Settings, settings: Settings, name: str, ladders: Ladders, asked: Predictions
) -> Settings:
    """Return the settings with a value nearer to the wanted one, where that fits as well."""
    if asked.budget_bytes - asked.high(settings) < ROOM * asked.budget_bytes:
        return settings
    values = [getattr(wanted, name), *_below(wanted, name, ladders)]
    values = values[: values.index(getattr(settings, name)) + 1]
    unknown = line_search.Start(None, float("inf"), 0)
    return _highest(settings, name, values, asked, unknown) or settings


def _fit(wanted: Settings, settings: Settings, prediction: Prediction, ladders: Ladders) -> Fit:
    given_up, cost = [], 0
    for name, price in COSTS.items():
        before, after = getattr(wanted, name), getattr(settings, name)
        if before != after:
            passed = [value for value in _below(wanted, name, ladders) if _is_above(value, after)]
            cost += price * (len(passed) + 1)
            given_up.append(f"{name} {_word(before)} to {_word(after)}")
    return Fit(settings, prediction, tuple(given_up), cost)


def _is_above(value: Value, after: Any) -> bool:
    return not isinstance(value, bool | tuple) and value > after


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return "those of the attention"
    return "default" if value is None else str(value)
