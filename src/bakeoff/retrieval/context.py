"""From hits to a prompt and back: pack passages into the budget, number them, verify what is cited."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from bakeoff.types import Citation, Hit
from bakeoff.words import content_words

MARK = re.compile(r"\s?\[(\d{1,3})\]")
"""A citation as models write it."""

SUPPORTED = 0.6
"""Share of an answer's content words that a passage must hold to be shown as its source unasked."""


def pack(hits: Sequence[Hit], budget: int, count: Callable[[str], int]) -> list[Hit]:
    """The best hits whose rendered passages fit into `budget` tokens, without overlaps, best first.

    Raises nothing: what does not fit is left out whole, never cut.
    """
    packed: list[Hit] = []
    for hit in hits:
        if any(_overlap(hit, other) for other in packed):
            continue
        if count(render([*packed, hit])) > budget:
            break
        packed.append(hit)
    return packed


def render(hits: Sequence[Hit]) -> str:
    """Passages numbered by rank, each with the title it stands under, the best one last.

    A small model reads best what it read last: with three passages SmolLM2-135M answered 25 of 60 development
    questions with the best one last and 20 with it first (docs/log.md).
    """
    lines = [
        f"[{number}] {f'({hit.chunk.section}) ' if hit.chunk.section else ''}{' '.join(hit.chunk.text.split())}"
        for number, hit in enumerate(hits, start=1)
    ]
    return "\n".join(reversed(lines))


def cite(text: str, hits: Sequence[Hit]) -> tuple[str, tuple[Citation, ...], int]:
    """Verify the marks in `text`.

    Returns the text without marks that point to no passage, the citations with the sentence that supports them,
    and how many marks were removed. A text with no marks gets the passage that best supports it, if any does.
    """
    cited = [int(number) for number in MARK.findall(text)]
    valid = [number for number in dict.fromkeys(cited) if 1 <= number <= len(hits)]
    clean = MARK.sub(lambda mark: mark[0] if 1 <= int(mark[1]) <= len(hits) else "", text).strip()
    claim = MARK.sub("", text)
    if valid:
        return (
            clean,
            tuple(_citation(number, hits[number - 1], claim) for number in valid),
            len(cited) - sum(number in valid for number in cited),
        )
    found = _supporting(claim, hits)
    return clean, (found,) if found else (), len(cited)


def _overlap(one: Hit, other: Hit) -> bool:
    a, b = one.chunk, other.chunk
    return a.document_id == b.document_id and min(a.end, b.end) > max(a.start, b.start)


def _citation(number: int, hit: Hit, claim: str, *, located: bool = False) -> Citation:
    """Point at the sentence of the passage that shares most words with the claim."""
    words = _words(claim)
    spans = [match.span() for match in re.finditer(r"[^.!?\n]+[.!?]*(?=\s|$)|[^\n]+", hit.chunk.text)]
    start, end = max(spans, key=lambda span: len(words & _words(hit.chunk.text[slice(*span)])), default=(0, 0))
    quote = hit.chunk.text[start:end]
    start += len(quote) - len(quote.lstrip())
    quote = quote.strip()
    offset = hit.chunk.start + start
    return Citation(number, hit.chunk, offset, offset + len(quote), quote, "locator" if located else "generator")


def _supporting(claim: str, hits: Sequence[Hit]) -> Citation | None:
    """The passage that holds most of the claim's words, all its numbers among them; None when none holds enough."""
    words = _words(claim)
    numbers = {word for word in words if any(character.isdigit() for character in word)}
    shares = [len(words & found) / len(words) if words and numbers <= found else 0.0 for found in map(_held, hits)]
    best = max(range(len(hits)), key=lambda place: shares[place], default=0)
    if not shares or shares[best] < SUPPORTED:
        return None
    return _citation(best + 1, hits[best], claim, located=True)


def _held(hit: Hit) -> set[str]:
    return _words(f"{hit.chunk.section} {hit.chunk.text}")


def _words(text: str) -> set[str]:
    return set(content_words(text))
