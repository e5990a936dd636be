"""mlx_lm without the import of its tokenizers, which takes longer than a prediction.

A prediction needs the model files and the trainer of mlx_lm, never a tokenizer. mlx_lm imports
both in its `__init__`; here the names that it takes from the tokenizers are imported when one
of them is first used. Nothing is replaced: whoever uses one gets the real thing.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

CLASSES = {
    "transformers": ("PreTrainedTokenizer",),
    "mlx_lm.tokenizer_utils": ("TokenizerWrapper",),
}
FUNCTIONS = {"mlx_lm.tokenizer_utils": ("load",)}
"""Module → names that mlx_lm (0.32) imports from it: utils.py, generate.py, tuner/datasets.py."""

HUB = ("huggingface_hub", "snapshot_download")
"""Package that imports its names when they are used, and the one that mlx_lm takes at once."""

NEEDED = ("mlx_lm", "mlx_lm.tuner.trainer", "mlx_lm.tuner.utils", "mlx_lm.generate")
"""Modules that a prediction imports."""


class _Deferred(type):
    """Class of names that stand for a class of a module that is not imported yet."""

    place: tuple[str, str]

    def _real(cls) -> Any:
        module, name = cls.place
        return getattr(importlib.import_module(module), name)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):  # (what `typing` looks for in an annotation)
            raise AttributeError(name)
        return getattr(cls._real(), name)

    def __call__(cls, *args: Any, **keywords: Any) -> Any:
        return cls._real()(*args, **keywords)

    def __instancecheck__(cls, item: object) -> bool:
        # Without the module there is no instance of its class.
        return cls.place[0] in sys.modules and isinstance(item, cls._real())


def import_mlx_lm() -> None:
    """Import what a prediction needs of mlx_lm, and no tokenizer.

    Where mlx_lm or transformers is imported already, or another version of mlx_lm takes other
    names, the import is the usual one.
    """
    if {"mlx_lm", *CLASSES} & sys.modules.keys():
        return
    stand_ins = {name: _stand_in(name) for name in CLASSES}
    sys.modules.update(stand_ins)
    try:
        with _unresolved(*HUB):
            for name in NEEDED:
                importlib.import_module(name)
    except ImportError:
        _forget("mlx_lm")
    finally:
        for name, module in stand_ins.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


@contextlib.contextmanager
def _unresolved(package: str, name: str) -> Iterator[None]:
    """Let a name of a package be taken without its import, where it is not imported yet."""
    module = importlib.import_module(package)
    known = name in vars(module)
    if not known:
        setattr(module, name, _function(package, name))
    try:
        yield
    finally:
        if not known:
            delattr(module, name)


def _forget(package: str) -> None:
    """Remove what is imported of a package, so that it is imported anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]


def _stand_in(name: str) -> ModuleType:
    module = ModuleType(name)
    for one in CLASSES[name]:
        setattr(module, one, _Deferred(one, (), {"place": (name, one)}))
    for one in FUNCTIONS.get(name, ()):
        setattr(module, one, _function(name, one))
    return module


def _function(module: str, name: str) -> Callable[..., Any]:
    """Return a function that calls the one of a module that is not imported yet."""

    def call(*args: Any, **keywords: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*args, **keywords)

    return call
