"""Settings of a run as the installed `mlx_lm.lora` resolves them: its parser, YAML and defaults.

What mlx-lm reads is found in its own code, so that another version needs no edit here.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import mlx.core as mx
import yaml
from mlx import optimizers
from mlx_lm import lora
from mlx_lm.tuner import callbacks, datasets, utils

from mlx_preflight.core.errors import CheckpointError, UsageError
from mlx_preflight.core.toml_table import suggest
from mlx_preflight.memory.settings import OPTIMIZERS

MAX_CONFIG_BYTES = 1_000_000
MAX_NODES = 20_000
"""Values of a config after its aliases are followed; a training config has some thirty."""
MAX_DEPTH = 50

READ_BY = ("args", "config")
"""Names under which mlx_lm's functions pass the settings (lora.py, tuner/datasets.py 0.32)."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A YAML config.

    Attributes:
        values: Key → value, as mlx_lm's loader makes them.
        lines: Key → line, counted from 1.
        repeated: Keys that are in it twice; the last one counts.
    """

    values: dict[str, Any]
    lines: dict[str, int]
    repeated: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ResolvedSettings:
    """Settings by precedence: command line, config, defaults.

    Attributes:
        settings: Name → value.
        given: Names that the command line gave.
        file: The config; None without one.
        path: Its path, as given.
    """

    settings: dict[str, Any]
    given: frozenset[str]
    file: ConfigFile | None
    path: str | None


def parse(arguments: Sequence[str]) -> dict[str, Any]:
    """Return what the command line gives; None stands for what it does not.

    Raises:
        UsageError: mlx_lm's parser refuses it.
    """
    parser = lora.build_parser()

    def error(message: str) -> NoReturn:
        unknown = re.search(r"unrecognized arguments: (--?[\w-]+)", message)
        flags = re.findall(r"--[a-z][a-z-]+", parser.format_help())
        near = suggest(unknown[1], flags, known=False) if unknown else ""
        hint = "`mlx_lm.lora --help` lists its options"
        raise UsageError(f"mlx_lm.lora: {message}{near}", hint=hint)

    parser.error = error  # argparse would end this process
    if {"-h", "--help"} & {*arguments}:
        error("--help trains nothing")
    values: dict[str, Any] = vars(parser.parse_args(list(arguments)))
    return values


def resolve(
    arguments: Sequence[str],
    folder: Path,
    translate: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> ResolvedSettings:
    """Return the settings that `mlx_lm.lora` would train with (its `main`, 0.32).

    Args:
        arguments: Its arguments.
        folder: Where it would be started.
        translate: Makes mlx_lm's settings of a config that may be another program's.

    Raises:
        UsageError: The parser refuses the arguments.
        CheckpointError: The config cannot be read.
    """
    settings = parse(arguments)
    defaults = parse([])
    given = frozenset(name for name, value in settings.items() if value != defaults[name])
    path, file = settings["config"], None
    if path:
        file = read(folder / Path(path))
        file = replace(file, values=translate(file.values))
        for name, value in file.values.items():
            if settings.get(name) is None:
                settings[name] = value
    for name, value in lora.CONFIG_DEFAULTS.items():
        if settings.get(name) is None:
            settings[name] = value
    return ResolvedSettings(settings, given, file, path)


def read(path: Path) -> ConfigFile:
    """Read a config with mlx_lm's YAML loader, which makes plain data only.

    Raises:
        CheckpointError: It is no readable file, no YAML, no mapping, or grows out of bounds.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: {'no file' if path.exists() else 'not found'}")
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise CheckpointError(f"{path}: over {MAX_CONFIG_BYTES:,} bytes")
        with path.open() as stream:
            loader = lora.yaml_loader(stream)
            root = loader.get_single_node()
            if not isinstance(root, yaml.MappingNode):
                found = "nothing" if root is None else root.id
                raise CheckpointError(f"{path}: expected `key: value` lines, found {found}")
            if sum(1 for _ in _nodes(root)) > MAX_NODES:
                raise CheckpointError(f"{path}: its aliases make over {MAX_NODES:,} values")
            repeated = tuple(_repeated(root))
            values = loader.construct_document(root)
    except yaml.YAMLError as error:
        raise CheckpointError(f"{path}: {_one_line(error)}") from error
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    lines = {str(key.value): key.start_mark.line + 1 for key, _ in root.value}
    return ConfigFile({str(key): value for key, value in values.items()}, lines, repeated)


