"""Recall: how much of the right answer was said, however chatty the rest."""

from __future__ import annotations

import re
from functools import lru_cache

from bakeoff.evaluation.metrics import _text
from bakeoff.types import Answer, Example

VERSION = 1
ABOUT = "share of the reference's words that the answer says; ranks systems as people do"

LONG = 12
"""Longer references are compared by content words: their wording is free. No idf: it would tie scores to the run."""
_LEAD = re.compile(r".*\b(?:is|are|was|were|be|either|maybe|perhaps|probably|in|on|by)\b|.*:", re.IGNORECASE)


def score(example: Example, answer: Answer) -> float | None:
    """Best over the references; 0 where the match is negated, or only one of an "A, B or C" list.

    An answer that gives another number than the reference keeps half of its share at most, which is not right.
    From 0.5 on it agrees with people on 90% (Natural Questions) and 95% (TriviaQA) of 24,788 answers.
    """
    return _text.graded(example, answer, recall)


def recall(said: str, reference: str) -> float:
    """Share of the tokens of `reference` that `said` holds, from 0 to 1."""
    wanted = _text.tokens(reference)
    if not wanted:
        return 0.0
    if len(wanted) > LONG:
        words = set(_text.content(reference))
        return len(words & set(_text.content(said))) / len(words) if words else 0.0
    if _hedges(said, wanted):
        return 0.0
    stated = _stated(said, wanted)
    stems = {_text.stem(token) for token in stated}
    share = sum(_text.stem(token) in stems for token in wanted) / len(wanted)
    return share / 2 if _other_number(stated, wanted) else share


def _other_number(stated: set[str], wanted: tuple[str, ...]) -> bool:
    """Whether a number is missing and another stands in its place, as in "5 March 2019" for "5 March 2020"."""
    numbers = {token for token in wanted if token[0].isdigit()}
    return not numbers <= stated and any(token[0].isdigit() and token not in numbers for token in stated)


def _stated(said: str, wanted: tuple[str, ...]) -> set[str]:
    """Tokens of `said`, without those of `wanted` that stand right behind a negation, as in "not Paris"."""
    if _text.NEGATIONS & set(wanted):
        return set(_text.tokens(said))
    stated = set()
    for clause in _text.clauses(said):
        negated = False
        for token in clause:
            negated = token in _text.NEGATIONS or (negated and token in wanted)
            if not negated:
                stated.add(token)
    return stated | (set(_text.tokens(said)) & _text.ARTICLES)


def _hedges(said: str, wanted: tuple[str, ...]) -> bool:
    """Whether some sentence is clearly a list of alternatives ("A, B or C", "either A or B") with `wanted` in it."""
    if "or" in wanted:
        return False
    named = [[set(wanted) <= set(item) for item in items] for items in _alternatives(said)]
    return any(any(names) and not all(names) for names in named)


@lru_cache(maxsize=256)
def _alternatives(said: str) -> list[list[tuple[str, ...]]]:
    """The items of each list of alternatives in `said`, all of them short."""
    lists = []
    for sentence in re.split(r"[.!?\n]+\s", said):
        if not re.search(r"\sor\s", sentence):
            continue
        items = [_text.tokens(item) for item in re.split(r",?\s+or\s+|,", _LEAD.sub("", sentence, count=1))]
        enough = 2 if re.search(r"\beither\b", sentence, re.IGNORECASE) else 3
        if len(items) >= enough and all(0 < len(item) <= 4 for item in items):
            lists.append(items)
    return lists
