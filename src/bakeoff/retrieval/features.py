"""What can be seen of a passage beside its question and the other passages that were found; no model is asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bakeoff.types import Hit, Vectors
from bakeoff.words import content_words, stem, words

NAMES = (
    "bm25",
    "dense",
    "bm25_rank",
    "dense_rank",
    "coverage",
    "rare_coverage",
    "phrases",
    "proximity",
    "section",
    "opening",
    "length",
    "support",
    "siblings",
)
"""Coverage: the share of the question's words that the passage holds, each as one or by its rarity; `section` and
`opening` the same of the headings and the first words. Support: likeness to the hits that stand first. Siblings: the
best score among the other hits of the same document."""

PARTS = ("bm25", "dense")

WINDOW = 12
"""Words in which `proximity` wants the question's words together."""
OPENING = 15
"""Words of `opening`."""
FIRST = 5
"""Hits of `support`."""


def features(query: str, hits: Sequence[Hit]) -> Vectors:
    """Shape [len(hits), len(NAMES)]; over the hits, each column has the mean 0 and the deviation 1, or is 0.

    Where a part of the hybrid is missing, the hit's score stands for it. A word's rarity is counted among the hits.
    """
    stems = _Stems()
    asked = len(stems.numbers(content_words(query) or words(query), once=True))
    texts = [stems.numbers(words(hit.chunk.text)) for hit in hits]
    sections = [stems.numbers(words(hit.chunk.section)) for hit in hits]
    counts = np.stack([np.bincount(text, minlength=len(stems)) for text in texts])
    in_hits = (counts > 0).sum(axis=0)
    rarity = np.log(1 + (len(hits) - in_hits + 0.5) / (in_hits + 0.5))
    held = counts[:, :asked] > 0
    parts = np.array([[hit.scores.get(part, hit.score) for part in PARTS] for hit in hits])
    scores = np.array([hit.score for hit in hits])
    wanted = rarity[:asked]
    columns = [
        *parts.T,
        *(1 / (FIRST + np.argsort(np.argsort(-part, kind="stable"))) for part in parts.T),
        held.sum(axis=1),
        held @ wanted,
        [_phrases(text, wanted) for text in texts],
        [_proximity(text, wanted) for text in texts],
        [_rarity_of(section, wanted) for section in sections],
        [_rarity_of(text[:OPENING], wanted) for text in texts],
        np.log1p([len(text) for text in texts]),
        _support(counts, rarity, scores),
        _siblings(hits, scores),
    ]
    table = np.array(columns, dtype=np.float32).T
    spread = table.std(axis=0)
    return np.asarray((table - table.mean(axis=0)) / np.where(spread > 1e-6, spread, np.inf), dtype=np.float32)


class _Stems:
    """Words -> numbers, the same for forms of one word; those of the question come first."""

    def __init__(self) -> None:
        self._of_word: dict[str, int] = {}
        self._of_stem: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._of_stem)

    def numbers(self, found: list[str], *, once: bool = False) -> NDArray[np.int64]:
        known = self._of_word
        for word in found:
            if word not in known:
                known[word] = self._of_stem.setdefault(stem(word), len(self._of_stem))
        numbers = [known[word] for word in found]
        return np.array([*dict.fromkeys(numbers)] if once else numbers, dtype=np.int64)


def _rarity_of(text: NDArray[np.int64], wanted: Vectors) -> float:
    """Of the question's words in `text`; these are the numbers below `len(wanted)`."""
    return float(sum(wanted[list(set(text[text < len(wanted)].tolist()))]))


def _phrases(text: NDArray[np.int64], wanted: Vectors) -> float:
    """Of pairs that follow each other in the question, and in the text with one word between them at most."""
    places = np.flatnonzero(text < len(wanted))
    first, second = text[places[:-1]], text[places[1:]]
    close = (np.diff(places) <= 2) & (second == first + 1)
    return float(sum((wanted[pair] + wanted[pair + 1]) / 2 for pair in set(first[close].tolist())))


def _proximity(text: NDArray[np.int64], wanted: Vectors) -> float:
    """Of the window with most."""
    places = np.flatnonzero(text < len(wanted)).tolist()
    found = text[places].tolist()
    rarity = wanted.tolist()
    best, start = 0.0, 0
    inside: dict[int, int] = {}
    total = 0.0
    for place, word in zip(places, found, strict=True):
        if not inside.get(word):
            total += rarity[word]
        inside[word] = inside.get(word, 0) + 1
        while place - places[start] >= WINDOW:
            inside[found[start]] -= 1
            if not inside[found[start]]:
                total -= rarity[found[start]]
            start += 1
        best = max(best, total)
    return best


def _support(counts: NDArray[np.int64], rarity: Vectors, scores: Vectors) -> Vectors:
    """Mean cosine to the first hits, as vectors of BM25's weights; a hit is not compared to itself."""
    lengths = counts.sum(axis=1, keepdims=True)
    weights = rarity * counts / (counts + 1.2 * (0.25 + 0.75 * lengths / max(lengths.mean(), 1)))
    weights /= np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), 1e-9)
    first = np.argsort(-scores, kind="stable")[:FIRST]
    likeness = weights @ weights[first].T
    own = np.isin(np.arange(len(scores)), first)
    return np.asarray((likeness.sum(axis=1) - own) / np.maximum(len(first) - own, 1))


def _siblings(hits: Sequence[Hit], scores: Vectors) -> list[float]:
    """The lowest score of all where there are none."""
    best: dict[str, list[float]] = {}
    for hit, score in zip(hits, scores, strict=True):
        best.setdefault(hit.chunk.document_id, []).append(float(score))
    for found in best.values():
        found.sort(reverse=True)
    lowest = float(scores.min())
    others = []
    for hit, score in zip(hits, scores, strict=True):
        found = best[hit.chunk.document_id]
        others.append(lowest if len(found) == 1 else found[1] if found[0] == float(score) else found[0])
    return others
