"""AC7: a newcomer can install, verify and fix with the installation guide.

That the commands work is proved by running them (`tests/acceptance/test_guide.py`);
here the guide is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mlx_preflight.core.errors import PreflightError, or_error
from mlx_preflight.core.result import Evidence, Outcome, Status
from mlx_preflight.criteria import guide_commands
from mlx_preflight.criteria.markdown import tables
from mlx_preflight.criteria.markdown.commands import commands
from mlx_preflight.criteria.markdown.document import Document, Section
from mlx_preflight.criteria.markdown.links import link_problems, relative_links
from mlx_preflight.criteria.markdown.prose import (
    deduplicated,
    missing_topics,
    prose_problem,
    sentence_problem,
    words,
)
from mlx_preflight.criteria.markdown.results import (
    Found,
    exists,
    failed,
    judge,
    load_document,
    passed,
)
from mlx_preflight.criteria.markdown.tables import ProjectRequirements
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context

PATH = Path("docs/training/FRAMEWORK_SETUP.md")
EVALUATION, NEXT_TASK = "T001_framework_evaluation.md", "T002"
MIN_WORDS, MIN_SECTION_WORDS = 150, 15
MIN_STEPS, MIN_COMMANDS, MIN_ENTRIES, MIN_VERIFICATIONS = 3, 5, 3, 2

SECTIONS = {
    "prerequisites": r"\bprerequisites?\b",
    "installation": r"\binstall(ation|ing)?\b|\bset-?up\b",
    "verification": r"\bverif(y|ication|ying)\b",
    "troubleshooting": r"\btroubleshooting\b|\bcommon (issues|problems)\b",
}
"""Sections that every guide needs, by the pattern of the title."""

NEEDS = {
    "Python with its version": r"\bpython\b.{0,40}\d",
    "Apple silicon": r"\bm1\b|apple silicon",
    "a virtual environment": r"\bvenv\b|virtual environment",
}
"""Prerequisites that the plan names; each needs an item of its own."""


@dataclass(frozen=True, slots=True)
class GuideFacts:
    """Guide, and what it is compared with.

    Attributes:
        project: What pyproject.toml says, or why that is not known.
        dead_links: What is wrong with the guide's relative links, or why they were not followed.
        broken: Commands of the guide that cannot work, each with its reason.
    """

    guide: Found
    project: ProjectRequirements | str
    dead_links: list[str] | PreflightError
    broken: list[str]


def gather(_session: Session, context: Context) -> GuideFacts:
    """Parse the guide and pyproject.toml, and follow the relative links."""
    found = load_document(context.project / PATH)
    dead: list[str] | PreflightError = []
    broken: list[str] = []
    if not isinstance(found, str):
        dead = or_error(partial(link_problems, found, context.project))
        broken = guide_commands.problems(found, context.project)
    return GuideFacts(found, tables.read(context.project), dead, broken)


def complete(found: Found) -> Outcome:
    """Judge whether a guide exists and each of its four sections has content (AC7.1, AC3.7)."""
    outcome = exists(found, MIN_WORDS)
    if isinstance(found, str) or outcome.status is not Status.PASS:
        return outcome
    for name, pattern in SECTIONS.items():
        section = found.find(pattern)
        if section is None:
            return failed(f"{found.path.name}: no section on {name}")
        problem = prose_problem(section.prose, MIN_SECTION_WORDS)
        if problem:
            return failed(f"'{section.title}': {problem}")
    return outcome


def _section(guide: Document, name: str) -> Section | Outcome:
    section = guide.find(SECTIONS[name])
    return failed(f"no section on {name}") if section is None else section


def _steps(guide: Document) -> Outcome:
    """Judge that the installation is a list of numbered, different steps with commands."""
    section = _section(guide, "installation")
    if isinstance(section, Outcome):
        return section
    parts = list(section.walk())
    lists = [listing.items for part in parts for listing in part.lists if listing.ordered]
    numbered = [s for s in parts if re.match(r"(step\s*)?\d+\b", s.title, re.IGNORECASE)]
    lists.append(tuple(f"{part.title} {part.prose}" for part in numbered))
    good = max(
        ([i for i in deduplicated(items) if not sentence_problem(i)] for items in lists), key=len
    )
    if len(good) < MIN_STEPS:
        return failed(
            f"'{section.title}' has {len(good)} numbered steps that are sentences, "
            f"{MIN_STEPS} are needed",
            steps=len(good),
        )
    typed = commands(section)
    if len(typed) < MIN_STEPS:
        return failed(f"'{section.title}' has {len(typed)} commands for {len(good)} steps")
    return passed(f"{len(good)} steps, {len(typed)} commands", steps=len(good))


def _commands(guide: Document, broken: list[str]) -> Outcome:
    """Judge that at least five commands can be copied from shell blocks, and that each can work."""
    found = commands(guide.root)
    if broken:
        return failed(
            f"{len(broken)} commands cannot work: {'; '.join(broken[:3])}",
            "mend the commands named, or fence what is no command as text",
            commands=len(found),
        )
    if len(found) < MIN_COMMANDS:
        return failed(
            f"{len(found)} commands to copy, {MIN_COMMANDS} are needed",
            "put commands into ```bash blocks, without prompts and placeholders",
            commands=len(found),
        )
    return passed(f"{len(found)} different commands to copy", commands=len(found))


def _dependencies(guide: Document, project: ProjectRequirements) -> Outcome:
    section = guide.find(r"\bdependenc|\brequirements\b|\bpackages\b")
    if section is None:
        return failed("no section lists the dependencies")
    found = tables.problems(section, project)
    if found:
        return failed(f"'{section.title}': {'; '.join(found)}")
    count = tables.count(section)
    return passed(f"{count} packages agree with pyproject.toml", packages=count)


def _troubleshooting(guide: Document) -> Outcome:
    """Judge that at least three problems are described, each with its fix."""
    section = _section(guide, "troubleshooting")
    if isinstance(section, Outcome):
        return section
    good = deduplicated(
        f"{entry.title}. {entry.prose}" for entry in section.children if _has_fix(entry)
    )
    if len(good) < MIN_ENTRIES:
        return failed(
            f"'{section.title}' has {len(good)} different entries with a fix, "
            f"{MIN_ENTRIES} are needed",
            "give each problem a sub-heading, its symptom, and a paragraph that starts with 'Fix:'",
            entries=len(good),
        )
    return passed(f"{len(good)} problems, each with its fix", entries=len(good))


def _has_fix(entry: Section) -> bool:
    """Return whether an entry describes a symptom, and a fix in words or as a command."""
    texts = [*entry.paragraphs, *(item for listing in entry.lists for item in listing.items)]
    fixes = [t for t in texts if re.match(r"(fix|solution|resolution|remedy)\b", t, re.IGNORECASE)]
    rest = [t for t in texts if t not in fixes]
    described = any(not sentence_problem(text) for text in rest)
    return described and any(not sentence_problem(text, 5) for text in fixes)


def _verification(guide: Document) -> Outcome:
    """Judge that commands verify the installation and that their output is described."""
    section = _section(guide, "verification")
    if isinstance(section, Outcome):
        return section
    found = commands(section)
    if len(found) < MIN_VERIFICATIONS:
        return failed(
            f"'{section.title}' has {len(found)} commands, {MIN_VERIFICATIONS} are needed",
            commands=len(found),
        )
    problem = prose_problem(section.prose, MIN_SECTION_WORDS)
    if problem:
        return failed(f"'{section.title}' does not say what to expect: {problem}")
    return passed(f"{len(found)} commands verify the installation", commands=len(found))


def _prerequisites(guide: Document, project: ProjectRequirements) -> Outcome:
    section = _section(guide, "prerequisites")
    if isinstance(section, Outcome):
        return section
    items = [item for part in section.walk() for listing in part.lists for item in listing.items]
    good = deduplicated(item for item in items if not sentence_problem(item))
    missing = missing_topics(good, NEEDS)
    if missing:
        return failed(f"'{section.title}': no item of its own on {', '.join(missing)}")
    stated = re.findall(
        r"\bpython\s*(?:version\s*)?(?:>=|≥)?\s*(\d+\.\d+)", section.prose, re.IGNORECASE
    )
    wrong = [version for version in stated if version not in project.python]
    if wrong or not stated:
        seen = f"Python {', '.join(wrong)}" if wrong else "no version of Python"
        return failed(f"'{section.title}' names {seen}, pyproject.toml wants {project.python}")
    return passed(f"{len(good)} prerequisites, Python {stated[0]}", prerequisites=len(good))


def _references(guide: Document, dead: list[str] | PreflightError) -> Outcome:
    links = relative_links(guide)
    if isinstance(dead, PreflightError):
        raise dead
    if dead:
        return failed("; ".join(dead[:3]), dead_links=len(dead))
    if not any(link.split("#")[0].endswith(EVALUATION) for link in links):
        return failed(f"no link to {EVALUATION}")
    section = guide.find(r"\bnext\b")
    if section is None or NEXT_TASK not in f"{section.prose} {[s.title for s in section.walk()]}":
        return failed(f"no section on the next steps names {NEXT_TASK}")
    if len(set(words(section.prose))) < MIN_SECTION_WORDS:
        return failed(f"'{section.title}' says nothing about {NEXT_TASK}")
    return passed(f"{len(links)} links resolve", links=len(links))


def _with_project(check: Callable[..., Outcome]) -> Callable[[GuideFacts], Outcome]:
    return lambda facts: (
        Outcome(Status.ERROR, facts.project, Evidence.STATIC)
        if isinstance(facts.project, str)
        else judge(facts.guide, partial(check, project=facts.project))
    )


def _of_guide(check: Callable[[Document], Outcome]) -> Callable[[GuideFacts], Outcome]:
    return lambda facts: judge(facts.guide, check)


CHECKS: dict[str, Callable[[GuideFacts], Outcome]] = {
    register.AC7_1: lambda facts: complete(facts.guide),
    register.AC7_2: _of_guide(_steps),
    register.AC7_3: lambda facts: judge(facts.guide, partial(_commands, broken=facts.broken)),
    register.AC7_4: _with_project(_dependencies),
    register.AC7_5: _of_guide(_troubleshooting),
    register.AC7_6: _of_guide(_verification),
    register.AC7_7: _with_project(_prerequisites),
    register.AC7_8: lambda facts: judge(facts.guide, partial(_references, dead=facts.dead_links)),
}
