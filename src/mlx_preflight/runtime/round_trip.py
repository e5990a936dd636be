"""Checks inside a worker that a tokenizer gives back what it was given.

Byte-identical, except that Unicode composition (NFC) is accepted, because Qwen's and
other tokenizers normalise on purpose.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from mlx_preflight.runtime.foreign import attempt
from mlx_preflight.runtime.messages import TokenizerCheck

TEXTS: Mapping[str, str] = {
    "code": "def add(a: int, b: int) -> int:\n    return a + b  # 1_000 != 0x3E8\n",
    "white space": "a\tb\n\n  two\n\tthree   end",
    "punctuation": "{}[]()<>|&^%$#@!~`'\"\\/?;:.,=+-*_",
    "accents": "naïve café Ångström ß",
    "combining marks": "e\u0301 n\u0303 a\u030a",
    "CJK": "你好世界 こんにちは 한국어",
    "emoji": "🙂 👩‍💻 🇨🇭",
    "right to left": "שלום مرحبا",
}

_QUESTION = {"role": "user", "content": "Write a function."}

ANSWER = "def answer(): return 1"
"""Answer that templates are asked to render; none of them trims or changes it."""


def tokenizer_checks(tokenizer: Any, config: Mapping[str, Any]) -> Iterator[TokenizerCheck]:
    """Yield every check with its fault, which is empty when there is none."""
    for name, text in TEXTS.items():
        yield TokenizerCheck(name, _text_fault(tokenizer, text))
    yield TokenizerCheck("special tokens", _special_fault(tokenizer))
    yield TokenizerCheck("end token", _end_fault(tokenizer, config))
    yield TokenizerCheck("chat template", template_fault(tokenizer, config))
    yield TokenizerCheck("turn end", turn_end_fault(tokenizer))


def _text_fault(tokenizer: Any, text: str) -> str:
    ids = tokenizer.encode(text, add_special_tokens=False)
    back = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    if back in (text, unicodedata.normalize("NFC", text)):
        return ""
    return f"{text!r} came back as {back!r}"


def _special_fault(tokenizer: Any) -> str:
    added = tokenizer.added_tokens_decoder
    special = {str(token): number for number, token in added.items() if token.special}
    if not special:
        return "the tokenizer has no special token"
    for text, number in special.items():
        ids = list(tokenizer.encode(text, add_special_tokens=False))
        if ids != [number]:
            return f"{text!r} encodes to {ids}, expected [{number}]"
        if tokenizer.decode(ids, skip_special_tokens=False) != text:
            return f"{text!r} decodes to {tokenizer.decode(ids)!r}"
    return ""


def _end_fault(tokenizer: Any, config: Mapping[str, Any]) -> str:
    """Compare the end tokens of tokenizer and config: a foreign tokenizer disagrees."""
    stored = config.get("eos_token_id")
    ends = stored if isinstance(stored, list) else [] if stored is None else [stored]
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    wrong = [end for end in ends if end not in special]
    if wrong:
        return f"config.json ends answers with token {wrong[0]}, no special token here"
    if not tokenizer.eos_token_ids:
        return "the tokenizer has no end token, so no answer would ever end"
    return ""


def template_fault(tokenizer: Any, config: Mapping[str, Any]) -> str:
    """Return why the chat template asks nothing that a model could answer."""
    message = [_QUESTION]

    def rendered() -> tuple[str, str, list[int]]:
        closed = tokenizer.apply_chat_template(message, tokenize=False)
        opened = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        return closed, opened, tokenizer.encode(opened, add_special_tokens=False)

    found = attempt(rendered)
    if isinstance(found, Exception):
        return f"the chat template fails: {type(found).__name__}: {found}"
    closed, opened, ids = found
    if message[0]["content"] not in opened:
        return "the chat template drops the question"
    if opened == closed and not _answer_follows(tokenizer, message, opened):
        return "the chat template adds no generation prompt"
    rows = config.get("vocab_size")
    if isinstance(rows, int) and max(ids) >= rows:
        return f"the chat template gives token {max(ids)}, the model has {rows}"
    return ""


def turn_ends(tokenizer: Any) -> dict[str, int]:
    """Return the tokens by which the chat template ends an answer, by text.

    Args:
        tokenizer: mlx_lm's wrapper.

    Returns:
        Empty where a template writes none behind an answer, or cannot render one: a model of
        such a template learned its end elsewhere.
    """
    both = [_QUESTION, {"role": "assistant", "content": ANSWER}]
    whole = attempt(lambda: str(tokenizer.apply_chat_template(both, tokenize=False)))
    if isinstance(whole, Exception) or ANSWER not in whole:
        return {}
    ids = tokenizer.encode(whole.rpartition(ANSWER)[2], add_special_tokens=False)
    # A run of blanks may be a token of its own, and ends nothing.
    added = {number: str(token) for number, token in tokenizer.added_tokens_decoder.items()}
    return {added[number]: number for number in ids if added.get(number, "").strip()}


def turn_end_fault(tokenizer: Any) -> str:
    """Return that no token by which the template ends an answer would end a generation."""
    ends = turn_ends(tokenizer)
    if not ends or tokenizer.eos_token_ids & set(ends.values()):
        return ""
    stops = sorted(tokenizer.eos_token_ids)
    named = ", ".join(f"{text!r} ({number})" for text, number in ends.items())
    return (
        f"the chat template ends an answer with {named}, and mlx-lm stops at "
        f"{', '.join(map(str, stops)) or 'no token'} only: every answer would run to the limit; "
        "add it to eos_token_id of generation_config.json"
    )


def _answer_follows(tokenizer: Any, message: list[dict[str, str]], opened: str) -> bool:
    """Return whether an answer begins where the question's turn ends.

    Mistral's and Llama 2's `[/INST]` ends the question and is the prompt: nothing is added.
    """
    both = [*message, {"role": "assistant", "content": ANSWER}]
    whole = attempt(lambda: tokenizer.apply_chat_template(both, tokenize=False))
    if isinstance(whole, Exception) or not whole.startswith(opened):
        return False
    return str(whole[len(opened) :]).lstrip().startswith(ANSWER)
