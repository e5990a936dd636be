"""Compare the wrapper with bare mlx_lm on the same model, alternating in one run.

Prints one JSON document with the ratios of decode speed (wrapper / bare, 1 is equal)
and load time. Run: `python benchmarks/wrapper.py --rounds 7`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mlx_preflight.core import environment
from mlx_preflight.core.child import child_environment
from mlx_preflight.runtime import workers

BARE = """
import json, sys, time
import mlx.core as mx
from mlx_lm import load, stream_generate
from mlx.utils import tree_flatten
begin = time.perf_counter()
model, tokenizer = load(sys.argv[1])
mx.eval(model.parameters())
load_s = time.perf_counter() - begin
prompts = json.loads(sys.argv[2])
speeds = []
for prompt in [prompts[0], *prompts]:
    message = [{"role": "user", "content": prompt["prompt"]}]
    text = tokenizer.apply_chat_template(message, add_generation_prompt=True)
    times = []
    for part in stream_generate(model, tokenizer, text, max_tokens=int(sys.argv[3])):
        times.append(time.perf_counter())
    # Intervals over time, as the wrapper counts: generation_tps counts one token more.
    speeds.append((len(times) - 1) / (times[-1] - times[0]))
print(json.dumps({"load_s": load_s, "decode_tokens_per_s": speeds[1:]}))
"""


def bare(folder: Path, prompts: list[dict[str, str]], tokens: int) -> dict[str, Any]:
    """Load and generate with mlx_lm alone, in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BARE, str(folder), json.dumps(prompts), str(tokens)],
        capture_output=True,
        text=True,
        env=child_environment(),
        cwd=tempfile.gettempdir(),
        check=True,
    )
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def wrapped(folder: Path, prompts: list[dict[str, str]], tokens: int) -> dict[str, Any]:
    """Do the same through the wrapper: one warm-up, one measured answer to each prompt."""
    done = workers.generate(folder, prompts, max_tokens=tokens)
    return {
        "load_s": done.load_s,
        "decode_tokens_per_s": [item.decode_tokens_per_s for item in done.answers],
    }


def main() -> None:
    """Alternate both sides and print the ratios of the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=128)
    options = parser.parse_args()
    resolved = workers.resolve(options.model)
    prompts = [
        {"id": item["id"], "prompt": item["prompt"]} for item in workers.prompts_for(resolved)
    ]
    sides: dict[str, list[dict[str, Any]]] = {"bare": [], "wrapper": []}
    for number in range(options.rounds):
        # The order turns each round, so that a drift of the machine hits both sides.
        for name in ("bare", "wrapper") if number % 2 else ("wrapper", "bare"):
            side = bare if name == "bare" else wrapped
            sides[name].append(side(resolved.path, prompts, options.tokens))
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    medians = {
        name: {
            "load_s": statistics.median(run["load_s"] for run in runs),
            "decode_tokens_per_s": statistics.median(
                speed for run in runs for speed in run["decode_tokens_per_s"]
            ),
        }
        for name, runs in sides.items()
    }
    print(
        json.dumps(
            {
                "load_ratio": medians["wrapper"]["load_s"] / medians["bare"]["load_s"],
                "decode_ratio": medians["wrapper"]["decode_tokens_per_s"]
                / medians["bare"]["decode_tokens_per_s"],
                "medians": medians,
                "rounds": sides,
                "model": options.model,
                "date": time.strftime("%Y-%m-%d", time.gmtime()),
                "environment": environment.capture(),
            },
            sort_keys=True,
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
