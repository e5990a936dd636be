"""Tools that predict memory and search settings that fit, each in a child that can be killed."""

from __future__ import annotations

import sys
from pathlib import Path
from subprocess import DEVNULL
from typing import Annotated, Any, Literal

import anyio
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from mcp_local import answers
from mcp_local.arguments import BatchSize, Budget, Layers, Project, Rank, RowLength, errors
from mcp_local.projects import Projects
from mlx_preflight.core.child import child_environment
from mlx_preflight.core.errors import ERROR_FIELDS
from mlx_preflight.core.json_file import parse_json
from mlx_preflight.core.text import one_line
from mlx_preflight.core.workspace import NAME

_ESTIMATE_S = 120.0
_AT_ONCE = 2
"""Estimates side by side: each imports MLX and traces a step; others wait for their turn."""


class EstimateTools:
    """Tools of memory predictions for the served projects."""

    def __init__(self, served: Projects) -> None:
        """Keep the projects."""
        self.served = served
        self._places = anyio.Semaphore(_AT_ONCE)

    async def estimate_memory(
        self,
        model: Annotated[str, Field(min_length=1, max_length=500)],
        project: Project = "",
        inference: bool = False,
        batch_size: BatchSize = 4,
        max_seq_length: RowLength = 2048,
        num_layers: Layers = 16,
        rank: Rank = 8,
        grad_checkpoint: bool = False,
        prompt_tokens: RowLength = 2048,
        generate_tokens: Annotated[int, Field(ge=0, le=1_000_000)] = 128,
        kv_bits: Annotated[int | None, Field(ge=2, le=8)] = None,
        bits: Annotated[int | None, Field(ge=2, le=16)] = None,
        backend: Literal["", "metal", "cpu", "cuda"] = "",
        budget_gb: Budget | None = None,
    ) -> answers.Document:
        """Predict the peak memory of training, or of generation with inference=true.

        Simulated: nothing is run. Model: a built-in name, `embedded`, a hub id, or a path in
        the project. Generation depends on prompt_tokens, generate_tokens and kv_bits; training
        on batch_size, max_seq_length, num_layers, rank and grad_checkpoint.
        """
        with errors():
            folder = self.served.find(project)
            if inference:
                options = ["--inference", f"--prompt-tokens={prompt_tokens}"]
                options += [f"--generate-tokens={generate_tokens}"]
                options += [f"--kv-bits={kv_bits}"] if kv_bits else []
            else:
                options = [f"--batch-size={batch_size}", f"--max-seq-length={max_seq_length}"]
                options += [f"--num-layers={num_layers}", f"--rank={rank}"]
                options += ["--grad-checkpoint"] if grad_checkpoint else []
            options += [f"--bits={bits}"] if bits else []
            options += [f"--backend={backend}"] if backend else []
            options += [f"--budget-gb={budget_gb!r}"] if budget_gb else []
            named = self.served.model(model, folder)
            document = await self._command(folder, "estimate", *options, "--json", "--", named)
            return answers.Document.of(document)

    async def fit_settings(
        self,
        model: Annotated[str, Field(min_length=1, max_length=500)],
        budget_gb: Budget,
        project: Project = "",
        batch_size: BatchSize = 4,
        max_seq_length: RowLength = 2048,
        num_layers: Layers = 16,
        rank: Rank = 8,
        keep: Annotated[str, Field(max_length=200, pattern="^[a-z_,]*$")] = "",
        backend: Literal["", "metal", "cpu", "cuda"] = "",
        write: bool = False,
    ) -> answers.Document:
        """Search the training settings that fit a budget; write=true keeps the configs.

        They are written to `.preflight/configs` of the project and are resources then.
        """
        with errors():
            folder = self.served.find(project)
            options = [f"--budget-gb={budget_gb!r}", *([f"--keep={keep}"] if keep else [])]
            options += [f"--batch-size={batch_size}", f"--max-seq-length={max_seq_length}"]
            options += [f"--num-layers={num_layers}", f"--rank={rank}"]
            options += [f"--backend={backend}"] if backend else []
            target = self.served.inside(folder, f"{NAME}/configs")
            options += [f"--write={target}"] if write else []
            named = self.served.model(model, folder)
            document = await self._command(folder, "fit", *options, "--json", "--", named)
            return answers.Document.of(document)

    async def _command(self, folder: Path, *arguments: str) -> dict[str, Any]:
        """Run a command of the package in a child and return its JSON; cancelling kills it.

        Raises:
            ToolError: It failed; the text is its own.
        """
        command = [sys.executable, "-m", "mlx_preflight", *arguments]
        try:
            async with self._places:
                with anyio.fail_after(_ESTIMATE_S):
                    done = await anyio.run_process(
                        command, cwd=folder, env=child_environment(), stdin=DEVNULL, check=False
                    )
        except TimeoutError:
            raise ToolError(f"no answer within {_ESTIMATE_S:.0f} s") from None
        try:
            document = parse_json(done.stdout)
        except ValueError:
            raise ToolError(_own_error(done.stderr) or f"exit {done.returncode}") from None
        if isinstance(document, dict) and document.keys() == set(ERROR_FIELDS):
            raise ToolError(_own_error(done.stderr) or one_line(document["error"], 1000))
        return document if isinstance(document, dict) else {"answer": document}


def _own_error(stderr: bytes) -> str:
    """Return the command's own error and its hint, in the form of every other tool's."""
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    begin = max((at for at, line in enumerate(lines) if line.startswith("error: ")), default=-3)
    parts = [line.strip().removeprefix("error: ").removeprefix("try: ") for line in lines[begin:]]
    return one_line("; ".join(parts), 1000)
