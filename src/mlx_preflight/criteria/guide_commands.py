"""Whether the commands of a guide can work: program, session, file, subcommand, package.

Nothing is run: a command that a reader cannot run, or had better not, is found by reading it.
"""

from __future__ import annotations

import ast
import difflib
import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from mlx_preflight.core.errors import PreflightError
from mlx_preflight.criteria.markdown.commands import PROGRAMS, lines_of
from mlx_preflight.criteria.markdown.document import Document
from mlx_preflight.plan import register, spec
from mlx_preflight.plan.commands import COMMANDS

KNOWN = PROGRAMS | frozenset(
    [
        *("apt", "awk", "cat", "chmod", "chown", "clear", "conda", "cut", "date", "du", "env"),
        *("exit", "find", "gh", "head", "jq", "kill", "ln", "make", "mamba", "mv", "open", "pdm"),
        *("pixi", "poetry", "printf", "ps", "pwd", "pyenv", "rm", "sed", "set", "sleep", "sort"),
        *("sudo", "sw_vers", "sysctl", "system_profiler", "tail", "tar", "tee", "top", "touch"),
        *("true", "ulimit", "unset", "unzip", "vm_stat", "wc", "wget", "xcode-select", "zsh"),
        *("mypy", "ruff", "black", "coverage", "tree", "htop", "free", "lscpu", "nvidia-smi"),
    ]
)
"""Programs that a guide may start; others must be on the path here, or installed by it."""

PACKAGES = ("mlx", "mlx-lm", "mlx-preflight", "transformers", "huggingface-hub", "numpy", "nox")
ALIKE = ("mlx-vlm", "mlx-llm", "mlx-cpu", "mlx-cuda", "mlx-data", "mlx-audio")
"""Packages of PyPI (2026-11) whose names are a letter or two away from one of those."""
MODULES = ("mlx_lm", "mlx_preflight", "mcp_local", "venv", "pip", "pytest", "nox", "ensurepip")

SUBCOMMANDS = {
    "pip": "install download uninstall freeze inspect list show check config search cache index"
    " wheel hash completion debug help lock",
    "uv": "pip venv sync run tool add lock python init remove export tree build publish cache"
    " self version help auth format audit",
    "git": "add apply bisect blame branch checkout cherry-pick clean clone commit config describe"
    " diff fetch grep init lfs log ls-files merge mv pull push rebase remote reset restore"
    " rev-parse revert rm show stash status submodule switch tag worktree",
    "brew": "install update upgrade uninstall list info search tap services doctor cleanup"
    " reinstall",
}
"""Subcommands of pip 25, uv 0.9, git 2.40 and Homebrew 4, from the help of each."""

_INSTALLS = re.compile(r"\b(?:install|add)\b(?P<rest>.*)")
_KEYWORDS = frozenset(
    [
        *("if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done"),
        *("case", "esac", "{", "}", "!", "time", "sudo"),
    ]
)
_DESTRUCTIVE = (
    (
        r"\brm\s+(?:-\w+\s+)*-\w*[rR]\w*\s+(?:-\w+\s+)*(?:--\s+)?['\"]?(?:/|~|\$\{?HOME|\*|\.\.)",
        "rm",
    ),
    (r"\bmkfs|\bdd\b.*\bof=/dev/|>\s*/dev/(?:sd|disk|nvme)|\bdiskutil\s+erase", "a disk is erased"),
    (r"\bgit\s+(?:reset\s+--hard|clean\s+-\w*[xd]|push\b.*(?:--force\b|\s-f\b))", "work is lost"),
    (r"\bchmod\s+-R\s+777\s+[/~]|\b(?:shutdown|reboot|halt)\b|:\(\)\s*\{", "the machine is harmed"),
)
"""Patterns of commands that no guide may tell a newcomer to type."""


def problems(guide: Document, project: Path) -> list[str]:
    """Return what is wrong with the commands of a guide, one sentence each.

    Raises:
        PreflightError: The noxfile of the project cannot be read.
    """
    lines = lines_of(guide.root)
    installed = {word for line in lines for word in _installed(line)}
    found: dict[str, None] = {}
    for line in lines:
        for problem in _of_line(line, project, installed):
            found[f"`{line}`: {problem}"] = None
    return list(found)


