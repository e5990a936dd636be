"""Session run4-data: the rows can be read, are what mlx-lm expects, and teach what is meant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from mlx_preflight.core.errors import DataError, PreflightError, or_error
from mlx_preflight.core.result import Measurement, Outcome, Status
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context
from mlx_preflight.training import batches, data_lengths, duplicates, row_lengths, rows
from mlx_preflight.training.data_facts import DataFacts, judged, judged_kinds
from mlx_preflight.training.data_source import SPLITS
from mlx_preflight.training.rows import Place, Rows
from mlx_preflight.training.training_run import read_run

REPEATED_ROWS = 0.001
"""Share of a file's rows that may be there twice: large public sets hold a few."""

MEANT = frozenset(
    [
        *("messages", "conversation", "conversations", "prompt", "completion", "text", "tools"),
        *("system", "system_prompt", "instruction", "instructions", "input", "output", "context"),
        *("question", "answer", "response", "query", "functions", "chosen", "rejected"),
        *("images", "weight", "train", "history"),
    ]
)
"""Keys that somebody means to be trained on, or to steer it. Any other key that mlx-lm does not
read (`id`, `source`) is taken for a note."""


def gather(session: Session, context: Context) -> DataFacts:
    """Tokenize the rows of the run and replay its batches."""
    run = read_run(context)
    context.note(f"{session.id}: reading {run.settings['data']}")
    found = or_error(lambda: rows.read_rows(context, run, rows.tokenizer_folder(run)))
    if isinstance(found, PreflightError):
        return DataFacts(context.project, run, found, found)
    replayed = or_error(lambda: batches.of_run(run, found))
    return DataFacts(context.project, run, found, replayed)


def run4_1(facts: DataFacts) -> Outcome:
    """Report every line that mlx-lm's loader stops at."""
    if isinstance(facts.rows, DataError):
        return Outcome(Status.FAIL, str(facts.rows), remedy=facts.rows.hint)
    found = facts.read()
    counted = ", ".join(f"{name}.jsonl {len(s):,} rows" for name, s in found.splits.items())
    return judged_kinds(facts, register.RUN4_1, rows.READING, counted, tokens=False)


def run4_2(facts: DataFacts) -> Outcome:
    """Report every row that the dataset of the first row cannot read."""
    found = facts.read()
    names = sorted({split.format for split in found.splits.values() if split.format})
    passed = f"every row is of {', '.join(names)}" if names else "there are no rows"
    return judged_kinds(facts, register.RUN4_2, ("format",), passed, tokens=False)


def run4_3(facts: DataFacts) -> Outcome:
    """Compare the rows of each file with what the trainer needs."""
    found = facts.read()
    needs = [*(("train", "valid") if facts.run.settings["train"] else ())]
    needs += ["test"] if facts.run.settings["test"] else []
    faults = [fault for name in SPLITS if (fault := _too_few(facts, found, name, needs))]
    if faults:
        return Outcome(
            Status.FAIL,
            "; ".join(faults),
            remedy="add rows, remove the empty file, or lower batch_size",
        )
    counts = [f"{name} {len(found.splits[name]):,}" for name in found.splits]
    alone = "" if "valid" in found.splits else "; without valid.jsonl nothing is validated"
    if found.unread:
        alone += f"; mlx-lm does not read {', '.join(found.unread)}"
    return Outcome(Status.PASS, f"{', '.join(counts)} for batches of {facts.batch_size}{alone}")


def _too_few(facts: DataFacts, found: Rows, name: str, needs: Sequence[str]) -> str:
    """Return what is wrong with the number of rows of a file; empty where nothing is."""
    split, needed = found.splits.get(name), name in needs
    if split is None:
        return f"{name}.jsonl is missing" if needed and name != "valid" else ""
    if any(place.split == name for place in found.of(*rows.READING)):
        return ""  # (its lines are the first fault)
    if not len(split):
        return f"{name}.jsonl is empty, which mlx-lm ends at with an IndexError"
    if needed and len(split) < facts.batch_size:
        when = {"train": "at its first batch", "valid": "at iteration 1", "test": "at the test"}
        said = f"{name}.jsonl has {len(split)} rows for batches of {facts.batch_size}"
        return f"{said}: a ValueError {when[name]}"
    return ""


UNRENDERED = (
    *("tokenizer", "tokenizer-code", "no-template", "render", "message", "slow", "memory"),
)


def run4_4(facts: DataFacts) -> Outcome:
    """Report every row that template or tokenizer refuse."""
    found = facts.read()
    if found.count(*UNRENDERED):
        return judged_kinds(facts, register.RUN4_4, UNRENDERED, "")
    tokens = [length for s in facts.tokenized().splits.values() for length in s.tokens]
    known = row_lengths.known(tokens)
    return Outcome(
        Status.PASS,
        f"{len(known):,} rows are {sum(known):,} tokens",
        measurements=(Measurement("tokens", sum(known), "tokens"),),
    )


def run4_7(facts: DataFacts) -> Outcome:
    """Report every row whose mask is not the answer."""
    kinds = ("mask-text", "no-prefix", "prompt-longer", "last-role", "answers")
    masked = bool(facts.run.settings["mask_prompt"])
    passed = "the mask leaves one answer of each row" if masked else "nothing is masked"
    return judged_kinds(facts, register.RUN4_7, kinds, passed)


def run4_8(facts: DataFacts) -> Outcome:
    """Report every key of a row that looks as if it were to be trained, and is not read."""
    ignored = facts.tokenized().of("ignored")
    meant = [place for place in ignored if place.detail.lower() in MEANT]
    notes = sorted({place.detail for place in ignored if place.detail.lower() not in MEANT})
    passed = f"not read, as notes: {', '.join(notes[:10])}" if notes else "every key is read"
    return judged(facts, register.RUN4_8, meant, len(meant), passed)


def run4_9(facts: DataFacts) -> Outcome:
    """Report repeated training rows, and those that are in another file, too."""
    found = facts.read()
    places: list[Place] = []
    few = 0
    for found_places, name in (
        (duplicates.repeated(found.splits), "train"),
        *(
            ([p for p in duplicates.overlapping(found.splits) if p.split == name], name)
            for name in ("valid", "test")
        ),
    ):
        if found_places and len(found_places) > REPEATED_ROWS * len(found.splits[name]):
            places += found_places
        else:
            few += len(found_places)
    share = f"{few} rows are there twice, which is at most {REPEATED_ROWS:.1%}"
    passed = share if few else "no row is there twice"
    return judged(facts, register.RUN4_9, places, len(places), passed)


def run4_11(facts: DataFacts) -> Outcome:
    """Report every row that ends without a token at which the model stops."""
    passed = "every row ends with a token at which the model stops"
    return judged_kinds(facts, register.RUN4_11, ("no-end",), passed)


CHECKS: Mapping[str, Callable[[DataFacts], Outcome]] = {
    register.RUN4_1: run4_1,
    register.RUN4_2: run4_2,
    register.RUN4_3: run4_3,
    register.RUN4_4: run4_4,
    register.RUN4_5: data_lengths.run4_5,
    register.RUN4_6: data_lengths.run4_6,
    register.RUN4_7: run4_7,
    register.RUN4_8: run4_8,
    register.RUN4_9: run4_9,
    register.RUN4_10: partial(
        judged_kinds,
        check=register.RUN4_10,
        kinds=("arguments-twice", "arguments-raise"),
        passed="no row has tool arguments that the template encodes twice",
    ),
    register.RUN4_11: run4_11,
    register.RUN4_12: data_lengths.run4_12,
}
