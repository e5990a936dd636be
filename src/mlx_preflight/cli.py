"""Define the commands. Each is thin: parse, call one function, print its result.

Models and reports are imported by the command that needs them, so `--help` is quick.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mlx_preflight import (
    __version__,
    cli_advisories,
    cli_ci,
    cli_compare,
    cli_gates,
    cli_init,
    cli_mcp,
    cli_memory,
    plan,
    register,
)
from mlx_preflight.errors import CheckpointError, PreflightError, UsageError
from mlx_preflight.result import Status
from mlx_preflight.runner import Context, new_run_id, run_session

app = typer.Typer(
    name="mlx-preflight",
    help="Can I fine-tune this model on this machine, and is everything green before I start?",
    epilog="Examples:  mlx-preflight list  ·  mlx-preflight check ac4-loading --json  ·  "
    "mlx-preflight report",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain help: rich would cost half of the 0.3 s that `--help` may take.
    rich_markup_mode=None,
)

ProjectOption = Annotated[Path, typer.Option("--project", help="Root of the project to judge.")]
ProfileOption = Annotated[str | None, typer.Option("--profile", help="Profile, see `list`.")]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="Model folder or hub id instead of the profile's.")
]
BudgetOption = Annotated[
    float | None, typer.Option("--budget-gb", help="Memory budget in GB (10^9 bytes).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]

_RENDERERS = {
    **{name: name for name in ("markdown", "html", "junit", "sarif")},
    "summary": "markdown",
}
"""Format of `report` → module that renders it; a step summary is the capped Markdown."""

EXIT_CODES = {Status.PASS: 0, Status.FAIL: 1, Status.ERROR: 3, Status.BLOCKED: 3}


def _version(value: bool) -> None:
    if value:
        typer.echo(f"mlx-preflight {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _show: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Can I fine-tune this model on this machine, and is everything green before I start?"""


@app.command("list", epilog="Example:  mlx-preflight list --json")
def list_plan(as_json: JsonOption = False) -> None:
    """List every session and check of the plan, and the profiles."""
    if as_json:
        _print_json(
            {
                "sessions": [
                    {
                        "id": item.id,
                        "title": item.title,
                        "tag": item.tag,
                        "required": item.required,
                        "checks": [
                            {"id": c.id, "title": c.title, "blocked": c.blocked or None}
                            for c in item.checks
                        ],
                    }
                    for item in register.SESSIONS
                ],
                "profiles": {
                    name: {"model": p.model, "evidence": p.evidence, "budget_gb": p.budget_gb}
                    for name, p in plan.PROFILES.items()
                },
            }
        )
        return
    from mlx_preflight.report import screen

    screen.show_plan(register.SESSIONS, plan.PROFILES)


