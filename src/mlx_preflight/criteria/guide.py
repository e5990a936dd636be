"""Judge AC7: a newcomer can install, verify and repair with the installation guide.

That the commands work is proved by running them (`tests/acceptance/test_guide.py`);
here the guide is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mlx_preflight.criteria import references, requirement_table
from mlx_preflight.criteria.judging import Found, exists, failed, judge, look, passed
from mlx_preflight.criteria.requirement_table import Project
from mlx_preflight.criteria.shell_commands import commands
from mlx_preflight.criteria.structure import Document, Section
from mlx_preflight.criteria.substance import (
    distinct,
    prose_problem,
    sentence_problem,
    uncovered,
    words,
)
from mlx_preflight.plan import Session
from mlx_preflight.result import Evidence, Outcome, Status
from mlx_preflight.runner import Context

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
class Facts:
    """Hold the guide, what pyproject.toml says, and the project's root."""

    guide: Found
    project: Project | str
    root: Path


def gather(_session: Session, context: Context) -> Facts:
    """Parse the guide and pyproject.toml."""
    return Facts(
        look(context.project / PATH), requirement_table.read(context.project), context.project
    )


def ac7_1(facts: Facts) -> Outcome:
    """Prove that the guide exists, is prose, and has the sections that it needs."""
    return complete(facts.guide)


def ac7_2(facts: Facts) -> Outcome:
    """Prove that the installation is a list of numbered, different steps with commands."""
    return judge(facts.guide, _steps)


def ac7_3(facts: Facts) -> Outcome:
    """Prove that at least five different commands can be copied from shell blocks."""
    return judge(facts.guide, _commands)


def ac7_4(facts: Facts) -> Outcome:
    """Prove that the versions of the dependencies agree with pyproject.toml."""
    project = facts.project
    if isinstance(project, str):
        return Outcome(Status.ERROR, project, Evidence.STATIC)
    return judge(facts.guide, lambda guide: _dependencies(guide, project))


def ac7_5(facts: Facts) -> Outcome:
    """Prove that at least three problems are described, each with its fix."""
    return judge(facts.guide, _troubleshooting)


def ac7_6(facts: Facts) -> Outcome:
    """Prove that commands verify the installation and that their output is described."""
    return judge(facts.guide, _verification)


def ac7_7(facts: Facts) -> Outcome:
    """Prove that the prerequisites name a Python that the project supports, hardware and venv."""
    project = facts.project
    if isinstance(project, str):
        return Outcome(Status.ERROR, project, Evidence.STATIC)
    return judge(facts.guide, lambda guide: _prerequisites(guide, project))


def ac7_8(facts: Facts) -> Outcome:
    """Prove that the evaluation and the next task are linked, and no relative link is dead."""
    return judge(facts.guide, lambda guide: _references(guide, facts.root))


def complete(found: Found) -> Outcome:
    """Judge whether a guide exists and each of its four sections has content (AC7.1, AC3.7)."""
    whole = exists(found, MIN_WORDS)
    if isinstance(found, str) or whole.status is not Status.PASS:
        return whole
    for name, pattern in SECTIONS.items():
        section = found.find(pattern)
        if section is None:
            return failed(f"{found.path.name}: no section on {name}")
        problem = prose_problem(section.prose, MIN_SECTION_WORDS)
        if problem:
            return failed(f"'{section.title}': {problem}")
    return whole


def _section(guide: Document, name: str) -> Section | Outcome:
    section = guide.find(SECTIONS[name])
    return failed(f"no section on {name}") if section is None else section


def _steps(guide: Document) -> Outcome:
    section = _section(guide, "installation")
    if isinstance(section, Outcome):
        return section
    parts = list(section.walk())
    lists = [listing.items for part in parts for listing in part.lists if listing.ordered]
    numbered = [s for s in parts if re.match(r"(step\s*)?\d+\b", s.title, re.IGNORECASE)]
    lists.append(tuple(f"{part.title} {part.prose}" for part in numbered))
    good = max(
        ([i for i in distinct(items) if not sentence_problem(i)] for items in lists), key=len
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


def _commands(guide: Document) -> Outcome:
    found = commands(guide.root)
    if len(found) < MIN_COMMANDS:
        return failed(
            f"{len(found)} commands to copy, {MIN_COMMANDS} are needed",
            "put commands into ```bash blocks, without prompts and placeholders",
            commands=len(found),
        )
    return passed(f"{len(found)} different commands to copy", commands=len(found))


def _dependencies(guide: Document, project: Project) -> Outcome:
    section = guide.find(r"\bdependenc|\brequirements\b|\bpackages\b")
    if section is None:
        return failed("no section lists the dependencies")
    found = requirement_table.problems(section, project)
    if found:
        return failed(f"'{section.title}': {'; '.join(found)}")
    count = requirement_table.count(section)
    return passed(f"{count} packages agree with pyproject.toml", packages=count)


def _troubleshooting(guide: Document) -> Outcome:
    section = _section(guide, "troubleshooting")
    if isinstance(section, Outcome):
        return section
    good = distinct(
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
    """Say whether an entry describes a symptom, and a fix in words or as a command."""
    texts = [*entry.paragraphs, *(item for listing in entry.lists for item in listing.items)]
    fixes = [t for t in texts if re.match(r"(fix|solution|resolution|remedy)\b", t, re.IGNORECASE)]
    rest = [t for t in texts if t not in fixes]
    described = any(not sentence_problem(text) for text in rest)
    return described and any(not sentence_problem(text, 5) for text in fixes)


def _verification(guide: Document) -> Outcome:
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


def _prerequisites(guide: Document, project: Project) -> Outcome:
    section = _section(guide, "prerequisites")
    if isinstance(section, Outcome):
        return section
    items = [item for part in section.walk() for listing in part.lists for item in listing.items]
    good = distinct(item for item in items if not sentence_problem(item))
    missing = uncovered(good, NEEDS)
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


def _references(guide: Document, root: Path) -> Outcome:
    links = references.relative(guide)
    dead = references.problems(guide, root)
    if dead:
        return failed("; ".join(dead[:3]), dead_links=len(dead))
    if not any(link.split("#")[0].endswith(EVALUATION) for link in links):
        return failed(f"no link to {EVALUATION}")
    section = guide.find(r"\bnext\b")
    if section is None or NEXT_TASK not in f"{section.prose} {[s.title for s in section.walk()]}":
        return failed(f"no section on the next steps names {NEXT_TASK}")
    if len(set(words(section.prose))) < MIN_SECTION_WORDS:
        return failed(f"'{section.title}' says nothing about {NEXT_TASK}")
    return passed(f"{len(links)} links lead where they say", links=len(links))
