"""Commands on models: load, generate, sign off, download, synthesize, diagnose, document."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from mlx_preflight.cli import history
from mlx_preflight.cli.options import (
    JsonOption,
    ProjectOption,
    expanded,
    find_state,
    load_context,
    note,
    print_json,
    progress,
    show_facts,
)
from mlx_preflight.core.errors import CheckpointError, ExitCode
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.plan import profiles
from mlx_preflight.plan.options import RunOptions


def attach(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(epilog="Example:  mlx-preflight load --model ./my-model --json")(load)
    app.command(
        epilog='Example:  mlx-preflight generate "Write a function that adds two numbers."'
    )(generate)
    app.command("sign-off", epilog="Example:  mlx-preflight sign-off AC5 --note 'read all eight'")(
        sign_off
    )
    app.command(epilog="Example:  mlx-preflight doctor --model Qwen/Qwen2.5-Coder-7B-Instruct")(
        expanded(doctor)
    )
    app.command(epilog="Example:  mlx-preflight download Qwen/Qwen2.5-Coder-7B-Instruct")(download)
    app.command(epilog="Example:  mlx-preflight synthesize qwen2.5-coder-7b")(synthesize)
    app.command(epilog="Example:  mlx-preflight document --check")(document)


def load(
    model: Annotated[str, typer.Option("--model", help="`embedded`, a folder or a hub id.")] = (
        profiles.EMBEDDED
    ),
    as_json: JsonOption = False,
) -> None:
    """Validate a checkpoint, load it in a child process, and show its facts."""
    from mlx_preflight.models import checkpoint, validation
    from mlx_preflight.runtime import workers

    with progress(f"loading {model}", quiet=as_json):
        resolved = workers.resolve(model)
        found = checkpoint.inspect(resolved.path)
        validation.validate(found).raise_if_invalid(found)
        loaded = workers.load(resolved.path)
    if loaded.faults:
        raise CheckpointError(
            f"{resolved.path}: {'; '.join(loaded.faults)}",
            hint="take tokenizer and weights from one repository and revision",
        )
    facts = {**resolved.describe(), "disk_bytes": found.total_bytes, **dataclasses.asdict(loaded)}
    if not as_json:
        facts |= {
            "dtypes": ", ".join(loaded.dtypes),
            "trips": ", ".join(check.name for check in loaded.trips),
        }
    show_facts("Model loaded successfully", facts, as_json=as_json)


def generate(
    prompt: Annotated[str, typer.Argument(help="What to ask the model.")],
    model: Annotated[str, typer.Option("--model", help="`embedded`, a folder or a hub id.")] = (
        profiles.EMBEDDED
    ),
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, max=8192)] = 128,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, max=2.0)] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Ask the model one question through its chat template and measure the answer."""
    from mlx_preflight.models import checkpoint, validation
    from mlx_preflight.runtime import workers

    with progress(f"asking {model}", quiet=as_json):
        found = checkpoint.inspect(workers.resolve(model).path)
        # NaN weights answer too, and so do those of another type.
        validation.validate(found, chat=False).raise_if_invalid(found)
        generation = workers.generate(
            found.folder,
            [{"id": "asked", "prompt": prompt}],
            max_tokens=max_tokens,
            seed=seed,
            temperature=temperature,
            warm_up=False,
        )
    answer = dataclasses.asdict(generation.answers[0])
    for line in generation.notes:
        note(f"warning: {line}")
    if as_json:
        print_json({**answer, "notes": generation.notes})
    else:
        from mlx_preflight.report import screen

        screen.show_answer(answer)


def sign_off(
    criterion: Annotated[str, typer.Argument(help="Criterion that a person validates: AC5.")],
    note: Annotated[str, typer.Option("--note", help="What you saw.")],
    who: Annotated[str | None, typer.Option("--who", help="Your name; default: git's.")] = None,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Record that a person read the answers; it expires when the answers change."""
    from mlx_preflight.core import environment
    from mlx_preflight.criteria import sign_off as signing

    name = who or environment.git_user(project)
    signed = signing.record(find_state(project), criterion, name, note)
    if as_json:
        print_json(dataclasses.asdict(signed))
    else:
        typer.echo(
            f"{signed.check} signed off by {signed.who} on {signed.when} "
            f"for answers {signed.digest[:12]}"
        )
    if Workspace(find_state(project)).report.is_file() and (
        said := history.remember(find_state(project))
    ):
        typer.echo(said, err=True)


def doctor(
    project: ProjectOption = Path(),
    *,
    options: RunOptions,
    as_json: JsonOption = False,
) -> None:
    """Diagnose download, memory, imports, answers and the machine, with the fix for each.

    The exit code is 1 when a problem was found and 3 when something could not be checked.
    """
    from mlx_preflight.doctor import DoctorTarget, Severity, diagnose

    context = load_context(project, options, needs_table=False)
    with progress("checking", quiet=as_json):
        found = diagnose(DoctorTarget(context.model, context.budget_bytes, context.state))
    if as_json:
        print_json([dataclasses.asdict(item) for item in found])
    else:
        from mlx_preflight.report import screen

        screen.show_diagnosis(found)
    seen = {item.severity for item in found}
    if Severity.PROBLEM in seen:
        raise typer.Exit(ExitCode.FAILED)
    raise typer.Exit(ExitCode.NOT_JUDGED if Severity.UNKNOWN in seen else ExitCode.PASSED)


def download(
    repo: Annotated[str, typer.Argument(help="Hub id, owner/name.")],
    revision: Annotated[
        str | None, typer.Option("--revision", help="Branch, tag or commit; pinned to a commit.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Download a model from the hub, resuming, and verify every file against its listing."""
    from mlx_preflight.models import hub

    done = hub.download(repo, revision=revision, note=note)
    facts = {**dataclasses.asdict(done), "folder": str(done.folder)}
    show_facts("Downloaded and verified", facts, as_json=as_json)


def synthesize(
    model: Annotated[str, typer.Argument(help="Built-in name, such as qwen2.5-coder-7b.")],
    as_json: JsonOption = False,
) -> None:
    """Make random 4-bit weights of a known model's shapes, to load and train at its real size.

    `--model synthetic:NAME` uses them; what they answer means nothing.
    """
    from mlx_preflight.models import catalog
    from mlx_preflight.runtime import synthesize as synthetic

    found = catalog.find_synthetic(model)
    with progress(f"making random weights of {found.name}", quiet=as_json):
        folder = synthetic.make(model, note)
    facts = {
        "model": f"{profiles.SYNTHETIC_PREFIX}{found.name}",
        "folder": str(folder),
        "parameters": found.parameters,
    }
    show_facts("Random weights", facts, as_json=as_json)


def document(
    project: ProjectOption = Path(),
    check_only: Annotated[
        bool, typer.Option("--check", help="Compare only; exit 1 when one disagrees.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Generate docs/training/ from the last AC5 and AC6 results, kept as dated evidence."""
    from mlx_preflight.documents import training_documents

    root, state = project.resolve(), find_state(project)
    differences = {}
    for item in training_documents.DOCUMENTS:
        if not check_only:
            training_documents.record(item, root, state)
        differences[item.name] = training_documents.disagreement(item, root)
    if as_json:
        print_json(differences)
    else:
        for name, difference in differences.items():
            typer.echo(f"{name}: {difference or 'agrees with its evidence'}")
    raise typer.Exit(ExitCode.of(not any(differences.values())))