@app.command(
    epilog="Examples:  mlx-preflight check gate2-lint  ·  mlx-preflight check AC4.3 --json"
)
def check(
    check_id: Annotated[str, typer.Argument(metavar="ID", help="Session or check id.")],
    project: ProjectOption = Path(),
    profile: ProfileOption = None,
    model: ModelOption = None,
    budget_gb: BudgetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run one session of the plan in this venv and write its result file.

    A check id runs its whole session; only that check decides the exit code then.
    """
    session, single = register.find_session(check_id)
    context = context_of(project, profile, model, budget_gb)
    finished = run_session(session, context)
    if as_json:
        _print_json(finished.to_json())
    else:
        from mlx_preflight.report import screen

        screen.show_session(finished)
    status = finished.status
    if single is not None:
        status = next(item.status for item in finished.checks if item.id == single.id)
    raise typer.Exit(EXIT_CODES[status])


@app.command(epilog="Example:  mlx-preflight summary --json")
def summary(project: ProjectOption = Path(), as_json: JsonOption = False) -> None:
    """Judge the last run, write its reports (JSON, Markdown, JUnit, SARIF), show the verdict."""
    from mlx_preflight.summary import summarize

    state = _state(project)
    verdict, document = summarize(state, new_run_id())
    if as_json:
        _print_json(document)
    else:
        from mlx_preflight.report import terminal

        terminal.show_report(document, state / "report.md")
    if said := cli_mcp.remember(state):
        typer.echo(said, err=True)
    for line in _hand_off(document, state.parent):
        typer.echo(f"hand-off: {line}", err=as_json)
    raise typer.Exit(verdict.exit_code)


@app.command(
    epilog="Examples:  mlx-preflight report --format markdown > report.md  ·  "
    'mlx-preflight report --format summary >> "$GITHUB_STEP_SUMMARY"'
)
def report(
    project: ProjectOption = Path(),
    form: Annotated[
        str,
        typer.Option("--format", help="terminal, markdown, html, summary, junit, sarif or json."),
    ] = "terminal",
    as_json: JsonOption = False,
) -> None:
    """Show the last report again; the exit code is its verdict's."""
    from mlx_preflight.report import document as documents

    forms = ("terminal", "json", *_RENDERERS)
    if form not in forms:
        raise UsageError(f"unknown format {form!r}{plan.suggest(form, forms)}")
    state = _state(project)
    try:
        data = documents.read(state / "report.json")
    except PreflightError as error:
        if form == "summary" and not as_json:
            from mlx_preflight.report import markdown

            # A step summary that stays empty would say nothing at all.
            typer.echo(markdown.without_report(error), nl=False)
        raise
    if as_json or form == "json":
        _print_json(data)
    elif form == "terminal":
        from mlx_preflight.report import terminal

        terminal.show_report(data, state / "report.md")
    else:
        renderer = importlib.import_module(f"mlx_preflight.report.{_RENDERERS[form]}")
        typer.echo(renderer.render(data), nl=False)
    raise typer.Exit(int(data["exit_code"]))


@app.command(epilog="Example:  mlx-preflight load --model ./my-model --json")
def load(
    model: Annotated[str, typer.Option("--model", help="`embedded`, a folder or a hub id.")] = (
        plan.EMBEDDED
    ),
    as_json: JsonOption = False,
) -> None:
    """Validate a checkpoint, load it in a child process, and say what it is."""
    from mlx_preflight.model import checkpoint, runtime, soundness

    with _progress(f"loading {model}", quiet=as_json):
        resolved = runtime.resolve(model)
        found = checkpoint.inspect(resolved.path)
        soundness.examine(found).demand(found)
        loaded = runtime.load(resolved.path)
    if loaded.faults:
        raise CheckpointError(
            f"{resolved.path}: {'; '.join(loaded.faults)}",
            hint="take tokenizer and weights from one repository and revision",
        )
    facts = {**resolved.describe(), "disk_bytes": found.total_bytes, **dataclasses.asdict(loaded)}
    if as_json:
        _print_json(facts)
    else:
        from mlx_preflight.report import screen

        facts |= {
            "dtypes": ", ".join(loaded.dtypes),
            "trips": ", ".join(trip.name for trip in loaded.trips),
        }
        screen.show_facts("Model loaded successfully", facts)


@app.command(epilog='Example:  mlx-preflight generate "Write a function that adds two numbers."')
def generate(
    prompt: Annotated[str, typer.Argument(help="What to ask the model.")],
    model: Annotated[str, typer.Option("--model", help="`embedded`, a folder or a hub id.")] = (
        plan.EMBEDDED
    ),
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, max=8192)] = 128,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, max=2.0)] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Ask the model one question through its chat template and measure the answer."""
    from mlx_preflight.model import checkpoint, runtime

    with _progress(f"asking {model}", quiet=as_json):
        folder = checkpoint.inspect(runtime.resolve(model).path).folder
        generation = runtime.generate(
            folder,
            [{"id": "asked", "prompt": prompt}],
            max_tokens=max_tokens,
            seed=seed,
            temperature=temperature,
            warm_up=False,
        )
    answer = dataclasses.asdict(generation.answers[0])
    if as_json:
        _print_json(answer)
    else:
        from mlx_preflight.report import screen

        screen.show_answer(answer)


@app.command("sign-off", epilog="Example:  mlx-preflight sign-off AC5 --note 'read all eight'")
def sign_off(
    criterion: Annotated[str, typer.Argument(help="Criterion that wants a reader: AC5.")],
    note: Annotated[str, typer.Option("--note", help="What you saw.")],
    who: Annotated[str | None, typer.Option("--who", help="Your name; default: git's.")] = None,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Record that a person read the answers; it expires when the answers change."""
    from mlx_preflight import environment
    from mlx_preflight.criteria import sign_off as signing

    name = who or environment.git_user(project)
    signed = signing.record(_state(project), criterion, name, note)
    if as_json:
        _print_json(dataclasses.asdict(signed))
    else:
        typer.echo(
            f"{signed.check} signed off by {signed.who} on {signed.when} "
            f"for answers {signed.digest[:12]}"
        )
    if (_state(project) / "report.json").is_file() and (said := cli_mcp.remember(_state(project))):
        typer.echo(said, err=True)


def context_of(
    project: Path,
    profile: str | None = None,
    model: str | None = None,
    budget_gb: float | None = None,
) -> Context:
    """Return what a session run from the command line may read.

    Raises:
        UsageError: No such project, profile or key in its table.
    """
    project = project.resolve()
    settings = plan.load_settings(project)
    chosen = plan.choose(settings, profile=profile, model=model, budget_gb=budget_gb)
    return Context(
        project=project,
        state=project / ".preflight",
        run_id=new_run_id(),
        profile=chosen,
        settings=settings,
        model=chosen.model,
        evidence=chosen.evidence,
        budget_bytes=int(chosen.budget_gb * 1e9),
        note=lambda line: print(line, file=sys.stderr, flush=True),
    )


