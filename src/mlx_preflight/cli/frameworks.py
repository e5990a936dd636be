"""Commands on frameworks: export a configuration, write the evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlx_preflight.cli.options import JsonOption, ProjectOption, expanded, print_json
from mlx_preflight.core.errors import ExitCode
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.memory.options import ExportOptions


def attach(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(
        epilog="Examples:  mlx-preflight export qwen2.5-coder-7b --framework axolotl --backend "
        "cuda  ·  mlx-preflight export embedded --framework mlx-lm --bits 16 --num-layers 4 "
        "--max-seq-length 512 --out run.yaml"
    )(expanded(export))
    app.command(epilog="Example:  mlx-preflight comparison --json")(comparison)
    app.command(
        epilog="Examples:  mlx-preflight evaluation --check  ·  mlx-preflight evaluation --render"
    )(evaluation)


def export(
    model: Annotated[str, typer.Argument(help="Built-in name, folder, hub id or `embedded`.")],
    framework: Annotated[str, typer.Option("--framework", help="Its name, such as axolotl.")],
    out: Annotated[Path | None, typer.Option("--out", help="File; default: its own name.")] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Updates of the adapter.")] = 1000,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="Constant.")] = 1e-5,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    *,
    options: ExportOptions,
    as_json: JsonOption = False,
) -> None:
    """Write a framework's configuration file for chosen settings.

    The comparison (`nox -s compare`) trains with files made by the same function.
    """
    from mlx_preflight.frameworks import framework as frameworks
    from mlx_preflight.frameworks import recipe
    from mlx_preflight.memory import api, traced_run

    plugin = frameworks.find(framework)
    source, settings = api.read(model, options)
    traced_run.check(source.config, settings)
    run = recipe.Recipe(source.place, source.config, settings, steps, learning_rate, seed)
    path = out or Path(plugin.FRAMEWORK.config_file)
    recipe.write(plugin, run, path)
    if as_json:
        about = {"framework": framework, "file": str(path), "settings": plugin.config(run)}
        print_json(about)
    else:
        typer.echo(f"wrote {path}")


def comparison(
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show what `nox -s compare` has measured so far; exit 3 unless every framework is there."""
    from mlx_preflight.frameworks import status

    found = status.comparison_status(Workspace.of(project.resolve()).folder)
    if as_json:
        print_json(found)
    else:
        for line in status.format_lines(found):
            typer.echo(line)
    raise typer.Exit(ExitCode.PASSED if status.is_complete(found) else ExitCode.NOT_JUDGED)


def evaluation(
    project: ProjectOption = Path(),
    check_only: Annotated[
        bool, typer.Option("--check", help="Compare only; exit 1 when something disagrees.")
    ] = False,
    render_only: Annotated[
        bool, typer.Option("--render", help="Write from the evidence that is there already.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Generate docs/training/T001_framework_evaluation.md from the finished comparison.

    Nothing is rewritten unless every framework was measured.
    """
    from mlx_preflight.core.result import Status
    from mlx_preflight.criteria import evaluation_evidence
    from mlx_preflight.documents import evaluation as document

    root = project.resolve()
    if render_only:
        document.render(root)
    elif not check_only:
        document.record(root, Workspace.of(root).folder)
    found = evaluation_evidence.judge_evidence(evaluation_evidence.gather(root))
    if as_json:
        print_json({"status": found.status, "reason": found.reason, "remedy": found.remedy})
    else:
        typer.echo(found.reason)
        if found.remedy:
            typer.echo(f"  try: {found.remedy}")
    raise typer.Exit(ExitCode.of(found.status is Status.PASS))
