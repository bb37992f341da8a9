"""Exact match after normalisation."""

from __future__ import annotations

from bakeoff.evaluation.metrics import _text
from bakeoff.types import Answer, Example

VERSION = 2
ABOUT = "1 where the answer is a reference, word for word; punishes chatty systems, so it should not decide"


def score(example: Example, answer: Answer) -> float | None:
    """1 when the normalised answer equals one of the references."""
    return _text.graded(example, answer, lambda said, right: float(_text.tokens(said) == _text.tokens(right)))
