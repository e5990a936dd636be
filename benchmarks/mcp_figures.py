"""Measure the server and the memory of runs, and how well they find what is asked for; print JSON.

`python benchmarks/mcp_figures.py > mcp.json` makes a memory of 10,000 runs (`--runs`), and
asks 132 questions about hand-written failures among generated distractors: 36 in the words of
the records, 36 in others, and 60 in others that were written without sight of the encoder; and
asks the same of Qdrant's own BM25 encoder (`qdrant-edge-py`) beside it. (A file `mcp.py` here
would hide the SDK of that name.)
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
from mcp import Client
from mcp_retrieval import Question, retrieval

from mcp_local.mcp_server import create_server
from mlx_preflight.core import environment
from mlx_preflight.history.filters import Filter, ranges
from mlx_preflight.history.memory_manager import MemoryManager
from mlx_preflight.plan import register

QUERIES = Path(__file__).with_name("mcp_queries.json")
MODELS = ("embedded", "Qwen/Qwen2.5-Coder-7B-Instruct", "meta-llama/Llama-3.1-8B-Instruct")
NOISE = (
    "would be reformatted: src/app/part{n}.py",
    "new findings, {n} in all: E501 line too long in module{n}.py",
    "tests failed: tests.test_part{n}::test_value (AssertionError: assert {n} == 0)",
    "% of lines are covered; src/app/part{n}.py lacks {n}",
    "packages are vulnerable: pillow 9.{n}: PYSEC-20{n}-7",
)


def report(
    number: int, chance: random.Random, reason: str = "", check: str = "AC6.4"
) -> dict[str, Any]:
    """Return the report of a made-up run of the whole plan."""
    failing = {check: reason} if reason else {}
    if not reason and chance.random() < 0.5:
        row = chance.choice(("GATE1", "GATE2", "GATE4", "GATE6", "GATE8"))
        failing[row] = f"{number} {chance.choice(NOISE).format(n=chance.randrange(90))}"
    checks = [(s.id, check) for s in register.sessions() for check in s.checks]
    rows = [
        {
            "id": check.id,
            "session": session,
            "title": check.title,
            "status": "FAIL" if check.id in failing else "PASS",
            "evidence": "static",
            "reason": failing.get(check.id, "as required"),
            "remedy": check.remedy if check.id in failing else "",
            "required": True,
            "measurements": (
                [{"name": "peak_bytes", "value": chance.randrange(10**9, 30 * 10**9)}]
                if check.id == "AC6.2"
                else [{"name": "duration_s", "value": round(chance.random() * 9, 3)}]
            ),
        }
        for session, check in checks
    ]
    started = dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(minutes=number)
    return {
        "run_id": f"run-{number:06}",
        "started": started.isoformat(),
        "group": "preflight",
        "profile": "embedded",
        "model": {"requested": MODELS[number % len(MODELS)]},
        "tool": "mlx-preflight 0.1.0",
        "verdict": "needs_adapt" if failing else "ready_for_integrator",
        "status": "FAIL" if failing else "PASS",
        "holds_for": "a benchmark",
        "counts": {"PASS": len(rows) - len(failing), "FAIL": len(failing)},
        "environment": environment.capture(),
        "git": {"commit": f"{number:040x}"},
        "rows": rows,
    }


def timed(call: Callable[[], Any], times: int) -> dict[str, float]:
    """Return median and 95th percentile of a call, milliseconds."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        seconds.append(1000 * (time.perf_counter() - began))
    cuts = statistics.quantiles(seconds, n=20)
    return {"p50_ms": round(statistics.median(seconds), 2), "p95_ms": round(cuts[-1], 2)}


def ingest(memory: MemoryManager, runs: int) -> dict[str, Any]:
    """Remember runs one after the other, each flushed to the disk, then index them."""
    chance = random.Random(1)
    began = time.perf_counter()
    made = [report(number, chance) for number in range(runs)]
    generating = time.perf_counter() - began
    print(f"{runs} reports made in {generating:.0f} s", file=sys.stderr, flush=True)
    began = time.perf_counter()
    for item in made:
        memory.record(item)
    recorded = time.perf_counter() - began
    print(f"recorded in {recorded:.0f} s; indexing", file=sys.stderr, flush=True)
    began = time.perf_counter()
    memory.sync()
    indexed = time.perf_counter() - began
    return {
        "runs": runs,
        "recorded_per_s": round(runs / recorded, 1),
        "indexed_per_s": round(runs / indexed, 1),
        "bytes_per_record": memory.log.identity()[1] // runs,
    }


