"""One training row: tokenized by mlx-lm's dataset, and compared with what it should teach."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlx_preflight.runtime.foreign import attempt
from mlx_preflight.runtime.row_limits import RowTimeoutError

COLUMNS = ("line", "keys", "tokens", "offset", "digest", "kept")
"""Fields of a row that are kept."""

END_TOKENS = 8
"""Last tokens of a row among which its end of turn must be: templates write a line break
after it, or close a block."""


@dataclass(slots=True)
class TrainingRow:
    """A row, in numbers.

    Attributes:
        line: Line of its file, from 1.
        keys: Keys of the raw row: by these mlx-lm's trainer sorts (CacheDataset.itemlen).
        tokens: Tokens, uncut; -1 where it cannot be tokenized.
        offset: First target that is trained, as the dataset gives it.
        digest: Digest of the raw row.
        kept: Digest of the tokens that the length limit leaves, and of the offset.
    """

    line: int
    keys: int
    tokens: int = -1
    offset: int = 0
    digest: int = 0
    kept: int = 0


class RecordingTokenizer:
    """Tokenizer that keeps what it rendered; all else is the tokenizer's own."""

    def __init__(self, tokenizer: Any) -> None:
        """Wrap mlx-lm's tokenizer; `rendered` is emptied by whoever reads it."""
        self.inner = tokenizer
        self.rendered: list[list[int]] = []

    def apply_chat_template(self, *args: Any, **kwargs: Any) -> Any:
        """Render with the tokenizer, and keep the tokens."""
        tokens = self.inner.apply_chat_template(*args, **kwargs)
        self.rendered.append(tokens)
        return tokens

    def __getattr__(self, name: str) -> Any:
        """Return what the tokenizer has under this name."""
        return getattr(self.inner, name)


class WatchedRow(dict[str, Any]):
    """Row that remembers which of its keys were read."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        """Copy the row."""
        super().__init__(row)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        """Return a value, and remember its key."""
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, and remember its key."""
        self.read.add(key)
        return super().get(key, default)


class RowReader:
    """Reader of rows with one tokenizer and its template."""

    def __init__(self, tokenizer: Any, settings: Any, limit: int) -> None:
        """Prepare for rows of one run.

        Args:
            tokenizer: mlx-lm's wrapper.
            settings: What mlx-lm's datasets read of the run's settings.
            limit: max_seq_length.
        """
        self.tokenizer = RecordingTokenizer(tokenizer)
        self.mask = bool(getattr(settings, "mask_prompt", False))
        self.limit = limit
        template = getattr(tokenizer, "chat_template", None)
        self.template = template if isinstance(template, str) else ""
        self.ends = {int(token) for token in tokenizer.eos_token_ids}

    def read(self, dataset: Any, value: Any, row: TrainingRow) -> list[tuple[str, str]]:
        """Tokenize a row as the trainer does, fill in its numbers, and return its problems."""
        watched = WatchedRow(value) if isinstance(value, dict) else value
        self.tokenizer.rendered.clear()
        found = attempt(lambda: dataset.process(watched))
        if isinstance(found, RowTimeoutError):
            raise found
        if isinstance(found, Exception):
            return [self._failure(dataset, value, found)]
        tokens, row.offset = found
        row.tokens = len(tokens)
        kept = np.array([row.offset, *tokens[: self.limit]], dtype=np.int64)
        row.kept = short_digest(kept.tobytes())
        return list(self._problems(dataset, watched, tokens, row))

    def _failure(self, dataset: Any, value: Any, error: Exception) -> tuple[str, str]:
        """Return kind and safe words of an exception; its message may hold content."""
        if not isinstance(value, dict):
            return "format", type(value).__name__
        if isinstance(error, KeyError) and error.args and error.args[0] not in value:
            return "format", "KeyError"
        if isinstance(error, MemoryError):
            return "memory", "MemoryError"
        said = str(error)
        if not getattr(self.tokenizer, "has_chat_template", True) and self.tokenizer.inner:
            return "no-template", type(error).__name__
        if _string_arguments(_messages(dataset, value)):
            return "arguments-raise", type(error).__name__
        name = type(error).__name__
        return "render", f"{name}: {said}" if said and said in self.template else name

    def _problems(
        self, dataset: Any, row: WatchedRow, tokens: list[int], numbers: TrainingRow
    ) -> Iterator[tuple[str, str]]:
        for key in sorted({*row} - row.read):
            yield "ignored", key if NAME.fullmatch(key) else ""
        messages = _messages(dataset, row)
        if any(not isinstance(m, dict) or not isinstance(m.get("role"), str) for m in messages):
            yield "message", ""
        masked = list(self._mask_problems(messages, tokens)) if self.mask else []
        yield from masked
        trained = tokens[max(numbers.offset, 1) :]
        # A mask that is shifted hides the end, too.
        shifted = {kind for kind, _ in masked} & {"no-prefix", "prompt-longer"}
        if not shifted and not self.ends & {*trained[-END_TOKENS:]}:
            yield "no-end", ""
        if self._twice_encoded(messages, row.get("tools")):
            yield "arguments-twice", ""

    def _mask_problems(self, messages: list[Any], tokens: list[int]) -> Iterator[tuple[str, str]]:
        if len(self.tokenizer.rendered) > 1:
            prompt = self.tokenizer.rendered[1]
            if len(prompt) >= len(tokens):
                yield "prompt-longer", ""
            # The last token may merge with the answer's first one, in any tokenizer.
            elif tokens[: len(prompt) - 1] != prompt[:-1]:
                yield "no-prefix", ""
        roles = [m.get("role") for m in messages if isinstance(m, dict)]
        if roles and roles[-1] != "assistant":
            yield "last-role", str(roles[-1])[:20] if roles[-1] in ROLES else ""
        elif roles.count("assistant") > 1:
            yield "answers", str(roles.count("assistant"))

    def _twice_encoded(self, messages: list[Any], tools: Any) -> bool:
        """Return whether the template encodes arguments again that are JSON text already."""
        arguments = _string_arguments(messages)
        if not arguments:
            return False
        text = self.tokenizer.inner.apply_chat_template(messages, tools=tools, tokenize=False)
        return any(
            json.dumps(item, ensure_ascii=ascii_)[1:-1] in text and '"' in item
            for item in arguments
            for ascii_ in (True, False)
        )


NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,30}")
"""Form of a key that may be repeated; any other text is content."""

ROLES = ("system", "user", "tool", "developer", "assistant")
"""Roles whose name may be repeated; any other word is content."""


def _messages(dataset: Any, row: Any) -> list[Any]:
    key = getattr(dataset, "chat_key", None)
    found = row.get(key) if key and isinstance(row, dict) else None
    return found if isinstance(found, list) else []


def _string_arguments(messages: list[Any]) -> list[str]:
    """Return the arguments of tool calls that are text where an object is wanted."""
    calls = [
        call
        for message in messages
        if isinstance(message, dict) and isinstance(message.get("tool_calls"), list)
        for call in message["tool_calls"]
        if isinstance(call, dict)
    ]
    functions = [call.get("function", call) for call in calls]
    found = [item.get("arguments") for item in functions if isinstance(item, dict)]
    return [item for item in found if isinstance(item, str)]


def short_digest(data: bytes) -> int:
    """Return eight bytes of a digest: enough to tell the rows of one file apart."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
