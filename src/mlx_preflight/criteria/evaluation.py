"""AC1: the evaluation weighs MLX-LM and axolotl and comes to a decision."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from mlx_preflight.core.result import Outcome, Status
from mlx_preflight.criteria import evaluation_evidence, selection
from mlx_preflight.criteria.evaluation_evidence import EvaluationEvidence, of_document
from mlx_preflight.criteria.markdown.document import Document, Listing, Section, Table
from mlx_preflight.criteria.markdown.prose import deduplicated, prose_problem, sentence_problem
from mlx_preflight.criteria.markdown.results import exists, failed, judge, passed
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context

FRAMEWORKS = (selection.SELECTED, selection.FALLBACK)
CRITERIA = {
    "memory": r"\bmemory\b",
    "speed": r"\b(speed|throughput|performance)\b",
    "ease of use": r"\beas[ey]\b",
    "QLoRA": r"\bqlora\b",
    "M1 Max": r"\bm1\b",
}
"""The five rows that the plan wants in the matrix, by the pattern of the row's name."""
MIN_WORDS = 200
MIN_SIDE = 2
"""Items that a list of pros or of cons needs."""
MIN_DISTINCT_CELLS = 4
"""Of a framework's five cells; one may repeat, such as 'not measured yet'."""

_PROS = r"\b(pros|advantages|strengths|benefits)\b"
_CONS = r"\b(cons|disadvantages|weaknesses|drawbacks|limitations)\b"


def gather(_session: Session, context: Context) -> EvaluationEvidence:
    """Parse the evaluation report and read the evidence."""
    return evaluation_evidence.gather(context.project)


def _pros_and_cons(document: Document, *, framework: str) -> Outcome:
    """Judge that a section on one framework has a list of pros and a list of cons."""
    sections = [s for s in document.sections() if _is_about(s, framework)]
    if not sections:
        return failed(f"no section is about {framework} alone")
    section = max(sections, key=lambda s: len(s.prose))
    counts = {}
    texts: list[str] = []
    for side, pattern, other in (("pros", _PROS, _CONS), ("cons", _CONS, _PROS)):
        items = _side(section, pattern, other)
        problem = _items_problem(items)
        if problem:
            return failed(f"'{section.title}', {side}: {problem}")
        texts += items
        counts[side] = len(items)
    if len(deduplicated(texts)) < len(texts):
        return failed(f"'{section.title}': a con repeats a pro")
    return passed(f"'{section.title}' has {counts['pros']} pros, {counts['cons']} cons", **counts)


def _is_about(section: Section, framework: str) -> bool:
    title = section.title.lower()
    others = [name.lower() for name in FRAMEWORKS if name != framework]
    return framework.lower() in title and not any(name in title for name in others)


def _side(section: Section, pattern: str, other: str) -> list[str]:
    """Return the items of the lists that are labelled as this side and not as the other."""

    def labelled(listing: Listing, title: str) -> bool:
        for text in (listing.label, title):
            if re.search(pattern, text, re.IGNORECASE) or re.search(other, text, re.IGNORECASE):
                return not re.search(other, text, re.IGNORECASE)
        return False

    return [
        item
        for part in section.walk()
        for listing in part.lists
        if labelled(listing, part.title)
        for item in listing.items
    ]


def _items_problem(items: list[str]) -> str:
    if len(items) < MIN_SIDE:
        return f"{len(items)} items in a list of that name, at least {MIN_SIDE} are needed"
    for item in items:
        problem = sentence_problem(item)
        if problem:
            return f"{item[:60]!r}: {problem}"
    if len(deduplicated(items)) < len(items):
        return "an item repeats another"
    return ""


def _matrix(document: Document) -> Outcome:
    """Judge that one table compares both frameworks on all five criteria."""
    tables = [table for section in document.root.walk() for table in section.tables]
    if not tables:
        return failed("there is no table")
    problems = [_matrix_problem(table) for table in tables]
    if "" in problems:
        return passed("one table compares both frameworks on five criteria", criteria=len(CRITERIA))
    return failed(f"no table is the matrix: {min(problems, key=len)}")


def _matrix_problem(table: Table) -> str:
    header = [cell.lower() for cell in table.header]
    columns = [next((n for n, c in enumerate(header) if f.lower() in c), 0) for f in FRAMEWORKS]
    if 0 in columns or len(set(columns)) < len(columns):
        return f"no column of its own for {' and '.join(FRAMEWORKS)}"
    cells: list[tuple[str, ...]] = []
    for name in CRITERIA:
        values, problem = _row(table, name, columns)
        if problem:
            return problem
        cells.append(values)
    for n, framework in enumerate(FRAMEWORKS):
        if len(deduplicated(values[n] for values in cells)) < MIN_DISTINCT_CELLS:
            return f"the cells of {framework} repeat each other"
    return ""


def _row(table: Table, name: str, columns: list[int]) -> tuple[tuple[str, ...], str]:
    """Return the frameworks' cells on one criterion, and what is wrong with them."""

    def is_on(criterion: str, label: str) -> bool:
        return bool(re.search(CRITERIA[criterion], label, re.IGNORECASE))

    row = next((r for r in table.rows if r and is_on(name, r[0])), None)
    if row is None:
        return (), f"no row on {name}"
    if any(is_on(other, row[0]) for other in CRITERIA if other != name):
        return (), f"the row {row[0]!r} stands for more than one criterion"
    values = tuple(row[n] if n < len(row) else "" for n in columns)
    problem = next((p for p in map(_cell_problem, values) if p), "")
    if not problem and len(deduplicated(values)) < len(values):
        problem = "says the same of both frameworks"
    return values, f"row {row[0]!r}: {problem}" if problem else ""


SILENT = frozenset(
    re.findall(
        r"\w+",
        "a an and announced applicable as at available be check checked coming completed "
        "decided defined determined discussed do done evaluated fill filled first follow "
        "follows for here in is it later missing n na next no none not nothing of open "
        "pending soon still tba tbc tbd the this to todo unclear unknown until will wip work "
        "yet ",
    )
)
"""Words of cells that are still to be written: of them alone no cell says anything."""


def _cell_problem(cell: str) -> str:
    found = {word.lower() for word in re.findall(r"\w+", cell)}
    return "" if len(found) > 1 and found - SILENT else f"the cell {cell!r} says nothing"


def _decision(found: EvaluationEvidence) -> Outcome:
    """Judge that a decision is recorded and that a rationale follows."""

    def judged(document: Document) -> Outcome:
        recorded = selection.judge_record(found, document)
        if recorded.status is not Status.PASS:
            return recorded
        rationale = document.find(selection.RATIONALE)
        if rationale is None:
            return failed(f"{recorded.reason}, without a section that says why")
        problem = prose_problem(rationale.prose, 40)
        if problem:
            return failed(f"'{rationale.title}': {problem}")
        return passed(f"{recorded.reason}; '{rationale.title}' says why")

    return judge(found.document, judged)


CHECKS: dict[str, Callable[[EvaluationEvidence], Outcome]] = {
    register.AC1_1: lambda found: exists(found.document, MIN_WORDS),
    register.AC1_2: of_document(partial(_pros_and_cons, framework=FRAMEWORKS[0])),
    register.AC1_3: of_document(partial(_pros_and_cons, framework=FRAMEWORKS[1])),
    register.AC1_4: of_document(_matrix),
    register.AC1_5: _decision,
    register.AC1_6: of_document(partial(selection.factors, topics={})),
    register.AC1_7: evaluation_evidence.judge_evidence,
}
