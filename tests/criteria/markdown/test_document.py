"""The tree of a Markdown document, and documents that nobody should try to judge."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mlx_preflight.core.errors import PreflightError
from mlx_preflight.criteria.markdown.commands import in_block
from mlx_preflight.criteria.markdown.document import Code, parse_sections, read_document
from mlx_preflight.criteria.markdown.links import link_problems
from mlx_preflight.criteria.markdown.prose import (
    deduplicated,
    missing_topics,
    prose_problem,
    sentence_problem,
)

SENTENCE = "This sentence has been written so that the document has enough words to be read. "
SAMPLE = f"""# Title

{SENTENCE}

## First *part* of `it`

Label:

1. one

   ```bash linux
   ls -l
   ```
2. two
   - nested

| a | b |
|---|---|
| 1 | [x](other.md#y) |

### Deeper

> quoted text

## First part of it
"""


def test_the_tree_holds_what_stands_under_each_heading() -> None:
    """Sections nest by level and keep lists, tables, code, links and unique anchors."""
    root = parse_sections(SAMPLE)
    (title,) = root.children
    first, again = title.children
    assert (first.title, first.anchor) == ("First part of it", "first-part-of-it")
    assert again.anchor == "first-part-of-it-1"
    assert first.lists[0].items == ("one", "two nested")
    assert (first.lists[0].label, first.lists[0].ordered) == ("Label:", True)
    assert first.codes == (Code("bash linux", "ls -l\n"),)
    assert first.tables[0].rows == (("1", "x"),)
    assert first.links == ("other.md#y",)
    assert first.children[0].paragraphs == ("quoted text",)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "0 words"),
        (b"# Title\n\nThree words here.\n", "3 words"),
        (b"<!-- " + SENTENCE.encode() * 9 + b"-->\n", "0 words"),
        (b"<script>\nconst a = `" + SENTENCE.encode() * 9 + b"`\n</script>\n", "0 words"),
        (b"```\n" + SENTENCE.encode() * 9 + b"\n```\n", "0 words"),
        (SENTENCE.encode() * 9 + b"\xff\xfe", "not UTF-8 at byte 729"),
        (SENTENCE.encode() * 20_000, "over 250000 bytes"),
        (None, "not found"),
    ],
)
def test_what_cannot_be_judged_is_refused(tmp_path: Path, raw: bytes | None, reason: str) -> None:
    """Missing, empty, hidden, huge and undecodable documents are errors that say why."""
    path = tmp_path / "a.md"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(PreflightError, match=reason):
        read_document(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "hostile",
    [
        "[" * 60_000,
        "[a](b" * 12_000,
        "*a **b " * 8_000,
        ">" * 60_000 + " deep",
        "\n".join("  " * depth + "- deep" for depth in range(240)),
        "|a|b|\n|-|-|\n" + "|x|y|\n" * 10_000,
        "# a\n" * 15_000,
        "\0" * 60_000,
    ],
    ids=["brackets", "links", "emphasis", "quotes", "lists", "table", "headings", "nul"],
)
def test_deep_and_repetitive_markup_is_parsed_in_bounded_time(hostile: str) -> None:
    """60 kB of the worst markup neither recurses too deep nor takes more than seconds."""
    begin = time.perf_counter()
    parse_sections(hostile)
    # Measured 2 s at most; the rest is room for a busy machine.
    assert time.perf_counter() - begin < 15


def test_a_byte_order_mark_is_no_part_of_the_title(tmp_path: Path) -> None:
    """A document saved with a BOM is read like one without."""
    path = tmp_path / "a.md"
    path.write_bytes(b"\xef\xbb\xbf" + SAMPLE.encode())
    assert read_document(path).root.children[0].title == "Title"


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("pip install -e .\n# comment\n\n", ["pip install -e ."]),
        ("python3 -m venv \\\n  .venv\n", ["python3 -m venv .venv"]),
        ('python3 -c "\nprint(1)\n"\nls -l\n', ['python3 -c " print(1) "', "ls -l"]),
        (
            "sudo apt-get install x\nA=1 python3 x.py\n",
            ["sudo apt-get install x", "A=1 python3 x.py"],
        ),
        ("mlx_lm.lora --train\n./run.sh now\n", ["mlx_lm.lora --train", "./run.sh now"]),
        ("$ pip install x\npip install <name>\npip install ...\n", []),
        ("memory ease QLoRA\npip\n", []),
        ("echo 'unclosed\n" + "ls -l\n" * 200, ["ls -l"]),
    ],
)
def test_only_lines_that_can_be_pasted_are_commands(block: str, expected: list[str]) -> None:
    """Prompts, placeholders, keywords and bare words are no commands; continuations are one."""
    assert list(dict.fromkeys(in_block(Code("bash", block)))) == expected
    assert in_block(Code("text", block)) == []


def test_prose_is_told_from_keywords_and_from_repetition() -> None:
    """Sentences pass; a string of keywords, and one sentence many times, do not."""
    prose = "The model is loaded from the folder, and its weights are compared with the index. "
    assert not prose_problem(prose + SENTENCE, 20)
    assert "repeat" in prose_problem(SENTENCE * 5, 20)
    keywords = "memory speed ease decision rationale selected chosen trade-off limitation fallback "
    more = "alternative backup prerequisites installation verification troubleshooting Metal cons"
    assert "keywords" in prose_problem(keywords + more + " pros matrix report", 20)
    assert sentence_problem("memory ease Metal optimization")
    assert not sentence_problem("It uses the Metal backend")


def test_each_topic_needs_an_item_of_its_own() -> None:
    """One item that names every topic covers only one of them."""
    topics = {"a": "alpha", "b": "beta"}
    assert missing_topics(["alpha beta"], topics) in (["a"], ["b"])
    assert missing_topics(["alpha beta", "alpha"], topics) == []
    assert missing_topics([], topics) == ["a", "b"]


def test_an_endless_list_is_refused_instead_of_compared() -> None:
    """Comparing every item with every other is bounded."""
    with pytest.raises(PreflightError, match="over 500 items"):
        deduplicated(f"item{n} x{n} y{n}" for n in range(100_000))


def test_links_are_resolved_with_their_anchors(tmp_path: Path) -> None:
    """A dead file, a dead anchor and a way out of the project are each named."""
    (tmp_path / "other.md").write_text(f"# Other\n\n{SENTENCE * 2}\n\n## Here we are\n")
    (tmp_path / "empty.md").write_text("")
    good = "[a](other.md) [b](other.md#here-we-are) [c](#title) [d](https://example.org/x#y)"
    bad = "[e](gone.md) [f](other.md#gone) [g](../../x.md) [h](#gone) [i](empty.md#x) [j](a%00b)"
    (tmp_path / "a.md").write_text(f"# Title\n\n{SENTENCE * 2}\n\n{good} {bad}\n")
    found = link_problems(read_document(tmp_path / "a.md"), tmp_path)
    assert [text.split()[0].rstrip(":") for text in found] == [
        "gone.md",
        "other.md",
        "../../x.md",
        "a.md",
        "empty.md#x",
        "a%00b",
    ]


def test_a_flood_of_links_is_refused(tmp_path: Path) -> None:
    """More links than a document has are not looked up one by one."""
    path = tmp_path / "a.md"
    path.write_text(SENTENCE * 2 + "\n\n" + " ".join(f"[a](f{n})" for n in range(501)))
    with pytest.raises(PreflightError, match="501 links"):
        link_problems(read_document(path), tmp_path)
