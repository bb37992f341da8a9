"""What a label task came to: how often which label was given where which was right."""

from __future__ import annotations

from collections.abc import Mapping

from bakeoff.evaluation.metrics import _text
from bakeoff.types import Answer, Example

Pair = tuple[str, str]
"""The right label, and what was said."""
Counts = Mapping[Pair, int]


def pair(example: Example, answer: Answer) -> Pair | None:
    """Both normalised, equal where `exact` calls the answer right; None for an example without label."""
    if not example.label:
        return None
    said = answer.text if answer.outcome in ("answered", "fallback") else ""
    return _normal(example.label), _normal(_text.spoken(said))


def right(counts: Counts) -> dict[str, int]:
    """Label -> questions for which it is right."""
    found: dict[str, int] = {}
    for (label, _), n in counts.items():
        found[label] = found.get(label, 0) + n
    return found


def said(counts: Counts) -> dict[str, int]:
    """Reply -> how often it was given."""
    return right({(answer, label): n for (label, answer), n in counts.items()})


def _normal(text: str) -> str:
    return " ".join(_text.tokens(text))
