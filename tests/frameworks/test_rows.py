"""The rows that every framework trains on."""

from __future__ import annotations

from tokenizers import Tokenizer

from mlx_preflight.frameworks import recipe, rows

TEMPLATE = "<|im_start|>{role}\n{content}<|im_end|>\n"


def test_every_row_has_exactly_the_length_that_is_asked_for() -> None:
    """The embedded tokenizer and template give 128 tokens for each of 200 rows."""
    tokenizer = Tokenizer.from_file(str(recipe.EMBEDDED / "tokenizer.json"))
    for row in rows.generate(200):
        text = "".join(TEMPLATE.format(**message) for message in row["messages"])
        assert len(tokenizer.encode(text).ids) == rows.ROW_TOKENS
    assert recipe.embedded().settings.max_seq_length == rows.ROW_TOKENS


def test_a_seed_gives_the_same_rows_and_another_seed_others() -> None:
    """Order and content are those of the seed."""
    assert rows.digest(rows.generate(8, 1)) == rows.digest(rows.generate(8, 1))
    assert rows.digest(rows.generate(8, 1)) != rows.digest(rows.generate(8, 2))
    assert rows.generate(8) == rows.generate(12)[:8]