def _of_line(line: str, project: Path, installed: set[str]) -> Iterator[str]:
    harm = next((why for pattern, why in _DESTRUCTIVE if re.search(pattern, line)), "")
    if harm:
        yield f"destroys what is not the guide's ({harm})"
        return
    for words in _parts(line):
        yield from _of_words(words, project, installed)


def _parts(line: str) -> Iterator[list[str]]:
    """Yield the words of each simple command of a line, without assignments and keywords."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;()<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    try:
        tokens = list(lexer)
    except ValueError:
        return
    for token in [*tokens, ";"]:
        if not set(token) <= set("|&;()<>"):
            words.append(token)
            continue
        if "<" in token or ">" in token:
            # What follows names a file, or begins a text.
            yield from _command(words)
            return
        yield from _command(words)
        words = []


def _command(words: Sequence[str]) -> Iterator[list[str]]:
    rest = list(words)
    while rest and (rest[0] in _KEYWORDS or re.match(r"\w+=", rest[0])):
        if rest[0] in ("for", "case"):
            return
        rest = rest[1:]
    if rest:
        yield rest


def _of_words(words: list[str], project: Path, installed: set[str]) -> Iterator[str]:
    program, arguments = words[0], words[1:]
    if "$" in program or program.startswith(("-", "[")):
        return
    # That of a system, or of a venv that the guide makes.
    name = Path(program).name if re.match(r"(?:/|~|\.?\w*env/)", program) else program
    if "/" in name:
        if not (project / name).exists() and not name.startswith(("~", "/")):
            yield f"{name} is not in the project"
        return
    if re.fullmatch(r"python[\d.]*|pip[\d.]*", name):
        name = name.rstrip("0123456789.")
    if judge := _PROGRAMS.get(name):
        yield from judge(arguments, project, installed)
    elif not (
        name in KNOWN or name in installed or name.startswith("mlx_lm.") or shutil.which(name)
    ):
        yield f"no program {name!r} is known{_near(name, KNOWN)}"


def _near(word: str, known: Sequence[str] | frozenset[str]) -> str:
    close = difflib.get_close_matches(word, sorted(known), 1, 0.7)
    return f"; did you mean {close[0]!r}?" if close else ""


def _installed(line: str) -> Iterator[str]:
    """Yield what a command installs: a program of that name is there afterwards."""
    if found := _INSTALLS.search(line):
        for word in found["rest"].split():
            if not word.startswith("-"):
                yield re.split(r"[\[<>=!~;,'\"]", word.strip("'\""))[0]


def _subcommand(program: str) -> Callable[..., Iterator[str]]:
    known = frozenset(SUBCOMMANDS[program].split())

    def judge(arguments: list[str], project: Path, installed: set[str]) -> Iterator[str]:
        first = next((word for word in arguments if not word.startswith("-")), "")
        if first and "$" not in first and first not in known and arguments[0] not in known:
            yield f"{program} has no command {first!r}{_near(first, known)}"
        elif program == "pip" and first in ("install", "download"):
            yield from _packages(arguments[arguments.index(first) + 1 :], project)
        elif program == "uv" and first == "pip":
            yield from _PROGRAMS["pip"](arguments[arguments.index(first) + 1 :], project, installed)
        elif program == "uv" and first == "run":
            rest = arguments[arguments.index(first) + 1 :]
            if rest and not rest[0].startswith("-"):
                yield from _of_words(rest, project, installed)

    return judge


def _packages(arguments: Sequence[str], project: Path) -> Iterator[str]:
    """Yield what is wrong with the packages and files of an installation."""
    previous = ""
    for word in arguments:
        if previous in ("-r", "--requirement", "-c", "--constraint"):
            if not (project / word).is_file() and "://" not in word:
                yield f"{word} is not in the project"
        elif word.startswith("."):
            if not (project / word.partition("[")[0]).exists():
                yield f"{word} is not in the project"
        elif not word.startswith("-") and not previous.startswith("--") and "/" not in word:
            yield from _spelled(word)
        previous = word


def _spelled(word: str) -> Iterator[str]:
    try:
        name = Requirement(word).name.lower().replace("_", "-")
    except InvalidRequirement:
        return
    close = difflib.get_close_matches(name, PACKAGES, 1, 0.8)
    if name not in (*PACKAGES, *ALIKE) and close and abs(len(name) - len(close[0])) <= 1:
        yield f"package {name!r}; did you mean {close[0]!r}?"


def _python(arguments: list[str], project: Path, installed: set[str]) -> Iterator[str]:
    while arguments and arguments[0].startswith("-") and arguments[0] not in ("-m", "-c", "-"):
        arguments = arguments[2:] if arguments[0] in ("-W", "-X") else arguments[1:]
    if not arguments or arguments[0] in ("-c", "-"):
        return
    if arguments[0] != "-m":
        if arguments[0].endswith(".py") and not (project / arguments[0]).is_file():
            yield f"{arguments[0]} is not in the project"
        return
    module, rest = (arguments[1:2] or [""])[0], arguments[2:]
    top = module.partition(".")[0]
    if judge := _PROGRAMS.get(module.replace("_", "-")):
        yield from judge(rest, project, installed)
    elif top not in MODULES and (close := difflib.get_close_matches(top, MODULES, 1, 0.8)):
        yield f"module {module!r}; did you mean {close[0]!r}?"


def _preflight(arguments: list[str], _project: Path, _installed: set[str]) -> Iterator[str]:
    first = next(iter(arguments), "-")
    if not first.startswith("-") and first not in COMMANDS:
        yield f"mlx-preflight has no command {first!r}{_near(first, COMMANDS)}"
    elif first == "check" and arguments[1:] and not arguments[1].startswith("-"):
        try:
            register.find_session(arguments[1])
        except PreflightError as error:
            yield str(error)


def _nox(arguments: list[str], project: Path, _installed: set[str]) -> Iterator[str]:
    if (known := sessions(project)) is None:
        return
    asked, takes = [], False
    for word in arguments:
        if word == "--":
            break
        if word.startswith("-"):
            takes = word in ("-s", "--session", "--sessions", "-e")
        elif takes:
            asked.append(word.partition("(")[0])
    for name in asked:
        if name not in known and name.rpartition("-")[0] not in known:
            yield f"nox has no session {name!r}{_near(name, known)}"


def sessions(project: Path) -> frozenset[str] | None:
    """Return the nox sessions of the plan, and those that the project's noxfile defines.

    None where a name is made while it runs: then nobody can tell by reading.
    """
    names = {item.id for item in register.SESSIONS} | {*spec.GROUPS, "summary", "merge", "compare"}
    try:
        tree = ast.parse((project / "noxfile.py").read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return frozenset(names)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    marks = [(node, mark) for node in functions for mark in node.decorator_list if _defines(mark)]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _defines(node)]
    if not all(any(call is mark for _, mark in marks) for call in calls):
        return None
    for node, mark in marks:
        given = [item.value for item in getattr(mark, "keywords", ()) if item.arg == "name"]
        if given and not isinstance(given[0], ast.Constant):
            return None
        names |= {node.name, *(str(item.value) for item in given if isinstance(item, ast.Constant))}
    return frozenset(names)


def _defines(node: ast.expr) -> bool:
    """Return whether an expression is nox's decorator, plain or called."""
    function = node.func if isinstance(node, ast.Call) else node
    return getattr(function, "attr", getattr(function, "id", "")) == "session"


def _script(arguments: list[str], project: Path, _installed: set[str]) -> Iterator[str]:
    named = next((word for word in arguments if not word.startswith("-")), "")
    if named.endswith(".sh") and not (project / named).is_file():
        yield f"{named} is not in the project"


_PROGRAMS: dict[str, Callable[[list[str], Path, set[str]], Iterator[str]]] = {
    **{name: _subcommand(name) for name in SUBCOMMANDS},
    "python": _python,
    "mlx-preflight": _preflight,
    "nox": _nox,
    "bash": _script,
    "sh": _script,
}
