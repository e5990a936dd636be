"""The sandbox's own process, which runs generated code; started by `sandbox`, never imported.

It must import nothing but the standard library, because it runs with `-I -S`. Limits,
the replaced builtins and the audit hook are in place before the first line of the
generated code runs; expected values never reach this process.
"""

from __future__ import annotations

import builtins
import json
import os
import resource
import sys
import types
from pathlib import Path
from typing import Any, NoReturn

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
NOBODY = 65534
MAX_DEPTH, MAX_SIZE, MAX_BITS = 40, 100_000, 10_000
"""Bounds of a returned value: nesting, characters and items together, bits of an integer."""

# Audit events that running pure Python raises; all others are refused while the code runs.
ALLOWED_EVENTS = frozenset({"exec", "compile", "builtins.id"})

_NAMES = """
abs all any bin bool bytes bytearray callable chr classmethod complex dict divmod enumerate
filter float format frozenset hash hex id int isinstance issubclass iter len list map max
min next object oct ord pow print property range repr reversed round set slice sorted
staticmethod str sum super tuple type zip True False None NotImplemented Ellipsis
__build_class__ StopIteration GeneratorExit
"""
BUILTINS = (
    *_NAMES.split(),
    *(name for name in dir(builtins) if name.endswith(("Error", "Exception"))),
)


class Refused(Exception):  # noqa: N818  (its name reaches the report)
    """Report that the code asked for something the sandbox does not give."""


def attempt(action: Any, *arguments: Any) -> bool:
    """Call a hardening step and return whether this system allows it."""
    try:
        action(*arguments)
    except (OSError, ValueError, AttributeError):
        return False
    return True


def set_limits(request: dict[str, Any], network: str) -> dict[str, Any]:
    """Set the resource limits, lowest privileges last, and return which ones took effect."""
    cpu, memory = request["cpu_s"], request["memory_bytes"]
    done: dict[str, Any] = {"cpu": attempt(resource.setrlimit, resource.RLIMIT_CPU, (cpu, cpu + 1))}
    attempt(resource.setrlimit, resource.RLIMIT_CORE, (0, 0))
    done["files"] = attempt(resource.setrlimit, resource.RLIMIT_FSIZE, (0, 0))
    done["network"] = network
    if os.geteuid() == 0:
        # Root ignores the process limit and may read everything, so stop being root.
        attempt(os.setgroups, [])
        attempt(os.setgid, NOBODY)
        done["user"] = "nobody" if attempt(os.setuid, NOBODY) else "root"
    done["processes"] = attempt(resource.setrlimit, resource.RLIMIT_NPROC, (0, 0))
    attempt(resource.setrlimit, resource.RLIMIT_NOFILE, (0, 0))
    # macOS does not enforce the address space; its data limit is the nearest thing.
    done["memory"] = attempt(resource.setrlimit, resource.RLIMIT_AS, (memory, memory)) or attempt(
        resource.setrlimit, resource.RLIMIT_DATA, (memory, memory)
    )
    return done


def leave_network() -> str:
    """Enter an empty network namespace where the system permits it; return what is in force."""
    if sys.platform != "linux":
        return "audit hook"
    if sys.version_info >= (3, 12):
        unshare = os.unshare
        left = attempt(unshare, CLONE_NEWNET) or attempt(unshare, CLONE_NEWUSER | CLONE_NEWNET)
        return "namespace" if left else "audit hook"
    return start_anew()


def start_anew() -> NoReturn:
    """Enter the namespace by ctypes, and start this program again without it.

    Its functions write to any address and raise no audit event, so none may lie around.
    """
    ctypes: Any = __import__("ctypes")
    unshare = ctypes.CDLL(None, use_errno=True).unshare
    left = any(unshare(flags) == 0 for flags in (CLONE_NEWNET, CLONE_NEWUSER | CLONE_NEWNET))
    said = "namespace" if left else "audit hook"
    os.execv(sys.executable, [*sys.orig_argv, said])  # noqa: S606  (no shell is meant)


