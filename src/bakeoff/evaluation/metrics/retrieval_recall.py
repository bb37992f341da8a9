"""Recall of the evidence in the passages that stood in the prompt."""

from __future__ import annotations

from bakeoff.evaluation.metrics import _retrieval
from bakeoff.types import Answer, Example

NAME = "recall@k"
VERSION = 2
ABOUT = "share of the evidence that the passages in the prompt show, whatever the chunking"


def score(example: Example, answer: Answer) -> float | None:
    """None where no evidence is known, or the system looks for no passages; 0 where it finds none."""
    if not _retrieval.judged(example, answer):
        return None
    covered = sum(any(evidence.in_chunk(hit.chunk) for hit in answer.hits) for evidence in example.evidence)
    return covered / len(example.evidence)
