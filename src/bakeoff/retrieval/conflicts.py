"""Passages that contradict each other, or say of themselves that they are out of date."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from bakeoff.retrieval.citing import words
from bakeoff.types import Hit

ALIKE = 0.6
"""Share of their words, numbers aside, that two sentences have in common when they speak of the same."""

_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?](?!\s|$)[^.!?\n]*)*")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_NAME = re.compile(r"(?<=[\w,;] )[A-Z]\w+")
_NEGATION = frozenset(["not", "no", "never", "cannot", "without", "neither", "nor"])
_STALE = re.compile(
    r"\b(superseded|replaced by|obsolete|out ?dated|out of date|deprecated"
    r"|no longer (?:valid|in force|applies|current))\b",
    re.IGNORECASE,
)


def notes(hits: Sequence[Hit]) -> tuple[str, ...]:
    """A line for each pair of passages that give different numbers, or yes and no, in sentences that are else alike.

    And one for each passage that calls itself superseded or out of date. Words are compared, not meanings: what is
    said in other words is not noticed.
    """
    found = []
    for (a, one), (b, other) in combinations(enumerate(map(_claims, hits), start=1), 2):
        pair = next(((s, t) for s in one for t in other if _contradict(s, t)), None)
        if pair:
            found.append(f"passages {a} and {b} differ: {pair[0].text!r} / {pair[1].text!r}")
    for number, hit in enumerate(hits, start=1):
        if match := next((m for m in _SENTENCE.finditer(hit.chunk.text) if _STALE.search(m[0])), None):
            found.append(f"passage {number} may be out of date: {' '.join(match[0].split())!r}")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Claim:
    text: str
    words: frozenset[str]
    """Numbers and negations aside."""
    numbers: frozenset[str]
    names: frozenset[str]
    negated: bool


def _claims(hit: Hit) -> list[_Claim]:
    found = []
    for match in _SENTENCE.finditer(hit.chunk.text):
        text = " ".join(match[0].split())
        numbers = frozenset(_NUMBER.findall(text))
        said = frozenset(words(text))
        rest = frozenset(word for word in said - _NEGATION if not word[0].isdigit())
        found.append(_Claim(text, rest, numbers, frozenset(_NAME.findall(text)), bool(said & _NEGATION)))
    return found


def _contradict(one: _Claim, other: _Claim) -> bool:
    # Three words or fewer, as in a row "price: 3", are alike in too many things.
    if one.names != other.names or min(len(one.words), len(other.words)) < 3:
        return False
    alike = len(one.words & other.words) / len(one.words | other.words)
    if one.negated != other.negated:
        return alike >= (1 + ALIKE) / 2 and one.numbers == other.numbers
    apart = one.numbers and other.numbers and not (one.numbers <= other.numbers or other.numbers <= one.numbers)
    return bool(apart) and alike >= ALIKE
