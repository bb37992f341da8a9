"""Precision of the citations."""

from __future__ import annotations

from bakeoff.types import Answer, Example

VERSION = 1
ABOUT = "share of the citations that point to a passage with evidence"


def score(example: Example, answer: Answer) -> float | None:
    """None where no evidence is known, or nothing was cited."""
    if not example.evidence or not answer.citations:
        return None
    right = sum(
        any(evidence.in_chunk(citation.chunk) for evidence in example.evidence) for citation in answer.citations
    )
    return right / len(answer.citations)
