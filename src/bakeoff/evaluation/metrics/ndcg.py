"""nDCG of the passages that stood in the prompt, judged by evidence."""

from __future__ import annotations

import math

from bakeoff.evaluation.metrics import _retrieval
from bakeoff.types import Answer, Example

NAME = "ndcg@10"
VERSION = 2
ABOUT = "how high the first 10 passages rank those that show evidence"


def score(example: Example, answer: Answer) -> float | None:
    """None where no evidence is known, or the system looks for no passages; 0 where it finds none.

    A passage gains 1 when it shows evidence that none above it shows. In the ideal order those that gain come first,
    and one more for each piece of evidence that is missing.
    """
    if not _retrieval.judged(example, answer):
        return None
    missing = list(example.evidence)
    gains = []
    for hit in answer.hits[:10]:
        left = [evidence for evidence in missing if not evidence.in_chunk(hit.chunk)]
        gains.append(len(left) < len(missing))
        missing = left
    ideal = min(10, sum(gains) + len(missing))
    return sum(gain * _discount(rank) for rank, gain in enumerate(gains)) / sum(map(_discount, range(ideal)))


def _discount(rank: int) -> float:
    return 1 / math.log2(rank + 2)
