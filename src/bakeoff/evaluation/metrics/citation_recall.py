"""Recall of the citations: is every sentence cited and supported?"""

from __future__ import annotations

from bakeoff.retrieval.citing import SUPPORTED, words
from bakeoff.types import Answer, Example

VERSION = 1
ABOUT = "share of the answer's sentences that cite passages which together hold what they say"


def score(example: Example, answer: Answer) -> float | None:
    """None for a refusal, and for an answer that is not from passages.

    As ALCE's citation recall (Gao et al., EMNLP 2023) with the share of words in place of an NLI model. What the system
    cites itself counts like what its model cites; a sentence without content words ("This is it.") needs no support.
    """
    claims = [one for one in answer.sentences if one.citations or words(answer.text[one.start : one.end])]
    if not claims:
        return None
    return sum(bool(one.citations) and one.support >= SUPPORTED for one in claims) / len(claims)