def searches(folder: Path) -> dict[str, Any]:
    """Search a large memory by filters, by words, and by both, in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--search", str(folder)],
        stdout=subprocess.PIPE,
        env=os.environ,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def peak_bytes() -> int:
    """Return the peak resident size of this process alone.

    Linux hands `ru_maxrss` of a parent on to what it starts, so the process's own mark is read.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def search(folder: Path) -> dict[str, Any]:
    """Measure searches and the memory of this process."""
    memory = MemoryManager(folder)
    wanted = Filter(model=MODELS[1], since="2026-01-02", ranges=ranges(["AC6.2/peak_bytes < 16e9"]))
    memory.search("line too long", wanted)
    found = {
        "filters": timed(lambda: memory.search("", wanted), 40),
        "words": timed(lambda: memory.search("vulnerable pillow"), 40),
        "words_and_filters": timed(lambda: memory.search("line too long", wanted), 40),
        "peak_rss_mb": round(peak_bytes() / 1e6, 1),
    }
    memory.close()
    return found


def failures(distractors: int = 3000) -> tuple[list[dict[str, Any]], list[Question]]:
    """Return made-up runs with the hand-written failures among them, and what is asked of them."""
    chance = random.Random(2)
    made = [report(number, chance) for number in range(distractors)]
    asked: list[Question] = []
    written = json.loads(QUERIES.read_text(encoding="utf-8"))
    for number, item in enumerate((*written["seen"], *written["held_out"])):
        made.append(report(900_000 + number, chance, item["reason"], item["check"]))
        asked += [
            Question(kind, item[kind], made[-1]["run_id"])
            for kind in ("keyword", "paraphrase", "held_out")
            if kind in item
        ]
    return made, asked


def server(project: Path) -> dict[str, Any]:
    """Measure the start over stdio to the first answer, and reading a report in memory."""
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "benchmark", "version": "0"},
        },
    }

    def start() -> None:
        command = [sys.executable, "-m", "mlx_preflight", "mcp", "--project", str(project)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(json.dumps(hello).encode() + b"\n")
            child.stdin.flush()
            child.stdout.readline()
            began_end.append(time.perf_counter())
            child.stdin.close()
            child.wait()

    began_end: list[float] = []
    starts = []
    for _ in range(7):
        began = time.perf_counter()
        start()
        starts.append(began_end[-1] - began)

    async def read() -> dict[str, float]:
        seconds = []
        async with Client(create_server([project])) as client:
            for _ in range(200):
                began = time.perf_counter()
                answer = await client.call_tool("read_report", {"only": "all"})
                seconds.append(1000 * (time.perf_counter() - began))
                if answer.is_error:
                    raise SystemExit(str(answer.content))
        cuts = statistics.quantiles(seconds, n=20)
        return {"p50_ms": round(statistics.median(seconds), 2), "p95_ms": round(cuts[-1], 2)}

    return {
        "start_to_first_answer_s": {
            "median": round(statistics.median(starts), 3),
            "worst": round(max(starts), 3),
        },
        "read_report": anyio.run(read),
    }


def main() -> None:
    """Measure everything and print one document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--search", type=Path, help="only search this memory")
    parser.add_argument("--project", type=Path, default=Path(), help="project with a report")
    chosen = parser.parse_args()
    if chosen.search:
        print(json.dumps(search(chosen.search)))
        return
    with tempfile.TemporaryDirectory(prefix="mcp-benchmark-") as name:
        large = Path(name) / "large"
        memory = MemoryManager(large)
        found = {"ingest": ingest(memory, chosen.runs)}
        memory.close()
        found["search"] = searches(large)
        print("retrieval", file=sys.stderr, flush=True)
        found["retrieval"] = retrieval(*failures(), Path(name) / "small")
    found["server"] = server(chosen.project.resolve())
    packages = {
        item: importlib.metadata.version(item)
        for item in ("mcp", "qdrant-client", "qdrant-edge-py", "snowballstemmer")
    }
    machine = environment.capture()
    print(
        json.dumps(
            {**found, "packages": packages, "environment": machine}, indent=1, sort_keys=True
        )
    )


if __name__ == "__main__":
    main()
