"""Write docs/api.md from the signatures and docstrings of the public names.

Usage: `python scripts/document_api.py`, or with `--check`: code 1 where the file differs.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx_preflight

PAGE = Path(__file__).resolve().parents[1] / "docs" / "api.md"

HEAD = """# Python API

The names on this page are public, and importable from `mlx_preflight`. Everything else is
private: it may change in any version. The package is typed, and its types are frozen.

Options have the names and defaults of the commands' flags, so `--batch-size 1` is
`batch_size=1`. Two are in bytes instead of GB: `budget_bytes` and `memory_limit_bytes`.

This page is written by `python scripts/document_api.py`; edit the docstrings instead.

## Predict, fit, measure

```python
import mlx_preflight

found = mlx_preflight.predict(
    "qwen2.5-coder-7b", batch_size=1, max_seq_length=2048, backend="metal"
)
assert found.peak_low_bytes < found.peak_bytes < found.peak_high_bytes
assert found.evidence is mlx_preflight.Evidence.SIMULATED
print(found.breakdown_bytes["saved activations"])

search = mlx_preflight.fit(
    "llama-3.2-1b", budget_bytes=8 * 10**9, max_seq_length=512, keep="rank", backend="metal"
)
for fit in search.fits:
    print(fit.settings.batch_size, fit.prediction.peak_high_bytes, fit.given_up)

run = mlx_preflight.measure("embedded", max_seq_length=128, num_layers=4, steps=2)
print(run.peak_bytes, run.tokens_per_s)
```

## Validate a checkpoint

```python
report = mlx_preflight.load_checkpoint_report("my-model")
assert not report.problems, report.summary()
print(report.values.tensors, report.notes)
```

## Judge a run

`judge` reads no file. A session without a result is an error, never a pass.

```python
import json
from pathlib import Path

state = Path(".preflight")
files = sorted((state / "results").glob("*.json"))
results = {
    path.stem: mlx_preflight.SessionResult.from_json(json.loads(path.read_text("utf-8")))
    for path in files
}
plan = json.loads((state / "run.json").read_text("utf-8"))
expected = mlx_preflight.Manifest(**{**plan, "planned": tuple(plan["planned"])})
verdict = mlx_preflight.judge(expected, results)
print(verdict.state, [row.check.reason for row in verdict.findings])
```

## Handle an error

Every error is a `PreflightError`, and has a `hint` and the `exit_code` of the command line.

```python
try:
    mlx_preflight.predict("qwen2.5-coder-7")
except mlx_preflight.PreflightError as error:
    print(error, error.hint, int(error.exit_code))
```
"""

SECTION = re.compile(r"^(Args|Attributes|Returns|Raises):$")


def page() -> str:
    """Return the text of the page."""
    public = {name: getattr(mlx_preflight, name) for name in mlx_preflight.__all__}
    functions = [name for name, item in public.items() if inspect.isfunction(item)]
    errors = [name for name, item in public.items() if _is(item, Exception)]
    lines = [HEAD, "## Functions\n"]
    for name in functions:
        lines += _function(name, public[name])
    lines.append("## Types\n")
    for name in sorted(public.keys() - {*functions, *errors}):
        lines += _enum(public[name]) if _is(public[name], enum.Enum) else _type(public[name])
    lines += ["## Errors\n", "| error | meaning | attributes |\n| --- | --- | --- |"]
    lines += [_error(public[name]) for name in errors]
    return "\n".join([*lines, ""])


def _is(item: object, base: type) -> bool:
    return isinstance(item, type) and issubclass(item, base)


def _sections(item: object) -> dict[str, Any]:
    """Return the text before the first section as "", and each section's text or items."""
    found: dict[str, list[str]] = {"": []}
    current = found[""]
    for line in (inspect.getdoc(item) or "").splitlines():
        if heading := SECTION.match(line):
            current = found.setdefault(heading[1], [])
        else:
            current.append(line)
    return {
        name: _items(lines) if name in ("Args", "Attributes", "Raises") else _text(lines)
        for name, lines in found.items()
    }


