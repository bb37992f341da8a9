"""Token F1, as in SQuAD."""

from __future__ import annotations

from collections import Counter

from bakeoff.evaluation.metrics import _text
from bakeoff.types import Answer, Example

VERSION = 2
ABOUT = "harmonic mean of token precision and recall; punishes chatty systems, so it should not decide"


def score(example: Example, answer: Answer) -> float | None:
    """Best over the references."""
    return _text.graded(example, answer, f1)


def f1(said: str, reference: str) -> float:
    """F1 of the normalised tokens, counted with repetition."""
    answered, wanted = Counter(_text.tokens(said)), Counter(_text.tokens(reference))
    total = answered.total() + wanted.total()
    return 2 * (answered & wanted).total() / total if total else 0.0