def _nodes(node: yaml.Node, depth: int = 0) -> Iterator[yaml.Node]:
    """Yield every value of a document; it stops a little above the limit."""
    stack = [(node, 0)]
    count = 0
    while stack and count <= MAX_NODES:
        current, depth = stack.pop()
        count += 1
        yield current
        if depth > MAX_DEPTH:
            raise CheckpointError(f"nested over {MAX_DEPTH} deep")
        if isinstance(current, yaml.MappingNode):
            stack += [(part, depth + 1) for pair in current.value for part in pair]
        elif isinstance(current, yaml.SequenceNode):
            stack += [(part, depth + 1) for part in current.value]


def _repeated(root: yaml.MappingNode) -> Iterator[str]:
    for node in _nodes(root):
        if isinstance(node, yaml.MappingNode):
            names = [str(key.value) for key, _ in node.value]
            yield from sorted({name for name in names if names.count(name) > 1})


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    text = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {mark.line + 1}: {text}" if mark else str(text)


def names_read() -> frozenset[str]:
    """Return the settings that the installed mlx-lm reads anywhere.

    Those of its defaults, and every `args.NAME` and `getattr(config, "NAME")` in the modules of
    a training run.
    """
    found = {*lora.CONFIG_DEFAULTS}
    for module in (lora, datasets):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Attribute) and _is_settings(node.value):
                found.add(node.attr)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr":
                owner, name = node.args[:2]
                if _is_settings(owner) and isinstance(name, ast.Constant):
                    found.add(str(name.value))
    return frozenset(found - {*dir(dict)})


def _is_settings(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in READ_BY


def refusal(name: str, value: Any) -> str:
    """Return why the trainer cannot use a value that its own parser would make, or nothing.

    A config's values are merged unparsed, so that `"1e-5"` stays a text until it is used.
    """
    if name not in parse([]):
        return ""  # a mapping, which has no option
    flag = f"--{name.replace('_', '-')}"
    try:
        switch = parse([flag])[name] is True
    except (UsageError, KeyError):
        switch = False
    if switch:
        return "" if isinstance(value, bool) else f"{value!r} is not true or false"
    try:
        parsed = parse([f"{flag}={value}"]).get(name, value)
    except UsageError as error:
        return str(error).rpartition(f"argument {flag}: ")[2]
    same = type(value) is type(parsed)
    # Python computes with an integer where a float is wanted, and not with a text.
    number = isinstance(parsed, float) and type(value) is int
    return "" if same or number else f"{value!r} is {kind(value)}, not {kind(parsed)}"


def kind(value: object) -> str:
    """Return the type of a value as a writer of YAML calls it."""
    names = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}
    return {**names, dict: "a mapping", list: "a list"}.get(type(value), type(value).__name__)


def keys_read(function: Any, parameter: str) -> frozenset[str]:
    """Return the keys that a function of mlx-lm reads of one of its mappings.

    Args:
        function: Whose source is searched for `parameter["key"]` and `parameter.get("key")`.
        parameter: Name of the mapping there.
    """
    found = set()
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        keys: list[ast.expr] = []
        if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == parameter:
            keys = [node.slice]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == f"{parameter}.get":
            keys = node.args[:1]
        found |= {key.value for key in keys if isinstance(key, ast.Constant)}
    return frozenset(str(key) for key in found)


def nested_keys() -> dict[str, frozenset[str]]:
    """Return setting → keys of its mapping that mlx-lm reads."""
    return {
        "lora_parameters": keys_read(utils.linear_to_lora_layers, "config"),
        "lr_schedule": keys_read(utils.build_schedule, "schedule_config"),
        "hf_dataset": keys_read(datasets.load_custom_hf_dataset, "ds")
        | {name for name in names_read() if name.endswith("_feature")},
    }


def optimizer_problem(settings: Mapping[str, Any], updates: int) -> str:
    """Return what is wrong with the rates of optimizer and schedule, or nothing.

    They are made by the calls of `train_model` (mlx_lm/lora.py 0.32) and asked for the rates of
    the first and the last update.

    Raises:
        UsageError: They cannot be made; the message is that of mlx.
    """
    try:
        rate = settings["learning_rate"]
        if settings["lr_schedule"]:
            rate = utils.build_schedule(settings["lr_schedule"])
        name = settings["optimizer"].lower()
        made = getattr(optimizers, OPTIMIZERS[name])
        own = settings["optimizer_config"].get(name, {})
        made(learning_rate=rate, **own)
        ends = [rate(mx.array(step)) if callable(rate) else rate for step in (0, updates - 1)]
        values = [float(str(mx.array(item).item())) for item in ends]
    # The run would end in the same exception, whichever it is.
    except Exception as error:
        raise UsageError(f"{type(error).__name__}: {error}") from error
    wrong = [item for item in values if not 0 <= item < float("inf")]
    return f"the learning rate becomes {wrong[0]}" if wrong else ""


def reporters() -> frozenset[str]:
    """Return the services that the installed mlx-lm can report to."""
    return frozenset(callbacks.SUPPORT_CALLBACK)