def _text(lines: list[str]) -> str:
    return "\n".join(line.strip() for line in lines).strip()


def _items(lines: list[str]) -> dict[str, str]:
    """Return name → meaning; a deeper line goes on with the one above it."""
    found: dict[str, str] = {}
    name = ""
    for line in filter(None, (line.rstrip() for line in lines)):
        if line.startswith(" " * 5):
            found[name] += f" {line.strip()}"
        else:
            name, _, text = line.strip().partition(": ")
            found[name] = text
    return found


def _kind(annotation: object) -> str:
    """Return a type as a reader writes it, without the modules of its parts."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(\w+\.)+(?=\w)", "", text).replace("|", r"\|")


def _function(name: str, function: Any) -> Iterator[str]:
    signature, doc = inspect.signature(function, eval_str=True), _sections(function)
    yield f"### `{name}`\n"
    yield f"{doc['']}\n"
    yield "| argument | type | default | meaning |\n| --- | --- | --- | --- |"
    for item in signature.parameters.values():
        default = "required" if item.default is item.empty else f"`{item.default!r}`"
        meaning = doc["Args"][item.name]
        yield f"| `{item.name}` | `{_kind(item.annotation)}` | {default} | {meaning} |"
    yield f"\nReturns `{_kind(signature.return_annotation)}`: {doc['Returns']}\n"
    yield "| raises | when |\n| --- | --- |"
    yield from (f"| `{error}` | {text} |" for error, text in doc["Raises"].items())
    yield ""


def _type(kind: Any) -> Iterator[str]:
    doc = _sections(kind)
    about = doc.get("Attributes", {})
    yield f"### `{kind.__name__}`\n"
    yield f"{doc['']}\n"
    yield "| attribute | type | meaning |\n| --- | --- | --- |"
    for item in dataclasses.fields(kind):
        yield f"| `{item.name}` | `{_kind(item.type)}` | {about[item.name]} |"
    for name, member in vars(kind).items():
        if isinstance(member, property):
            returned = _kind(inspect.signature(member.fget or kind).return_annotation)
            meaning = _first(member).removeprefix("Return ")
            yield f"| `{name}` | `{returned}` | {meaning[0].upper()}{meaning[1:]} |"
    methods = [name for name, member in vars(kind).items() if _is_public(name, member)]
    if methods:
        yield "\n| method | meaning |\n| --- | --- |"
        yield from (f"| `{name}` | {_first(getattr(kind, name))} |" for name in methods)
    yield ""


def _first(item: object) -> str:
    """Return the first line of a docstring."""
    return (inspect.getdoc(item) or "").partition("\n")[0]


def _is_public(name: str, item: object) -> bool:
    """Tell whether a class member is a method that takes nothing private."""
    function = getattr(item, "__func__", item)
    if name.startswith("_") or not inspect.isfunction(function):
        return False
    kinds = [str(part.annotation) for part in inspect.signature(function).parameters.values()]
    named = re.findall(r"\b[A-Z]\w+", " ".join(kinds))
    return {*named} <= {*mlx_preflight.__all__, *typing.__all__}


def _enum(kind: Any) -> Iterator[str]:
    yield f"### `{kind.__name__}`\n"
    yield f"{_sections(kind)['']}\n"
    yield f"Values: {', '.join(f'`{item.name}`' for item in kind)}.\n"


def _error(kind: type) -> str:
    doc = _sections(kind)
    about = " ".join(f"`{name}`: {text}" for name, text in doc.get("Attributes", {}).items())
    return f"| `{kind.__name__}` | {_first(kind)} | {about} |"


def main() -> int:
    """Write the page, or compare it."""
    if "--check" not in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page():
        print(f"{PAGE} differs: run `python scripts/document_api.py`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
