"""Sandbox for code that a model wrote, as far away from everything as one process can be.

Four layers, each of which should suffice: a screen of the syntax tree, a process with
stand-ins for builtins and modules, an audit hook that refuses every event but plain
computation, and limits of the system (CPU time, memory, no files, no processes, where
permitted no network and no root). Expected values stay in this process.

It is not a boundary against somebody who attacks the interpreter itself; a project that
must not run generated code sets `run-answers = false`.
"""

from __future__ import annotations

import ast
import itertools
import json
import math
import operator
import secrets
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlx_preflight.core.child import run_child
from mlx_preflight.core.errors import ChildError

WALL_S, CPU_S, MEMORY_BYTES = 10.0, 2, 512_000_000
MAX_CODE_CHARS = 20_000
"""An answer of 128 tokens has under 1,000 characters; longer nesting could choke the parser."""


MAX_REASON = 1_000
"""Characters of a reason; the code chooses the name and the text of what it raises."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_UNSAFE_OPERATOR = {"attrgetter", "methodcaller", "itemgetter"}

MODULES: Mapping[str, tuple[str, ...]] = {
    "math": tuple(name for name in dir(math) if not name.startswith("_")),
    "itertools": tuple(name for name in dir(itertools) if not name.startswith("_")),
    # Not `wraps` and `update_wrapper`: they read attributes by name.
    "functools": _words("lru_cache cache reduce partial cmp_to_key total_ordering"),
    "collections": _words("Counter OrderedDict defaultdict deque ChainMap"),
    "heapq": _words("heappush heappop heapify heappushpop heapreplace nlargest nsmallest merge"),
    "bisect": _words("bisect bisect_left bisect_right insort insort_left insort_right"),
    "re": _words(
        "compile match fullmatch search findall finditer split sub subn escape "
        "IGNORECASE MULTILINE DOTALL I M S"
    ),
    # Not `Formatter`: it returns attributes by name.
    "string": _words(
        "ascii_letters ascii_lowercase ascii_uppercase digits hexdigits octdigits punctuation "
        "whitespace printable capwords"
    ),
    "operator": tuple(name for name in operator.__all__ if name not in _UNSAFE_OPERATOR),
    "typing": _words(
        "Any Callable Dict Iterable Iterator List Mapping Optional Sequence Set Tuple Union "
        "TypeVar Generator Hashable"
    ),
}
"""Modules that generated code may import, and the names it finds there."""

_SPECIAL_METHODS = frozenset(
    f"__{name}__"
    for name in _words(
        "init repr str eq ne lt le gt ge hash len iter next getitem setitem delitem contains "
        "call add sub mul truediv floordiv mod neg bool enter exit"
    )
)
_FORBIDDEN_NAMES = frozenset(
    _words(
        "open exec eval compile input globals locals vars dir getattr setattr delattr "
        "breakpoint help memoryview exit quit"
    )
)
_FRAME_ATTRIBUTES = ("gi_", "cr_", "ag_", "tb_", "f_back", "f_globals", "f_locals", "f_builtins")


@dataclass(frozen=True, slots=True)
class Execution:
    """Outcome of running one answer.

    Attributes:
        status: `ran` when every example was called; else why not.
        passed: Examples whose value equals the expected one.
        total: Examples given.
        reason: One sentence on the first example that did not pass; empty when all did.
        isolation: Which limits took effect, as the child reported them.
    """

    status: Literal["ran", "refused", "failed", "died"]
    passed: int
    total: int
    reason: str
    isolation: Mapping[str, Any] = field(default_factory=dict)


def screen(code: str) -> str:
    """Return the first thing in a piece of code that will not be run, or an empty text."""
    if len(code) > MAX_CODE_CHARS:
        return f"{len(code)} characters of code, at most {MAX_CODE_CHARS}"
    tree = parse(code)
    if tree is None:
        return "it does not parse"
    return next((why for node in ast.walk(tree) if (why := _refusal(node))), "")


def parse(code: str) -> ast.Module | None:
    """Return the syntax tree of untrusted code, or None when it is not Python."""
    with warnings.catch_warnings():
        # A doubtful escape in a model's answer is not this program's warning.
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _refusal(node: ast.AST) -> str:
    """Return why a node is refused, or an empty text."""
    why = ""
    match node:
        case ast.Import(names=names):
            strange = [alias.name for alias in names if alias.name not in MODULES]
            why = f"import of {strange[0]}" if strange else ""
        case ast.ImportFrom(module=module, names=names, level=level):
            known = MODULES.get(module or "", ()) if level == 0 else ()
            strange = [alias.name for alias in names if alias.name not in known]
            why = f"import of {strange[0]} from {module}" if strange else ""
        case ast.MatchClass():
            why = "a class pattern, which reads attributes by name"
        case ast.Attribute(attr=name):
            hidden = name.startswith(("__", *_FRAME_ATTRIBUTES)) and name != "__init__"
            # Python code of its own that real classes hold: an enum's `_convert_` reads modules.
            held = name.startswith("_") and name.endswith("_") and name != "__init__"
            why = f"attribute {name}" if hidden or held else ""
        case ast.Name(id=name):
            hidden = name.startswith("__") and name != "__name__"
            why = f"name {name}" if hidden or name in _FORBIDDEN_NAMES else ""
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            special = name.startswith("__") and name not in _SPECIAL_METHODS
            why = f"definition of {name}" if special else ""
    return why


def run_examples(
    code: str, function: str, examples: Sequence[Mapping[str, Any]], *, screened: bool = True
) -> Execution:
    """Run a function that a model wrote on its examples.

    Args:
        code: Source that defines the function.
        function: Its name.
        examples: `{"args": [...], "expected": value}`, JSON data.
        screened: False leaves the screen out; only for testing the layers below it.
    """
    why = screen(code) if screened else ""
    if why:
        return Execution("refused", 0, len(examples), f"not run: {why}")
    with tempfile.TemporaryDirectory(prefix="preflight-sandbox-") as folder:
        nonce = secrets.token_hex(16)
        request = Path(folder, "request.json")
        request.write_text(
            json.dumps(
                {
                    "nonce": nonce,
                    "code": code,
                    "function": function,
                    "arguments": [list(item["args"]) for item in examples],
                    "modules": MODULES,
                    "cpu_s": CPU_S,
                    "memory_bytes": MEMORY_BYTES,
                }
            ),
            encoding="utf-8",
        )
        return _judged(_answer(request, nonce), examples)


def _answer(request: Path, nonce: str) -> dict[str, Any] | str:
    """Start the child; return its answer, or why there is none."""
    child = Path(__file__).with_name("sandbox_child.py")
    options = ("-I", "-S", "-B", "-X", "utf8")
    try:
        done = run_child(
            (sys.executable, *options, str(child), str(request)),
            cwd=request.parent,
            timeout_s=WALL_S,
            env={},
        )
    except ChildError as error:
        return str(error)
    if not done.stdout.startswith(nonce):
        return done.signal_reason() or f"ended with status {done.returncode} and no answer"
    try:
        answer = json.loads(done.stdout.removeprefix(nonce))
    except (ValueError, RecursionError):
        return "an unreadable answer"
    return answer if isinstance(answer, dict) else "an unreadable answer"


def _judged(answer: dict[str, Any] | str, examples: Sequence[Mapping[str, Any]]) -> Execution:
    total = len(examples)
    if isinstance(answer, str):
        return Execution("died", 0, total, answer)
    isolation = answer.get("isolation", {})
    if "error" in answer:
        return Execution("failed", 0, total, str(answer["error"])[:MAX_REASON], isolation)
    calls = answer.get("calls", [])
    if len(calls) != total:
        return Execution("died", 0, total, f"{len(calls)} of {total} examples answered", isolation)
    wrong = [
        f"{tuple(item['args'])!r} gave {call.get('value', call.get('error'))!r}, "
        f"expected {item['expected']!r}"
        for item, call in zip(examples, calls, strict=True)
        if "value" not in call or not same(call["value"], item["expected"])
    ]
    reason = wrong[0][:MAX_REASON] if wrong else ""
    return Execution("ran", total - len(wrong), total, reason, isolation)


def same(value: Any, expected: Any) -> bool:
    """Return whether two JSON values are equal; floats within 1e-9, a bool is no number."""
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected
    if isinstance(value, float) or isinstance(expected, float):
        numbers = isinstance(value, int | float) and isinstance(expected, int | float)
        return numbers and math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(value, list) and isinstance(expected, list):
        return len(value) == len(expected) and all(map(same, value, expected))
    if isinstance(value, dict) and isinstance(expected, dict):
        return value.keys() == expected.keys() and all(same(value[k], expected[k]) for k in value)
    return type(value) is type(expected) and bool(value == expected)
