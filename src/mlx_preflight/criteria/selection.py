"""AC2: one framework is selected, for reasons, with its price and a way back."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from mlx_preflight.core.errors import PreflightError
from mlx_preflight.core.result import Outcome, Status
from mlx_preflight.criteria import evaluation_evidence
from mlx_preflight.criteria.evaluation_evidence import RENDER, EvaluationEvidence, of_document
from mlx_preflight.criteria.markdown.document import Document, Section
from mlx_preflight.criteria.markdown.prose import (
    deduplicated,
    missing_topics,
    prose_problem,
    sentence_problem,
)
from mlx_preflight.criteria.markdown.results import failed, judge, passed
from mlx_preflight.documents import decision
from mlx_preflight.plan import register
from mlx_preflight.plan.spec import Session
from mlx_preflight.run.context import Context

SELECTED, FALLBACK = "MLX-LM", decision.RUNNER_UP
MIN_FACTORS, FACTOR_WORDS = 3, 8
MIN_STEPS = 2

DECISION = r"\b(decision|selection|recommendation|conclusion)\b"
RATIONALE = r"\b(rationale|decision factors|why|justification)\b"
FACTORS = {
    "M1 Max or Metal": r"\bm1\b|\bmetal\b|apple silicon",
    "memory": r"\bmemory\b",
    "ease of use or setup": r"\beas[ey]|\bsimpl|\bsetup\b|\binstall",
}
"""The three factors that the plan names; each needs an item of its own."""
TRADE_OFFS = {
    "a smaller ecosystem": r"ecosystem|community|integration",
    "Apple first": r"\bapple|\bm1\b|\bmac|platform",
    "a newer framework": r"\bnew|\byoung|matur|\brecent",
}
"""The three trade-offs that the plan names; each needs an item of its own."""


def gather(_session: Session, context: Context) -> EvaluationEvidence:
    """Parse the evaluation report and read the evidence."""
    return evaluation_evidence.gather(context.project)


def ac2_5(found: EvaluationEvidence) -> Outcome:
    """Compare the selection with what the measured scores and the weights give."""

    def computed(document: Document) -> Outcome:
        records = _records(document)
        stated = records[0].get(decision.SELECTED, "") if len(records) == 1 else ""
        return evaluation_evidence.judge_selection(found, stated)

    return judge(found.document, computed)


def judge_record(found: EvaluationEvidence, document: Document) -> Outcome:
    """Judge that the document holds one decision record, the one that the evidence gives."""
    records = _records(document)
    if len(records) != 1:
        return failed(f"{len(records)} decision records, exactly one is needed", RENDER)
    if isinstance(found.decision, PreflightError):
        raise found.decision
    for key, wanted in found.decision.items():
        stated = records[0].get(key, "nothing")
        if stated != wanted:
            return failed(f"the decision record says {key} {stated!r}, not {wanted!r}", RENDER)
    if more := set(records[0]) - set(found.decision):
        return failed(f"the decision record also says {', '.join(sorted(more))}", RENDER)
    return passed(f"{records[0][decision.SELECTED]} is selected, {records[0][decision.STATUS]}")


def _records(document: Document) -> list[dict[str, str]]:
    """Return every table that is a decision record; a row twice makes it none of ours."""
    found = []
    for section in document.root.walk():
        for table in section.tables:
            rows = [
                (row[0].strip().lower(), " ".join(row[1:]).strip("` ")) for row in table.rows if row
            ]
            keys = [key for key, _ in rows]
            if {decision.SELECTED, decision.STATUS} <= set(keys):
                twice = {key: "twice" for key in keys if keys.count(key) > 1}
                found.append(dict(rows) | twice)
    return found


def factors(document: Document, topics: dict[str, str]) -> Outcome:
    """Judge the decision factors: enough of them, distinct, and on the topics asked for."""
    section = document.find(RATIONALE)
    if section is None:
        return failed("no section gives a rationale")
    good = _substantive(section, FACTOR_WORDS)
    if len(good) < MIN_FACTORS:
        return failed(
            f"'{section.title}' has {len(good)} distinct decision factors of at least "
            f"{FACTOR_WORDS} words, {MIN_FACTORS} are needed",
            factors=len(good),
        )
    missing = missing_topics(good, topics)
    if missing:
        return failed(f"'{section.title}': no factor of its own on {', '.join(missing)}")
    return passed(f"'{section.title}' has {len(good)} decision factors", factors=len(good))


def _statement(found: EvaluationEvidence) -> Outcome:
    """Judge that MLX-LM is selected: by the record, with words around it for the reader."""

    def judged(document: Document) -> Outcome:
        recorded = judge_record(found, document)
        if recorded.status is not Status.PASS:
            return recorded
        section = document.find(DECISION)
        if section is None:
            return failed("no section is about the decision")
        if problem := prose_problem(section.prose, FACTOR_WORDS):
            return failed(f"'{section.title}': {problem}")
        if _records(document)[0][decision.SELECTED] != SELECTED:
            return failed(f"the decision record selects another one than {SELECTED}")
        return passed(f"'{section.title}': {recorded.reason}")

    return judge(found.document, judged)


def _trade_offs(document: Document) -> Outcome:
    """Judge that the price is named: ecosystem, platform and youth of the framework."""
    section = document.find(r"trade-?\s?offs?|limitations|downsides|disadvantages")
    if section is None:
        return failed("no section names the trade-offs")
    good = _substantive(section, FACTOR_WORDS)
    missing = missing_topics(good, TRADE_OFFS)
    if missing:
        return failed(f"'{section.title}': nothing of its own on {', '.join(missing)}")
    return passed(f"'{section.title}' names {len(good)} trade-offs", trade_offs=len(good))


def _fallback(document: Document) -> Outcome:
    """Judge that a fallback to axolotl has a trigger and steps."""
    section = document.find(r"fallback|fall-back|alternative|backup")
    if section is None:
        return failed("no section describes a fallback")
    problem = prose_problem(section.prose, 30)
    if problem:
        return failed(f"'{section.title}': {problem}")
    if FALLBACK not in section.prose.lower():
        return failed(f"'{section.title}' does not name {FALLBACK}")
    steps = _substantive(section, 4, ordered=True)
    if len(steps) < MIN_STEPS:
        return failed(f"'{section.title}' has {len(steps)} numbered steps, {MIN_STEPS} are needed")
    triggers = re.findall(
        r"\b(?:if|when|once|as soon as)\b[^.;]{15,}", section.prose, re.IGNORECASE
    )
    if not triggers:
        return failed(f"'{section.title}' does not say when to fall back")
    return passed(f"'{section.title}': a trigger and {len(steps)} steps", steps=len(steps))


def _substantive(section: Section, least: int, *, ordered: bool = False) -> list[str]:
    """Return the longest list of distinct, substantive items or sub-sections."""
    candidates: list[list[str]] = [
        list(listing.items)
        for part in section.walk()
        for listing in part.lists
        if listing.ordered or not ordered
    ]
    if not ordered:
        candidates.append([f"{child.title}. {child.prose}" for child in section.children])
    good = (
        deduplicated(item for item in candidate if not sentence_problem(item, least))
        for candidate in candidates
    )
    return max(good, key=len, default=[])


CHECKS: dict[str, Callable[[EvaluationEvidence], Outcome]] = {
    register.AC2_1: _statement,
    register.AC2_2: of_document(partial(factors, topics=FACTORS)),
    register.AC2_3: of_document(_trade_offs),
    register.AC2_4: of_document(_fallback),
    register.AC2_5: ac2_5,
}
