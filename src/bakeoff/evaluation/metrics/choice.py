"""Multiple choice: does the reply choose the right option?

The options stand in the question, a line each - "A) Paris", "(B) Lyon", "C. Nice" - for what stands nowhere else no
system is shown. The reference is the letter or the words of the right one.
"""

from __future__ import annotations

import re

from bakeoff.evaluation.metrics import _text, recall
from bakeoff.types import Answer, Example

VERSION = 2
ABOUT = "1 where the reply chooses the right one of the options that the question lists, by letter or in words"

_OPTION = re.compile(r"^[ \t]*\(?([A-Za-z])[).:][ \t]+(\S.*)$", re.MULTILINE)
# In this order: a reply that begins with its letter, the last "the answer is B", and "(B)" or "B)" anywhere.
_SAYS = "(?:[Aa]nswer|[Oo]ption|[Cc]hoice)"
_LETTER = (
    re.compile(r"^\W*([A-Za-z])(?:\W*$|[).:])"),
    re.compile(rf"{_SAYS}(?: is)?\W*([A-Z])\b(?!.*{_SAYS})", re.DOTALL),
    re.compile(r"(?<!\w)\(?([A-Z])\)"),
)


def score(example: Example, answer: Answer) -> float | None:
    """None where the question lists no options, or no reference names one; none and several chosen are wrong."""
    options = _options(example.question)
    right = {chosen for reference in _text.references(example) if (chosen := _chosen(reference, options))}
    if not options or (example.answerable and not right):
        return None
    return _text.graded(example, answer, lambda said, _: float(_chosen(said, options) in right))


def _options(question: str) -> dict[str, str]:
    """Letter -> words, where the letters begin with A and none is left out."""
    found = {letter.upper(): words for letter, words in _OPTION.findall(question)}
    in_order = [chr(ord("A") + place) for place in range(len(found))]
    return found if len(found) > 1 and list(found) == in_order else {}


def _chosen(said: str, options: dict[str, str]) -> str | None:
    """The letter of the only option that is named, None for none or several."""
    for pattern in _LETTER:
        letters = {letter.upper() for letter in pattern.findall(said)} & set(options)
        if letters:
            return letters.pop() if len(letters) == 1 else None
    stated = [letter for letter, words in options.items() if recall.recall(said, words) == 1]
    # "Paris" is said by who says "Paris and Lyon"; the option that holds all of the others is meant.
    held = {letter: set(_text.tokens(options[letter])) for letter in stated}
    widest = [letter for letter in stated if all(held[letter] >= other for other in held.values())]
    return widest[0] if len(widest) == 1 else None
