"""Recall: how much of the right answer was said, however chatty the rest."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from bakeoff.evaluation.metrics import _text
from bakeoff.types import Answer, Example

VERSION = 3
ABOUT = "share of the reference's words that the answer says; ranks systems as people do"

LONG = 12
"""Longer references are compared by content words: their wording is free. No idf: it would tie scores to the run."""
_FREE = _text.STOPWORDS - _text.NEGATIONS - {"no", *_text.MONTHS}
"""Tokens whose absence does not make an answer wrong."""
_LEAD = re.compile(r".*\b(?:is|are|was|were|be|either|maybe|perhaps|probably|in|on|by)\b|.*:", re.IGNORECASE)


def score(example: Example, answer: Answer) -> float | None:
    """Best over the references; 0 where the match is negated, or only one of an "A, B or C" list.

    Function words of the reference but "no" and "not" do not count where it has others. An answer that gives another
    number or month than the reference keeps half of its share at most, which is not right.

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
    counted = [token for token in wanted if token not in _FREE] or wanted
    share = sum(_text.stem(token) in stems for token in counted) / len(counted)
    return share / 2 if _another(stated, wanted, _is_number) or _another(stated, wanted, _is_month) else share


def _another(stated: set[str], wanted: tuple[str, ...], kind: Callable[[str], bool]) -> bool:
    """Whether a token of a kind is missing and another stands in its place: "5 March 2019" for "5 March 2020"."""
    right = set(filter(kind, wanted))
    return not right <= stated and bool(set(filter(kind, stated)) - right)


def _is_number(token: str) -> bool:
    return token[0].isdecimal()


def _is_month(token: str) -> bool:
    return token in _text.MONTHS


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
