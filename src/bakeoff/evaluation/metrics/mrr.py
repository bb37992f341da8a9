"""Reciprocal rank of the first passage in the prompt that shows evidence."""

from __future__ import annotations

from bakeoff.evaluation.metrics import _retrieval
from bakeoff.types import Answer, Example

VERSION = 1
ABOUT = "1 over the rank of the first passage that shows evidence; 0 where none does"


def score(example: Example, answer: Answer) -> float | None:
    """None where no evidence is known, or the system looks for no passages; 0 where it finds none."""
    if not _retrieval.judged(example, answer):
        return None
    for rank, hit in enumerate(answer.hits, start=1):
        if any(evidence.in_chunk(hit.chunk) for evidence in example.evidence):
            return 1 / rank
    return 0.0
