"""Support: does the answer follow from the passages it was given?"""

from __future__ import annotations

import re
from itertools import pairwise

from bakeoff.evaluation.metrics import _text
from bakeoff.retrieval.citing import BARE, FRAME
from bakeoff.types import Answer, Example

VERSION = 3
ABOUT = "share of the answer's words, word pairs, numbers and names that its passages hold"


def score(example: Example, answer: Answer) -> float | None:
    """Mean of bigram coverage and token precision over passages and question, times the share of facts found there.

    How a reply begins ("The answer is:", "1.") does not count. None for a refusal, for an answer without passages, and
    for a bare yes or no. On 318 answers judged by people this agrees with them at rank correlation .65 to .69, an LLM
    judge at .63.
    """
    said = FRAME.sub("", _text.spoken(answer.text).lstrip())
    words = _text.tokens(said)
    if not answer.hits or BARE.issuperset(words) or answer.outcome == "abstained":
        return None
    passages = [_text.tokens(text) for text in (example.question, *(hit.chunk.text for hit in answer.hits))]
    known = {word for passage in passages for word in passage}
    pairs = {pair for passage in passages for pair in pairwise(passage)}
    precision = sum(word in known for word in words) / len(words)
    bigrams = list(pairwise(words))
    coverage = sum(pair in pairs for pair in bigrams) / len(bigrams) if bigrams else precision
    facts = {token for name in _names(said) for token in _text.tokens(name)}
    facts |= {word for word in words if word[0].isdecimal()}
    found = sum(fact in known for fact in facts) / len(facts) if facts else 1.0
    return (coverage + precision) / 2 * found


def _names(said: str) -> list[str]:
    """Capitalised words; one that only starts a sentence is no name, unless the answer is so short."""
    found: list[str] = []
    for sentence in re.split(r"(?<=[.!?:])\s+|\n", said):
        words = re.findall(r"[^\W\d_][\w'’-]*", sentence)
        names = words if len(words) <= 3 else words[1:]
        found += [word for word in names if word[0].isupper() and word.lower() not in _text.STOPWORDS]
    return found