def proxies(allowed: dict[str, list[str]]) -> dict[str, types.ModuleType]:
    """Return stand-ins that hold only the listed names of each module.

    A real module leads to `sys` in two steps (`re.enum.sys`); a stand-in does not.
    """
    made = {}
    for name, exported in allowed.items():
        real = __import__(name)
        proxy = types.ModuleType(name)
        for item in exported:
            if hasattr(real, item):
                setattr(proxy, item, getattr(real, item))
        made[name] = proxy
    return made


def make_builtins(modules: dict[str, types.ModuleType]) -> dict[str, Any]:
    """Return the builtins that the generated code sees."""
    space = {name: getattr(builtins, name) for name in BUILTINS}

    def importer(name: str, *_: Any, **__: Any) -> types.ModuleType:
        if name not in modules:
            raise Refused(f"import of {name}")
        return modules[name]

    return {**space, "__import__": importer, "__name__": "builtins"}


def plain(value: Any, budget: list[int], depth: int = 0) -> Any:
    """Return a value as JSON data, deciding by exact type so that no method of it runs.

    Raises:
        Refused: A type JSON cannot hold, or a value too large or too deep.
    """
    kind = type(value)
    budget[0] -= 1 + (len(value) if kind is str else 0)
    if depth > MAX_DEPTH or budget[0] < 0:
        raise Refused("a value too large to compare")
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        if value.bit_length() > MAX_BITS:
            raise Refused("an integer too large to compare")
        return value
    if kind is float:
        # NaN and infinity are not JSON; a text never equals an expected number.
        return value if value - value == 0 else repr(value)
    if kind is list or kind is tuple:
        return [plain(item, budget, depth + 1) for item in value]
    if kind is dict and all(type(key) is str for key in value):
        return {key: plain(item, budget, depth + 1) for key, item in value.items()}
    raise Refused(f"a value of type {kind.__name__}")


def call(space: dict[str, Any], name: str, arguments: list[Any]) -> dict[str, Any]:
    """Call the function once and return its value, or the name of what it raised."""
    try:
        return {"value": plain(space[name](*arguments), [MAX_SIZE])}
    except BaseException as error:  # noqa: BLE001  (it may raise anything, SystemExit too)
        return {"error": f"{type(error).__name__}: {str(error)[:200]}"}


def refuse(event: str, _: tuple[Any, ...]) -> None:
    """Refuse every audit event that pure computation does not raise."""
    if event not in ALLOWED_EVENTS:
        raise Refused(event)


def main() -> NoReturn:
    """Read the request named on the command line, run it, write one line, and leave."""
    question = Path(sys.argv[1])
    (network,) = sys.argv[2:] or (leave_network(),)
    request = json.loads(question.read_text(encoding="utf-8"))
    question.unlink()
    # Prints of the code go nowhere; only this descriptor reaches the parent.
    answer_fd, null = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    name, dumps, write, leave = request["function"], json.dumps, os.write, os._exit
    examples = [json.loads(json.dumps(item)) for item in request["arguments"]]
    space = {"__builtins__": make_builtins(proxies(request["modules"])), "__name__": "answer"}
    sys.setrecursionlimit(1_000)
    answer: dict[str, Any] = {"isolation": set_limits(request, network)}
    try:
        code = compile(request["code"], "<answer>", "exec", dont_inherit=True)
        sys.addaudithook(refuse)
        exec(code, space)  # noqa: S102  (what this process is for)
        answer["calls"] = [call(space, name, arguments) for arguments in examples]
    except BaseException as error:  # noqa: BLE001  (likewise: whatever it raises is an answer)
        answer["error"] = f"{type(error).__name__}: {str(error)[:200]}"
    line = (request["nonce"] + dumps(answer, allow_nan=False)).encode()
    while line:
        line = line[write(answer_fd, line) :]
    leave(0)


if __name__ == "__main__":
    main()
