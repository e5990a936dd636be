"""Checks of run4-data on lengths: what the limit cuts, and what the batches are."""

from __future__ import annotations

from mlx_preflight.core.errors import BlockedError
from mlx_preflight.core.result import Evidence, Measurement, Outcome, Status
from mlx_preflight.core.units import format_percent
from mlx_preflight.plan import register
from mlx_preflight.training import data_findings, row_lengths
from mlx_preflight.training.batches import Batches
from mlx_preflight.training.data_facts import DataFacts
from mlx_preflight.training.rows import Place, Rows

CUT_TOKENS = 0.05
"""Share of the training tokens that the limit may cut; a row that loses its whole answer is
too much by itself. A limit that shortens a few long rows is a choice, not a fault."""


def run4_5(facts: DataFacts) -> Outcome:
    """Report the iterations whose batch has nothing to train."""
    found, made = facts.tokenized(), facts.replayed()
    nan, bad = made.nan_iterations, [v.iteration for v in made.validations if v.untrained]
    if not nan and not bad:
        if made.failure is not None:
            raise BlockedError(f"the run ends at iteration {made.failure.iteration}: see above")
        if not facts.run.settings["train"]:
            return Outcome(Status.PASS, "train is not set: nothing is trained")
        if not made.widths:
            raise BlockedError("no batch can be made", hint=f"see {register.RUN4_3}")
        return Outcome(
            Status.PASS, f"each of {len(made.widths):,} batches trains: {made.trained:,} targets"
        )
    places = _untrained(found, facts.limit)
    said = f"iteration {nan[0]:,}" if nan else f"the validation at iteration {bad[0]:,}"
    more = f" (and {len(nan) - 1:,} later ones)" if len(nan) > 1 else ""
    lost = "; every adapter weight is NaN after it" if nan else ""
    return Outcome(
        Status.FAIL,
        f"{said}{more} has a batch without a trained token: its loss is 0/0{lost}. "
        + data_findings.reason(places, len(places)),
        measurements=(Measurement("nan_iterations", len(nan), "count", limit="== 0"),),
        remedy=data_findings.remedy(places),
        diagnostics=data_findings.diagnostics(places, found, register.RUN4_5, facts.project),
    )


def _untrained(found: Rows, limit: int) -> list[Place]:
    return [
        Place("untrained", name, split.line[index], f"{split.tokens[index]} tokens")
        for name, split in found.splits.items()
        for index in row_lengths.untrained(split, limit)
    ]


def run4_6(facts: DataFacts) -> Outcome:
    """Compare what the limit cuts with `CUT_TOKENS`, and find the answers that it takes."""
    found = facts.tokenized()
    name = found.tokenized[0]  # (a run that only tests has no other)
    split = found.splits.get(name)
    if split is None:
        raise BlockedError(f"there is no {name}.jsonl", hint=f"see {register.RUN4_3}")
    cut, steps = row_lengths.cut(split, facts.limit), row_lengths.percentiles(split.tokens)
    nan = isinstance(facts.batches, Batches) and facts.batches.nan_iterations
    lost = [p for p in _untrained(found, facts.limit) if not nan and _is_cut(found, p, facts.limit)]
    lengths = ", ".join(
        f"{f'p{p}' if p < row_lengths.LONGEST else 'longest'} {n:,}" for p, n in steps.items()
    )
    said = (
        f"{cut.cut_rows:,} of {cut.rows:,} rows and {format_percent(100 * cut.token_share)} of the "
        f"tokens are cut at {facts.limit:,} ({lengths})"
    )
    fits = cut.token_share <= CUT_TOKENS and not lost
    places = lost or [
        Place("cut", name, line, f"{tokens} tokens")
        for line, tokens in zip(split.line, split.tokens, strict=True)
        if tokens > facts.limit
    ]
    return Outcome(
        Status.PASS if fits else Status.FAIL,
        said + (f"; {data_findings.reason(lost, len(lost))}" if lost else ""),
        measurements=(
            Measurement("cut_rows", cut.cut_rows, "count"),
            Measurement("cut_tokens_ratio", cut.token_share, "ratio", limit=f"<= {CUT_TOKENS}"),
            *(Measurement(f"p{p}_tokens", n, "tokens") for p, n in steps.items()),
        ),
        remedy="raise max_seq_length, or split the long rows",
        diagnostics=(
            () if fits else data_findings.diagnostics(places, found, register.RUN4_6, facts.project)
        ),
    )


def _is_cut(found: Rows, place: Place, limit: int) -> bool:
    split = found.splits[place.split]
    return split.tokens[split.line.index(place.line)] > limit


def run4_12(facts: DataFacts) -> Outcome:
    """Report the widths of the run's batches."""
    made = facts.replayed()
    if made.failure is not None:
        failed = made.failure
        if failed.line or failed.split != "train" or not made.widths:
            place = f"{failed.split}.jsonl, line {failed.line}: " if failed.line else ""
            if "divisible" not in failed.reason:
                raise BlockedError(
                    f"{place}the run ends at iteration {failed.iteration:,}: {failed.reason}",
                    hint=f"see {register.RUN4_2} to {register.RUN4_4}",
                )
        return Outcome(Status.FAIL, failed.reason, remedy="choose another batch_size")
    width, first = made.widest
    valid, when = made.widest_validation
    said = (
        f"{len(made.widths):,} iterations of {min(made.widths, default=0)} to {width} tokens, the "
        f"widest first at {first:,}; {format_percent(100 * made.padding)} is padding"
    )
    if made.validations:
        said += f"; {len(made.validations)} validations, at most {valid} tokens at {when:,}"
    if made.unused:
        said += f"; {len(made.unused):,} rows are never trained"
    return Outcome(
        Status.PASS,
        said,
        Evidence.STATIC,
        (
            Measurement("iterations", len(made.widths), "count"),
            Measurement("widest_tokens", width, "tokens"),
            Measurement("widest_validation_tokens", valid, "tokens"),
            Measurement("padding_ratio", made.padding, "ratio"),
            Measurement("unused_rows", len(made.unused), "count"),
            Measurement("leftover_rows", made.leftover, "count"),
            Measurement("trained_tokens", made.trained, "tokens"),
        ),
    )
