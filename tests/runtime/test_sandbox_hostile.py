"""The sandbox against code that a model should never write."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlx_preflight.runtime import sandbox

EXAMPLES = [{"args": [2, 3], "expected": 5}]
LOADER = """
def f(a, b):
    for kind in (1).__class__.__mro__[1].__subclasses__():
        if kind.__name__ == "_wrap_close":
            space = kind.__init__.__globals__
            %s
            return 5
"""
WITNESS = Path("/tmp/preflight-sandbox-witness")
CONVERTER = """
import re
def f(a, b):
    system = type.mro(type(re.I))[-2]._convert_("X", "os", lambda name: name == "sys").sys.value
    %s
    return 5
"""
HOSTILE = {
    "reads a file": "def f(a, b):\n    open('/etc/passwd').read()\n    return 5",
    "writes a file": f"def f(a, b):\n    open('{WITNESS}', 'w').write('x')\n    return 5",
    "opens a socket": "import socket\ndef f(a, b):\n    socket.socket()\n    return 5",
    "forks": "import os\ndef f(a, b):\n    while True:\n        os.fork()",
    "exits": "raise SystemExit(0)",
    "patches json": "import json\njson.dumps = lambda *_: '5'\ndef f(a, b):\n    return 5",
    "uses eval": "def f(a, b):\n    return eval('2 + 3')",
    "walks frames": "def f(a, b):\n    return (x for x in [1]).gi_frame.f_back.f_globals",
    "finds os": LOADER % f"space['system']('touch {WITNESS}')",
    "finds open": LOADER % f"space['open']('{WITNESS}', 65)",
    "finds fork": LOADER % "space['fork']()",
    "finds exit": LOADER % "space['_exit'](0)",
    "finds a shell": LOADER % f"space['posix_spawn']('/bin/touch', ['touch', '{WITNESS}'], {{}})",
    "finds the importer": LOADER % "space['__builtins__']['__import__']('socket').socket()",
    "converts a module": CONVERTER % "system.modules['os']._exit(0)",
    "finds native code": CONVERTER % "system.modules['ctypes'].memset(8, 0, 1)",
    "matches by attribute": "def f(a, b):\n    match f:\n        case object(__globals__=g):\n"
    "            return g",
}
EXHAUSTING = {
    "never ends": "def f(a, b):\n    while True:\n        pass",
    "fills the memory": "def f(a, b):\n    x = []\n    while True:\n        x.append('a' * 10**6)",
    "asks for too much": "def f(a, b):\n    x = 'a' * 10**10\n    return 5",
    "recurses": "def f(a, b):\n    return f(a, b)",
    "returns too much": "def f(a, b):\n    return list(range(10**6))",
    "returns a cycle": "def f(a, b):\n    x = []\n    x.append(x)\n    return x",
    "returns a liar": "class I(int):\n    def __eq__(self, o):\n        return True\n"
    "def f(a, b):\n    return I(7)",
    "prints success": 'def f(a, b):\n    print(\'{"calls": [{"value": 5}]}\')\n    return 6',
    "defines nothing": "g = 1",
    "raises": "def f(a, b):\n    raise KeyError('5')",
    "raises a long name": "def f(a, b):\n    raise type('A' * 10**6, (Exception,), {})()",
}


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """No test may leave a file or a process behind."""
    WITNESS.unlink(missing_ok=True)
    # Others may be here: multiprocessing, once used, keeps a child until the interpreter ends.
    before = {child.pid for child in psutil.Process().children()}
    yield
    assert not WITNESS.exists()
    assert not {child.pid for child in psutil.Process().children()} - before


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_code_is_refused_before_it_runs(name: str) -> None:
    """Code that reaches outside is refused by the screen of its syntax tree."""
    execution = sandbox.run_examples(HOSTILE[name], "f", EXAMPLES)
    assert execution.passed == 0
    assert execution.status in {"refused", "failed"}
    assert execution.reason


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_code_fails_even_unscreened(name: str) -> None:
    """With the screen off, the layers below stop the same code."""
    execution = sandbox.run_examples(HOSTILE[name], "f", EXAMPLES, screened=False)
    assert execution.passed == 0
    if name == "finds os":
        assert "os.system" in execution.reason
    if name == "finds native code":
        assert "KeyError: 'ctypes'" in execution.reason


@pytest.mark.slow
@pytest.mark.parametrize("name", EXHAUSTING)
def test_exhausting_code_neither_passes_nor_outlives(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that wastes time, memory or output ends soon and passes nothing."""
    monkeypatch.setattr(sandbox, "CPU_S", 1)
    monkeypatch.setattr(sandbox, "MEMORY_BYTES", 200_000_000)
    begin = time.monotonic()
    execution = sandbox.run_examples(EXHAUSTING[name], "f", EXAMPLES)
    assert execution.passed == 0
    assert 0 < len(execution.reason) <= sandbox.MAX_REASON
    assert time.monotonic() - begin < 8


@pytest.mark.slow
def test_wall_time_ends_what_cpu_time_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child past the wall time is killed, however little it computes."""
    monkeypatch.setattr(sandbox, "WALL_S", 0.3)
    execution = sandbox.run_examples(EXHAUSTING["never ends"], "f", EXAMPLES)
    assert (execution.status, execution.passed) == ("died", 0)
    assert "did not end" in execution.reason


def test_honest_code_runs_with_the_modules_it_may_use() -> None:
    """Ordinary answers pass: imports of pure modules, printing, classes, recursion."""
    code = (
        "import re, functools\nfrom typing import List\nfrom collections import Counter\n"
        "@functools.lru_cache(None)\ndef g(n):\n    return n if n < 2 else g(n - 1) + g(n - 2)\n"
        "class Box:\n    def __init__(self, x):\n        self.x = x\n"
        "def f(a: int, b: List[int]):\n    print('hello', Counter('aa'), re.sub('a', 'b', 'a'))\n"
        "    return Box(g(10)).x - 55 + a + b"
    )
    execution = sandbox.run_examples(code, "f", EXAMPLES)
    assert (execution.status, execution.passed) == ("ran", 1), execution.reason
    assert execution.isolation["cpu"] is True
    assert execution.isolation["network"] in {"namespace", "audit hook"}
    if os.geteuid() == 0:
        assert execution.isolation["user"] == "nobody"


def test_the_code_never_sees_the_expected_value() -> None:
    """Whatever the child holds, the expected value is not among it."""
    seen = "def f(a, b):\n    return [a, b]"
    execution = sandbox.run_examples(seen, "f", [{"args": [1, 2], "expected": 31337}])
    assert execution.reason == "(1, 2) gave [1, 2], expected 31337"


@pytest.mark.parametrize(
    ("value", "expected", "equal"),
    [
        ([1, 2], [1, 2], True),
        ([1, 2], [1], False),
        (0.1 + 0.2, 0.3, True),
        (1, True, False),
        (2, 2.0, True),
        ({"a": [1]}, {"a": [1]}, True),
        ({"a": 1}, {"b": 1}, False),
        ("nan", 0.0, False),
        (None, 0, False),
    ],
)
def test_values_are_compared_as_data(value: Any, expected: Any, equal: bool) -> None:
    """Equality is that of JSON data: near floats are equal, a bool is no number."""
    assert sandbox.same(value, expected) is equal


def test_oversized_code_is_not_even_parsed() -> None:
    """A text too long for an answer is refused by its length."""
    assert "characters" in sandbox.screen("x = 1\n" * sandbox.MAX_CODE_CHARS)
