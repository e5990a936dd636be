"""Prove that two checkouts behave alike: capture what each does, compare the captures; JSON.

    python benchmarks/unchanged.py capture before/ --checkout ../old --run ../old
    python benchmarks/unchanged.py capture after/ --checkout . --run . --earlier before/
    python benchmarks/unchanged.py compare before/ after/ --accept 'options/runs*'

A capture is a folder with one JSON file for each part of `PARTS`. A checkout is driven through
its entry point alone, so where its modules lie does not matter. With `--earlier`, the noxfile
and the records that the other checkout wrote are read by this one. The exit code of `compare`
is 1 when anything differs that `--accept` does not name, or when a part is missing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from unchanged_checkout import Checkout
from unchanged_differences import accepted, differences, leaves
from unchanged_parts import PARTS, Request


def capture(chosen: argparse.Namespace) -> int:
    """Write one file for each part."""
    out = chosen.folder.resolve()
    out.mkdir(parents=True, exist_ok=True)
    # Not resolved: a venv's interpreter is a link, and where it lies says which venv it is.
    checkout = Checkout(chosen.checkout.resolve(), chosen.python.absolute())
    for name in chosen.part or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            request = Request(
                checkout,
                chosen.run.resolve() if chosen.run else None,
                (chosen.earlier or out).resolve(),
                out,
                Path(folder).resolve(),
                chosen.jobs,
                tuple(chosen.model or ()),
            )
            print(f"capturing {name}", file=sys.stderr, flush=True)
            if found := PARTS[name](request):
                text = json.dumps(found, indent=1, sort_keys=True)
                (out / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
    return 0


def compare(chosen: argparse.Namespace) -> int:
    """Print what differs between two captures; return the exit code."""
    document: dict[str, Any] = {"compared": {}, "missing": [], "accepted": {}, "different": []}
    for name in chosen.part or PARTS:
        paths = [folder / f"{name}.json" for folder in (chosen.before, chosen.after)]
        if absent := [str(path) for path in paths if not path.is_file()]:
            document["missing"] += absent
            continue
        before, after = (json.loads(path.read_text(encoding="utf-8")) for path in paths)
        if chosen.only_captured:
            before = {key: before[key] for key in before if key in after}
        document["compared"][name] = leaves(before)
        for item in differences(before, after, name):
            wanted = [text for text in chosen.accept or () if accepted(item["name"], [text])]
            if wanted:
                document["accepted"][wanted[0]] = document["accepted"].get(wanted[0], 0) + 1
            else:
                document["different"].append(item)
    same = not document["missing"] and not document["different"]
    document["unchanged"] = same and all(document["compared"].values())
    print(json.dumps(document, indent=1, sort_keys=True))
    return 0 if document["unchanged"] else 1


def main() -> int:
    """Capture or compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    made = commands.add_parser("capture", help="write what a checkout does into a folder")
    made.add_argument("folder", type=Path, help="folder of the capture")
    made.add_argument("--checkout", type=Path, default=Path(), help="its root")
    made.add_argument("--python", type=Path, default=Path(sys.executable), help="its interpreter")
    made.add_argument("--run", type=Path, help="project that a whole nox has just run in")
    made.add_argument("--earlier", type=Path, help="capture of the other checkout")
    made.add_argument("--model", action="append", help="built-in model to estimate; default: all")
    made.add_argument("--jobs", type=int, default=1, help="processes that estimate side by side")
    made.set_defaults(do=capture)
    judged = commands.add_parser("compare", help="show what differs between two captures")
    judged.add_argument("before", type=Path)
    judged.add_argument("after", type=Path)
    judged.add_argument("--accept", action="append", help="a wanted difference, such as options/x*")
    judged.add_argument(
        "--only-captured", action="store_true", help="leave out what only the first capture has"
    )
    judged.set_defaults(do=compare)
    for each in (made, judged):
        each.add_argument("--part", action="append", choices=PARTS, help="default: all of them")
    chosen = parser.parse_args()
    code: int = chosen.do(chosen)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
