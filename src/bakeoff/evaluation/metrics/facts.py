"""Must-have facts: how many of those that an example lists does the reply state?"""

from __future__ import annotations

from bakeoff.evaluation.metrics import _text, recall
from bakeoff.types import Answer, Example

VERSION = 2
ABOUT = "share of the facts that the example lists which the answer states, all words of each; terms, for a translation"


def score(example: Example, answer: Answer) -> float | None:
    """None where the example lists no facts, or must not be answered; 0 for a refusal.

    Words, numbers, dates and names are compared as by `recall`: a fact that is denied, or only one of several
    alternatives, is not stated. Half of a fact counts nothing here: "30 days" is no "90 days".
    """
    if not example.facts or not example.answerable:
        return None
    if answer.outcome in ("abstained", "error"):
        return 0.0
    said = _text.spoken(answer.text)
    return sum(recall.recall(said, fact) == 1 for fact in example.facts) / len(example.facts)
