"""Child of `unchanged.py` and `side_by_side.py`: calls one checkout's commands in its process.

It runs in the interpreter of the checkout that is captured and knows of the package only what
must not change: the entry point `mlx_preflight.__main__:main` and the public names. `calls`
reads a JSON list of argument lists from stdin; `options` and `names` read nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import io
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

PUBLIC = (
    "mlx_preflight.sessions:define",
    "mcp_local.memory_manager:MemoryManager",
    "mcp_local.qdrant_manager:QdrantManager",
    "mcp_local.mcp_server:create_server",
)
"""What noxfiles and the plan import."""


INTERRUPTED = 130
"""Exit code with which the entry point ends after SIGTERM; nothing more is to be called then."""


def call(argv: list[str]) -> dict[str, Any]:
    """Run one command line as the console script does."""
    stdout, stderr, code = io.StringIO(), io.StringIO(), None
    begin, used = time.perf_counter(), time.process_time()
    main = importlib.import_module("mlx_preflight.__main__").main
    sys.argv = ["mlx-preflight", *argv]
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            main()
        except SystemExit as end:
            code = end.code
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return {
        "exit": code,
        "stdout": stdout.getvalue(),
        "stderr": stderr.getvalue(),
        "wall_s": time.perf_counter() - begin,
        "cpu_s": time.process_time() - used,
    }


def calls() -> list[dict[str, Any]]:
    """Run the command lines that stdin lists, each in its folder."""
    found: list[dict[str, Any]] = []
    jobs = json.load(sys.stdin)
    for job in jobs:
        os.chdir(job["cwd"])
        found.append(call(job["argv"]))
        print(f"{len(found)}/{len(jobs)}", *job["argv"], file=sys.stderr, flush=True)
    return found


def options() -> dict[str, Any]:
    """Return the parameters of every command, by the words that call it."""
    typer = importlib.import_module("typer")
    caught: list[Any] = []

    def catch(app: Any, *_: object, **__: object) -> None:
        caught.append(typer.main.get_command(app))

    # The entry point hands its application over here, wherever that is defined.
    with mock.patch.object(typer.Typer, "__call__", catch):
        call([])
    return dict(_parameters(caught[0], ()))


def _parameters(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    found = {}
    for place, item in enumerate(command.params):
        # An argument has no name that a command line could hold, an option has nothing else.
        option = item.param_type_name == "option"
        key = "/".join((*item.opts, *item.secondary_opts)) if option else f"argument {place + 1}"
        described = getattr(item, "type_descriptor", None)
        info = getattr(described, "parameter_info", item)
        found[key] = {
            "type": str(getattr(described, "annotation", getattr(item, "type", None))),
            "limits": [getattr(info, "min", None), getattr(info, "max", None)],
            "default": str(item.default() if callable(item.default) else item.default),
            "required": item.required,
            "multiple": getattr(item, "multiple", False),
            "nargs": item.nargs,
            "variable": item.envvar,
        }
    yield " ".join(words) or "(root)", found
    for name, child in getattr(command, "commands", {}).items():
        yield from _parameters(child, (*words, name))


def names() -> dict[str, Any]:
    """Return the parameters of the public names, and what the server offers to agents."""
    found = {}
    for place in PUBLIC:
        module, _, name = place.partition(":")
        item = getattr(importlib.import_module(module), name)
        found[place] = _signature(item)
        for key, method in inspect.getmembers(item, callable) if inspect.isclass(item) else ():
            if not key.startswith("_"):
                found[f"{place}.{key}"] = _signature(method)
    return {**found, **_served()}


def _signature(item: Any) -> dict[str, str]:
    """Return parameter → kind and default; types are named within the package as it likes."""
    parameters = inspect.signature(item).parameters.values()
    return {each.name: f"{each.kind.description}, {each.default!r}" for each in parameters}


def _served() -> dict[str, Any]:
    client_of = importlib.import_module("mcp").Client
    server = importlib.import_module("mcp_local.mcp_server").create_server([Path.cwd()])

    async def ask() -> dict[str, Any]:
        async with client_of(server) as client:
            tools = (await client.list_tools()).tools
            resources = (await client.list_resources()).resources
            templates = (await client.list_resource_templates()).resource_templates
            prompts = (await client.list_prompts()).prompts
        return {
            "tools": {item.name: _wordless(item.input_schema) for item in tools},
            "resources": sorted(str(item.uri) for item in resources),
            "templates": sorted(item.uri_template for item in templates),
            "prompts": {
                item.name: sorted(each.name for each in item.arguments or ()) for item in prompts
            },
        }

    return asyncio.run(ask())


def _wordless(schema: Any) -> Any:
    """Return a JSON schema without its prose."""
    if isinstance(schema, list):
        return [_wordless(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _wordless(item)
        for key, item in schema.items()
        if not (key in {"title", "description"} and isinstance(item, str))
    }


def main() -> None:
    """Answer one question and say which checkout answered."""
    package = importlib.import_module("mlx_preflight")
    answer = {"calls": calls, "options": options, "names": names}[sys.argv[1]]()
    place = str(Path(str(package.__file__)).resolve())
    print(json.dumps({"package": place, "answer": answer}))


if __name__ == "__main__":
    main()