def _state(project: Path) -> Path:
    project = project.resolve()
    if not project.is_dir():
        raise UsageError(f"{project}: not a folder")
    return project / ".preflight"


def _hand_off(document: dict[str, Any], project: Path) -> tuple[str, ...]:
    """Write the files for the next agent where the project's table asks for them."""
    from mlx_preflight.report import handoff

    if not (project / "pyproject.toml").is_file():
        return ()
    return handoff.write(document, project, plan.load_settings(project))


def _progress(text: str, *, quiet: bool) -> Any:
    from rich.console import Console

    return Console(stderr=True, quiet=quiet).status(text)


def _print_json(document: object) -> None:
    typer.echo(json.dumps(document, sort_keys=True, indent=1, allow_nan=False))


@app.command(epilog="Example:  mlx-preflight doctor --model Qwen/Qwen2.5-Coder-7B-Instruct")
def doctor(
    project: ProjectOption = Path(),
    profile: ProfileOption = None,
    model: ModelOption = None,
    budget_gb: BudgetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Diagnose download, memory, imports, answers and the machine, with the fix for each.

    The exit code is 1 when a problem was found and 3 when something could not be examined.
    """
    from mlx_preflight.doctor import Patient, Severity, diagnose

    context = context_of(project, profile, model, budget_gb)
    with _progress("examining", quiet=as_json):
        found = diagnose(Patient(context.model, context.budget_bytes, context.state))
    if as_json:
        _print_json([dataclasses.asdict(item) for item in found])
    else:
        from mlx_preflight.report import screen

        screen.show_diagnosis(found)
    seen = {item.severity for item in found}
    if Severity.PROBLEM in seen:
        raise typer.Exit(1)
    raise typer.Exit(3 if Severity.UNKNOWN in seen else 0)


@app.command(epilog="Example:  mlx-preflight download Qwen/Qwen2.5-Coder-7B-Instruct")
def download(
    repo: Annotated[str, typer.Argument(help="Hub id, owner/name.")],
    revision: Annotated[
        str | None, typer.Option("--revision", help="Branch, tag or commit; pinned to a commit.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Download a model from the hub, resuming, and verify every file against its listing."""
    from mlx_preflight.model import hub

    done = hub.download(
        repo, revision=revision, note=lambda line: print(line, file=sys.stderr, flush=True)
    )
    facts = {**dataclasses.asdict(done), "folder": str(done.folder)}
    if as_json:
        _print_json(facts)
    else:
        from mlx_preflight.report import screen

        screen.show_facts("Downloaded and verified", facts)


@app.command(epilog="Example:  mlx-preflight synthesize qwen2.5-coder-7b")
def synthesize(
    model: Annotated[str, typer.Argument(help="Built-in name, such as qwen2.5-coder-7b.")],
    as_json: JsonOption = False,
) -> None:
    """Make random 4-bit weights of a known model's shapes, to load and train at its real size.

    `--model synthetic:NAME` uses them; what they answer means nothing.
    """
    from mlx_preflight.model import synthetic

    found = synthetic.find(model)
    with _progress(f"making random weights of {found.name}", quiet=as_json):
        folder = synthetic.make(model, lambda line: print(line, file=sys.stderr, flush=True))
    facts = {
        "model": f"{plan.SYNTHETIC_PREFIX}{found.name}",
        "folder": str(folder),
        "parameters": found.parameters,
    }
    if as_json:
        _print_json(facts)
    else:
        from mlx_preflight.report import screen

        screen.show_facts("Random weights", facts)


@app.command(epilog="Example:  mlx-preflight document --check")
def document(
    project: ProjectOption = Path(),
    check_only: Annotated[
        bool, typer.Option("--check", help="Compare only; exit 1 when one disagrees.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Generate docs/training/ from the last AC5 and AC6 results, kept as dated evidence."""
    from mlx_preflight.report import training_documents

    root, state = project.resolve(), _state(project)
    differences = {}
    for item in training_documents.DOCUMENTS:
        if not check_only:
            training_documents.record(item, root, state)
        differences[item.name] = training_documents.disagreement(item, root)
    if as_json:
        _print_json(differences)
    else:
        for name, difference in differences.items():
            typer.echo(f"{name}: {difference or 'agrees with its evidence'}")
    raise typer.Exit(1 if any(differences.values()) else 0)


cli_memory.attach(app)
cli_gates.attach(app)
cli_ci.attach(app)
cli_compare.attach(app)
cli_init.attach(app)
cli_advisories.attach(app)
cli_mcp.attach(app)
