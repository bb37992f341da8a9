"""Macro-F1 of a label task: the mean of each label's F1, of all answers together."""

from __future__ import annotations

from bakeoff.evaluation.metrics import _labels
from bakeoff.types import Answer, Example

VERSION = 2
ABOUT = "each label's F1, averaged, so that a rare label counts like a common one; of all answers together"


def score(example: Example, answer: Answer) -> float | None:
    """None: one answer has no F1."""
    return None


def pooled(counts: _labels.Counts) -> float:
    """Over the labels that are right for some question; a reply that is no label is a miss of the right one."""
    right, said = _labels.right(counts), _labels.said(counts)
    return sum(2 * counts.get((label, label), 0) / (n + said.get(label, 0)) for label, n in right.items()) / len(right)
