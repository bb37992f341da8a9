"""Recall of the evidence in the passages that stood in the prompt."""

from __future__ import annotations

from bakeoff.types import Answer, Example

NAME = "recall@k"
VERSION = 1
ABOUT = "share of the evidence that the passages in the prompt show, whatever the chunking"


def score(example: Example, answer: Answer) -> float | None:
    """None where no evidence is known, or the system shows no passages."""
    if not example.evidence or not answer.hits:
        return None
    covered = sum(any(evidence.in_chunk(hit.chunk) for hit in answer.hits) for evidence in example.evidence)
    return covered / len(example.evidence)
