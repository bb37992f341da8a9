"""Verify what an answer cites: every mark leads to a passage that holds what is said, or it goes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from bakeoff.types import Chunk, Citation, Hit, Sentence
from bakeoff.words import content_words, stem
from bakeoff.words import words as all_words

MARK = re.compile(r"\s?\[(\d{1,3})\]")
"""A citation as models write it."""
_ONE = r"\d{1,3}(?:\s*[–-]\s*\d{1,3})?"
MARKS = re.compile(rf"\[({_ONE}(?:\s*[,;]\s*{_ONE})*)\]")
"""One or several between the same brackets, as in `[2]`, `[1, 2]` and `[1-3]`."""

SUPPORTED = 0.7
"""Share of a sentence's content words that its passages must hold together."""

PAIRED = 0.2
"""Share of its neighbouring words that they must hold as neighbours. Both are chosen by people's judgements."""

_SENTENCE = re.compile(r"(?:\d{1,2}[.)][ \t]+)?\S.*?(?:[.!?…][\"'”’)]*(?:\s?\[\d{1,3}\])*(?=\s|$)|(?=\n)|$)", re.DOTALL)
_NAME = re.compile(r"(?<=[^\s.!?:]\s)[^\W\d_][\w'’-]*")
"""A word that does not start a sentence; a name if it is capitalised."""
FRAME = re.compile(
    r"^[ \t]*(?:\d{1,2}[.)](?=[ \t])|the answer is:?"
    r"|(?:according to|based on) the (?:given |provided )?(?:passages?|text|documents?|context),)\s",
    re.IGNORECASE | re.MULTILINE,
)
"""How models begin a reply, or an item of a list; it claims nothing."""
_NUMBER = re.compile(
    r"(?<!\w)(\d+(?:[.,]\d+)*)(?!\w)(?:\s?(%|per ?cent\b|(?:hundred|thousand|million|billion|trillion)\b))?",
    re.IGNORECASE,
)
BARE = frozenset(["yes", "no", "true", "false", "correct", "maybe"])
"""Answers that say nothing without their question."""


@dataclass(frozen=True, slots=True)
class Cited:
    """An answer after its citations were verified."""

    text: str
    """Without the marks that were removed."""
    citations: tuple[Citation, ...]
    removed: int
    sentences: tuple[Sentence, ...]


def cite(text: str, hits: Sequence[Hit], question: str = "") -> Cited:
    """Keep the marks of `text` whose passages hold the sentence that they stand at; remove and count the others.

    A passage holds a sentence when its words are among the passage's, all numbers included; several that are cited
    together may share them. A sentence left without a mark gets the passage that holds it, if any does. `question` is
    what a bare yes or no is about.
    """
    text = split_marks(text, len(hits))
    kept, citations, sentences, removed, end = "", dict[int, Citation](), list[Sentence](), 0, 0
    for match in _SENTENCE.finditer(text):
        clean, found, gone, support = _verified(match[0], hits, question)
        # White space between sentences stays as it was.
        kept += text[end : match.start()] if clean else ""
        sentences += [Sentence(len(kept), len(kept) + len(clean), tuple(c.number for c in found), support)] * bool(
            clean
        )
        kept, removed, end = kept + clean, removed + gone, match.end()
        for citation in found:
            citations.setdefault(citation.number, citation)
    return Cited(kept, tuple(citations.values()), removed, tuple(sentences))


def split_marks(text: str, passages: int) -> str:
    """`[1, 2]` as `[1][2]`; a range as in `[1-3]` only where there are so many `passages`: others are no marks."""

    def split(match: re.Match[str]) -> str:
        numbers: list[int] = []
        for part in re.split(r"[,;]", match[1]):
            first, *last = map(int, re.split(r"[–-]", part))
            if last and not 1 <= first < last[0] <= passages:
                return match[0]
            numbers += range(first, (last[0] if last else first) + 1)
        return "".join(f"[{number}]" for number in numbers)

    return MARKS.sub(split, text)


def cite_json(text: str, hits: Sequence[Hit]) -> Cited:
    """As `cite`, for JSON: its values are one claim, and there are no marks to remove."""
    claim = "\n".join(_leaves(json.loads(text)))
    _, found, _, support = _verified(claim, hits, "")
    return Cited(text, tuple(found), 0, (Sentence(0, len(text), tuple(c.number for c in found), support),))


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    elif value is not None:
        yield str(value)


