"""Matthews' correlation coefficient of a label task, of all answers together."""

from __future__ import annotations

import math

from bakeoff.evaluation.metrics import _labels
from bakeoff.types import Answer, Example

VERSION = 2
ABOUT = "correlation of given and right labels: 0 for guessing, whatever is common, 100 for all right; of all answers"
LEAST = -1.0


def score(example: Example, answer: Answer) -> float | None:
    """None: one answer has no correlation."""
    return None


def pooled(counts: _labels.Counts) -> float:
    """For any number of labels (Gorodkin 2004); replies that are no label count as one more. 0 where nothing varies."""
    right, given = _labels.right(counts), _labels.said(counts)
    n = sum(right.values())
    said = {label: times for label, times in given.items() if label in right}
    said[""] = n - sum(said.values())
    hits = sum(counts.get((label, label), 0) for label in right)
    together = sum(times * said.get(label, 0) for label, times in right.items())
    spread = math.prod(n**2 - sum(times**2 for times in one.values()) for one in (right, said))
    return (hits * n - together) / math.sqrt(spread) if spread else 0.0
