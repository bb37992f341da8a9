"""Fit when a system should refuse, and say what that costs, by drafts with and without the documents that answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from bakeoff.errors import DataError
from bakeoff.evaluation.comparison import RIGHT
from bakeoff.evaluation.metrics import recall
from bakeoff.retrieval import Without
from bakeoff.systems import RAG
from bakeoff.systems.decider import Decider, Draft, fit
from bakeoff.types import Example

Progress = Callable[[int, int, str], None]
LEAST = 20
"""Examples below which nothing is fitted."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was fitted, and how it does on the drafts it was fitted to, each judged by a model that had not seen it."""

    decider: Decider
    curve: tuple[tuple[float, float], ...]
    """(share of questions answered, share of these that are wrong), from the surest answer to all."""


def calibrate(system: RAG, examples: Sequence[Example], progress: Progress | None = None) -> Calibration:
    """Fit when `system` refuses; raises `DataError` where fewer than `LEAST` examples can be used."""
    count = len(usable(examples))
    if count < LEAST:
        raise DataError(
            f"only {count} questions for tuning and validation have evidence or no answer, and {LEAST} are needed; "
            "add `evidence` to more questions"
        )
    made = list(drafts(system, examples, progress))
    decider, chances = fit(made)
    asked = [(chance, draft.right) for chance, draft in zip(chances, made, strict=True) if not draft.removed]
    curve = risk_coverage([chance for chance, _ in asked], [right for _, right in asked])
    return Calibration(decider, tuple(curve))


def usable(examples: Sequence[Example]) -> list[Example]:
    """Those with known evidence, which can be taken away, and those without an answer."""
    return [example for example in examples if example.evidence or not example.answerable]


def drafts(system: RAG, examples: Sequence[Example], progress: Progress | None = None) -> Iterator[Draft]:
    """Ask each of `usable(examples)`: as it stands, and as if the documents with its answer were not there.

    A draft is right when half of a reference's words are recalled.
    """
    wanted = usable(examples)
    for number, example in enumerate(wanted, start=1):
        answer, features = system.draft(example.question)
        score = recall.score(example, answer)
        right = example.answerable and score is not None and score >= RIGHT
        yield Draft(features, example.answerable, right, example.group or example.id)
        if example.answerable:
            gold = {evidence.document_id for evidence in example.evidence}
            _, features = system.over(partial(Without, documents=gold)).draft(example.question)
            yield Draft(features, False, False, example.group or example.id, removed=True)
        if progress:
            progress(number, len(wanted), f"calibrating: {system.name}")


def risk_coverage(chances: Sequence[float], right: Sequence[bool]) -> list[tuple[float, float]]:
    """(share of questions answered, share of these that are wrong), from the surest answer to all; ties at once."""
    order = np.argsort(-np.asarray(chances), kind="stable")
    sorted_chances, wrong = np.asarray(chances)[order], ~np.asarray(right, dtype=bool)[order]
    answered = np.arange(1, len(order) + 1)
    risks = np.cumsum(wrong) / answered
    ends = [*(np.flatnonzero(np.diff(sorted_chances)) + 1), len(order)]
    return [(float(end / len(order)), float(risks[end - 1])) for end in ends]