def _verified(sentence: str, hits: Sequence[Hit], question: str) -> tuple[str, list[Citation], int, float]:
    """The sentence without bad marks, its citations, how many marks went, and its support."""
    marks = [int(number) for number in MARK.findall(sentence)]
    text = FRAME.sub("", MARK.sub("", sentence).strip())
    said = words(text)
    claim = _Claim.of(question if said and said <= BARE else text)
    retrieved = [number for number in dict.fromkeys(marks) if 1 <= number <= len(hits)]
    cited = [number for number in retrieved if claim.words & held(hits[number - 1])]
    support = claim.support([hits[number - 1] for number in cited])
    if cited and support >= SUPPORTED:
        found = [_citation(number, hits[number - 1].chunk, claim.words, "generator") for number in cited]
    else:
        alone = [claim.support([hit]) for hit in hits]
        best = max(range(len(hits)), key=lambda place: alone[place], default=0)
        cited, located = [], bool(alone) and alone[best] >= SUPPORTED
        found = [_citation(best + 1, hits[best].chunk, claim.words, "locator")] if located else []
        support = max([support, *alone])
    clean = MARK.sub(lambda mark: mark[0] if int(mark[1]) in cited else "", sentence).strip()
    return clean, found, sum(number not in cited for number in marks), support


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a sentence says, in the forms in which passages are searched for it."""

    words: set[str]
    pairs: list[tuple[str, str]]
    exact: set[str]
    """Names, and words like 5mg: a passage that lacks one of them says something else."""
    numbers: set[str]
    """The same of numbers, each with its percent or million."""

    @classmethod
    def of(cls, text: str) -> _Claim:
        about = words(text)
        names = " ".join(name for name in _NAME.findall(text) if name[0].isupper())
        mixed = {word for word in about if not word.isdecimal() and any(map(str.isdigit, word))}
        pairs = [pair for line in text.splitlines() for pair in _pairs(line)]
        return cls(about, pairs, mixed | words(names), {number + unit for number, unit in _numbers(text)})

    def support(self, hits: Sequence[Hit]) -> float:
        """Share of the words that the passages hold; 0 where they lack a number or a name, or say the words apart."""
        known = set[str]().union(*map(held, hits))
        numbers = set[str]().union(*(_told(_whole(hit)) for hit in hits))
        neighbours = [_neighbours(_whole(hit)) for hit in hits]
        paired = sum(any(pair in told for told in neighbours) for pair in self.pairs)
        lacking = self.exact - known or self.numbers - numbers
        if not self.words or lacking or paired < int(PAIRED * len(self.pairs)):
            return 0.0
        return len(self.words & known) / len(self.words)


def _numbers(text: str) -> Iterator[tuple[str, str]]:
    """Each number as it is written, and its unit if that is a percent, a million or the like."""
    for number, unit in _NUMBER.findall(text):
        yield number, "%" if unit.lower().startswith("per") else unit.lower()


@lru_cache(64)
def _told(text: str) -> frozenset[str]:
    """Its numbers, with their units and without."""
    return frozenset(form for number, unit in _numbers(text) for form in (number, number + unit))


def _pairs(text: str) -> list[tuple[str, str]]:
    return list(pairwise(map(stem, all_words(text))))


def _citation(number: int, chunk: Chunk, about: set[str], made_by: Any) -> Citation:
    """Point at the sentence of the passage that shares most words with the claim."""
    spans = [match.span() for match in re.finditer(r"[^.!?\n]+[.!?]*(?=\s|$)|[^\n]+", chunk.text)]
    start, end = max(spans, key=lambda span: len(about & words(chunk.text[slice(*span)])), default=(0, 0))
    quote = chunk.text[start:end]
    start += len(quote) - len(quote.lstrip())
    quote = quote.strip()
    offset = chunk.start + start
    return Citation(number, chunk, offset, offset + len(quote), quote, made_by)


def held(hit: Hit) -> frozenset[str]:
    """Content words of a passage and of the title that it stands under."""
    return _held(_whole(hit))


# Each sentence of an answer is held against the same few passages.
@lru_cache(64)
def _held(text: str) -> frozenset[str]:
    return frozenset(words(text))


@lru_cache(64)
def _neighbours(text: str) -> frozenset[tuple[str, str]]:
    return frozenset(_pairs(text))


def _whole(hit: Hit) -> str:
    return f"{hit.chunk.section} {hit.chunk.text}"


def words(text: str) -> set[str]:
    """Content words, forms of one word as one."""
    return set(map(stem, content_words(text)))
