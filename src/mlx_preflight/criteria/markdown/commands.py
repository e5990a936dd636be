"""Commands that a reader can copy from a document's shell blocks."""

from __future__ import annotations

import re
import shlex

from mlx_preflight.criteria.markdown.document import Code, Section

MAX_LINES = 50
"""Lines that one command may span; an unclosed quote would swallow the rest of the block."""

_PLACEHOLDER = re.compile(r"<[\w .:/-]+>|\.\.\.|…")

SHELLS = frozenset({"bash", "sh", "shell", "zsh"})
"""First word after the fence of a block that may be pasted into a shell."""

PROGRAMS = frozenset(
    [
        *("apt-get", "bash", "brew", "cd", "cp", "curl", "deactivate", "df", "docker"),
        *("echo", "export", "git", "grep", "hf", "huggingface-cli", "ls", "mkdir"),
        *("mlx-preflight", "nox", "pip", "pip3", "pipx", "pytest", "python", "python3", "sh"),
        *("source", "test", "time", "uname", "uv", "uvx", "which"),
    ]
)
"""What a command of such a guide starts with; `mlx_lm.<command>` and paths count as well."""


def commands(section: Section) -> list[str]:
    """Return the distinct copyable commands of a section and those below it."""
    found: dict[str, None] = {}
    for part in section.walk():
        for code in part.codes:
            found |= dict.fromkeys(in_block(code))
    return list(found)


def lines_of(section: Section) -> list[str]:
    """Return the distinct complete lines of all shell blocks that leave nothing to fill in."""
    codes = [code for part in section.walk() for code in part.codes]
    found = [line for code in codes for line in _lines(code) if not _PLACEHOLDER.search(line)]
    return list(dict.fromkeys(found))


def in_block(code: Code) -> list[str]:
    """Return the copyable commands of one fenced block."""
    return [" ".join(line.split()) for line in _lines(code) if _copyable(line)]


def _lines(code: Code) -> list[str]:
    """Return the complete lines of a shell block, each with what it goes on to."""
    if not code.info or code.info.split()[0].lower() not in SHELLS:
        return []
    complete, pending = [], ""
    for line in code.text.splitlines():
        text = f"{pending}\n{line}" if pending else line
        if not pending and (not text.strip() or text.lstrip().startswith("#")):
            continue
        if text.endswith("\\") or not _parses(text):
            pending = text.removesuffix("\\") if text.count("\n") < MAX_LINES else ""
            continue
        pending = ""
        complete.append(text)
    return complete


def _parses(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return True


def _copyable(text: str) -> bool:
    """Return whether a line starts a program and has nothing to fill in."""
    if _PLACEHOLDER.search(text):
        return False
    tokens = shlex.split(text, comments=True)
    while tokens and (tokens[0] == "sudo" or re.fullmatch(r"\w+=.*", tokens[0], re.DOTALL)):
        tokens = tokens[1:]
    # One word alone is as often a keyword as a command.
    if not tokens[1:]:
        return False
    program = tokens[0]
    return program in PROGRAMS or "/" in program or program.startswith("mlx_lm.")
