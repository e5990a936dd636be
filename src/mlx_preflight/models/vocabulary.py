"""Comparison of a checkpoint's tokenizer with its embedding and its stop tokens, statically."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlx_preflight.core.errors import CheckpointError
from mlx_preflight.core.text import printable
from mlx_preflight.core.units import format_percent
from mlx_preflight.models.files import DOWNLOAD_AGAIN, MAX_TOKENIZER_BYTES, confined, read_object
from mlx_preflight.models.layout import Checkpoint

LEAST_USED_FRACTION = 0.5
"""A tokenizer that fills less of the embedding belongs to another model."""

USUAL_FRACTION = 0.8
"""One that fills less than this is noted. Qwen2.5 pads most of the families here: 151,665
tokens in 152,064 rows is 99.7 %."""


def check_vocabulary(cp: Checkpoint) -> list[str]:
    """Compare tokenizer.json with the embedding, the special tokens and the stop tokens.

    Args:
        cp: A checkpoint from `inspect`.

    Returns:
        One sentence for each problem, or why nothing could be compared.

    Raises:
        CheckpointError: tokenizer.json is damaged.
    """
    if cp.tokenizer_files != ("tokenizer.json",):
        files = "+".join(cp.tokenizer_files)
        return [f"Not checked: only tokenizer.json can be compared, and the tokenizer is {files}."]
    ids = _token_ids(cp)
    return [*_sizes(cp, ids), *_special_tokens(cp, ids), *_stop_tokens(cp, ids)]


def _token_ids(cp: Checkpoint) -> dict[str, int]:
    """Return the id of every token, added ones included."""
    path = confined(cp.folder, "tokenizer.json")
    tokenizer = read_object(path, MAX_TOKENIZER_BYTES, unique=False)
    model, added = tokenizer.get("model"), tokenizer.get("added_tokens") or []
    vocab = model.get("vocab") if isinstance(model, dict) else None
    try:
        if isinstance(vocab, list):
            # A Unigram model lists [token, score]; the id is the position.
            ids = {pair[0]: position for position, pair in enumerate(vocab)}
        else:
            ids = dict(vocab) if isinstance(vocab, dict) else {}
        ids.update((token["content"], token["id"]) for token in added)
    except (TypeError, KeyError, IndexError) as error:
        raise CheckpointError(
            f"{path}: model.vocab or added_tokens are malformed: {error!r}.", hint=DOWNLOAD_AGAIN
        ) from error
    bad = next((t for t, i in ids.items() if not _is_id(i) or not isinstance(t, str)), None)
    if bad is not None or not ids:
        seen = "no token" if bad is None else f"the id {printable(ids[bad])} for {printable(bad)}"
        raise CheckpointError(
            f"{path}: its vocabulary has {seen}; text with ids from 0 is expected.",
            hint=DOWNLOAD_AGAIN,
        )
    return ids


def _is_id(value: object) -> bool:
    """Return whether a JSON value can be a token id; true is none."""
    return type(value) is int and value >= 0


def _sizes(cp: Checkpoint, ids: dict[str, int]) -> Iterator[str]:
    """Yield where the tokenizer does not fit the vocabulary or the embedding."""
    used, highest = len(set(ids.values())), max(ids.values())
    last = next(token for token, number in ids.items() if number == highest)
    sizes = (("config.json's vocab_size", cp.vocab_size), ("the embedding", cp.embedding_rows))
    for what, size in sizes:
        if size is None:
            yield f"Not checked: {what} is unknown, so token ids cannot be compared with it."
        elif highest >= size:
            yield (
                f"tokenizer.json gives {printable(last)} the id {highest}, but {what} ends at "
                f"{size - 1}: the tokenizer belongs to another model."
            )
    if cp.vocab_size is not None and used < USUAL_FRACTION * cp.vocab_size:
        share = format_percent(100 * used / cp.vocab_size)
        said = f"tokenizer.json has {used} tokens, {share} of vocab_size {cp.vocab_size}"
        other = used < LEAST_USED_FRACTION * cp.vocab_size
        yield f"{said}: the tokenizer belongs to another model." if other else f"Noted: {said}."


def _special_tokens(cp: Checkpoint, ids: dict[str, int]) -> Iterator[str]:
    """Yield special tokens of tokenizer_config.json that tokenizer.json lacks or renumbers."""
    for key, token in sorted(_named_tokens(cp.tokenizer_config)):
        if token not in ids:
            yield (
                f"tokenizer_config.json names {printable(token)} as {key}, which tokenizer.json "
                "does not have: it would get an id without an embedding."
            )
    decoder = cp.tokenizer_config.get("added_tokens_decoder")
    for number, entry in decoder.items() if isinstance(decoder, dict) else ():
        added = _content(entry)
        if added is not None and str(ids.get(added)) != number:
            yield (
                f"tokenizer_config.json gives {printable(added)} the id {printable(number)}, "
                f"tokenizer.json gives {ids.get(added)}: the two belong to different tokenizers."
            )


def _named_tokens(config: dict[str, Any]) -> set[tuple[str, str]]:
    """Return the key and the text of each special token in tokenizer_config.json."""
    values = [(key, value) for key, value in config.items() if key.endswith("_token")]
    for key in ("additional_special_tokens", "extra_special_tokens"):
        group = config.get(key)
        if isinstance(group, dict):
            group = list(group.values())
        values += [(key, value) for value in group] if isinstance(group, list) else []
    return {(key, token) for key, value in values if (token := _content(value)) is not None}


def _content(value: object) -> str | None:
    """Return the text of a token given as text or as an AddedToken object."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _stop_tokens(cp: Checkpoint, ids: dict[str, int]) -> Iterator[str]:
    """Yield stop tokens that the tokenizer lacks, and note those that stand in one file only."""
    tokens = {number: token for token, number in ids.items()}
    stops: set[int] = set()
    configs = {"config.json": cp.config, "generation_config.json": cp.generation_config}
    for source, config in configs.items():
        value = config.get("eos_token_id")
        for number in value if isinstance(value, list) else [value]:
            if number is None:
                continue
            if type(number) is not int or number not in tokens:
                yield (
                    f"{source} has eos_token_id {printable(number)}, which is no token of "
                    "tokenizer.json: the tokenizer belongs to another model."
                )
            else:
                stops.add(number)
    named = _content(cp.tokenizer_config.get("eos_token"))
    if named in ids and stops and ids[named] not in stops:
        meant = ", ".join(f"{number} ({printable(tokens[number])})" for number in sorted(stops))
        # mlx_lm/tokenizer_utils.py 0.32 takes the config's and adds the tokenizer's.
        yield (
            f"Noted: eos_token_id is {meant}, and tokenizer_config.json stops at "
            f"{printable(named)}, id {ids[named]}: mlx-lm stops at each of them."
        )
    if named is None and not stops:
        yield "Neither config.json nor tokenizer_config.json names a stop token."
