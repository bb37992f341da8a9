"""Retrievers by composition: `Reranked(Hybrid(BM25(corpus), Dense(corpus)), reranker)`."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from bakeoff.trace import note, note_hits
from bakeoff.types import Chunk, Embedder, Filter, Hit, Index, Reranker, Retriever, Vectors

DEPTH = 50
"""How many hits of each part are fused or reranked; twice as many changed nDCG@10 by .005 or less (docs/log.md)."""


class BM25:
    """Words: the store's full-text index."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        start = time.perf_counter()
        hits = self._index.store.search_text(query, k, filter)
        named = [replace(hit, scores={"bm25": hit.score}) for hit in hits]
        return note_hits("bm25", named, time.perf_counter() - start)


class Dense:
    """Meaning: inner product of unit vectors, so scores are cosines; of a long query, of what the window holds."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        start = time.perf_counter()
        embedder = self._index.embedder
        hits = self._index.store.search_vectors(embedder.embed([within_window(query, embedder)])[0], k, filter)
        named = [replace(hit, scores={"dense": hit.score}) for hit in hits]
        return note_hits("dense", named, time.perf_counter() - start)


class Hybrid:
    """The weighted sum of standard scores: how many deviations a hit stands above the mean of all that were found.

    What a retriever did not find has the score of its last hit. Equal weights were within .003 of the best on two of
    three development collections, and beat reciprocal ranks on all three (docs/log.md).
    """

    def __init__(self, *retrievers: Retriever, weights: Sequence[float] = (), depth: int = DEPTH) -> None:
        self._retrievers = retrievers
        self._weights = np.array(weights or [1 / len(retrievers)] * len(retrievers), dtype=np.float32)
        self._depth = depth

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        found = [retriever.retrieve(query, max(k, self._depth), filter=filter) for retriever in self._retrievers]
        start = time.perf_counter()
        # In the order of their ids and rounded, so that ties never depend on the order of retrieval.
        chunks = dict(sorted({hit.chunk.id: hit.chunk for hits in found for hit in hits}.items()))
        parts = np.array([standard(_scores_of(hits, chunks)) for hits in found])
        scores = np.round(self._weights @ parts, 6)
        best = np.argsort(-scores, kind="stable")[:k]
        held = list(chunks.values())
        told = _told(found)
        fused = [
            Hit(chunk, float(scores[place]), {name: given.get(chunk.id, low) for name, (given, low) in told.items()})
            for place in best
            for chunk in [held[place]]
        ]
        return note_hits("hybrid", fused, time.perf_counter() - start)


class RRF:
    """Reciprocal rank fusion: `score = sum over retrievers of 1 / (constant + rank)`; needs no scores.

    constant = 60 is that of Cormack, Clarke and Büttcher (SIGIR 2009), not tuned here.
    """

    def __init__(self, *retrievers: Retriever, constant: int = 60, depth: int = DEPTH) -> None:
        self._retrievers = retrievers
        self._constant = constant
        self._depth = depth

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        lists = [retriever.retrieve(query, max(k, self._depth), filter=filter) for retriever in self._retrievers]
        start = time.perf_counter()
        scores: dict[str, float] = defaultdict(float)
        found: dict[str, Hit] = {}
        for hits in lists:
            for rank, hit in enumerate(hits, start=1):
                id = hit.chunk.id
                scores[id] += 1 / (self._constant + rank)
                found[id] = replace(hit, scores={**found[id].scores, **hit.scores}) if id in found else hit
        # Ties go by id, so that the order never depends on the order of retrieval.
        best = sorted(scores, key=lambda id: (-scores[id], id))[:k]
        return note_hits("rrf", [replace(found[id], score=scores[id]) for id in best], time.perf_counter() - start)


class Without:
    """The retriever as if some documents were not there: what a system does when it cannot know the answer."""

    def __init__(self, retriever: Retriever, documents: Collection[str]) -> None:
        self._retriever = retriever
        self._documents = documents

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        depth = k
        while True:
            hits = self._retriever.retrieve(query, depth, filter=filter)
            left = [hit for hit in hits if hit.chunk.document_id not in self._documents]
            if len(left) >= k or len(hits) < depth:
                return left[:k]
            depth *= 4


class Reranked:
    """The first `depth` hits of a retriever in the order of a reranker."""

    def __init__(self, retriever: Retriever, reranker: Reranker, *, depth: int = DEPTH) -> None:
        self._retriever = retriever
        self._reranker = reranker
        self._depth = depth

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        hits = self._retriever.retrieve(query, max(k, self._depth), filter=filter)
        start = time.perf_counter()
        return note_hits("reranked", self._reranker.rerank(query, hits)[:k], time.perf_counter() - start)


class Merged:
    """Neighbours in a document become one passage, in the place and with the score of the better one.

    `gap`: characters that may stand between them, as white space and headings do.
    """

    def __init__(self, retriever: Retriever, index: Index, *, gap: int = 2) -> None:
        self._retriever = retriever
        self._index = index
        self._gap = gap

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        merged: list[Hit] = []
        for hit in self._retriever.retrieve(query, k, filter=filter):
            for place, other in enumerate(merged):
                if self._are_neighbours(hit.chunk, other.chunk):
                    merged[place] = replace(other, chunk=self._joined(hit.chunk, other.chunk))
                    break
            else:
                merged.append(hit)
        return merged

    def _are_neighbours(self, one: Chunk, other: Chunk) -> bool:
        between = max(one.start, other.start) - min(one.end, other.end)
        return one.document_id == other.document_id and between <= self._gap

    def _joined(self, one: Chunk, other: Chunk) -> Chunk:
        first = min(one, other, key=lambda chunk: chunk.start)
        end = max(one.end, other.end)
        document = self._index.store.document(first.document_id)
        text = document.text[first.start : end] if document else first.text
        return Chunk(first.id, first.document_id, text, first.start, first.start + len(text), first.page, first.section)


def within_window(query: str, embedder: Embedder) -> str:
    """As much of the beginning as `embedder` reads: a question may be a whole e-mail."""
    if embedder.count(query) <= embedder.window:
        return query
    fitting = bisect_right(range(len(query)), embedder.window, key=lambda end: embedder.count(query[:end])) - 1
    note("cut query", f"{embedder.name} reads the first {fitting} of {len(query)} characters")
    return query[:fitting]


def standard(scores: Vectors) -> Vectors:
    """How many deviations each stands above the mean; 0 where all are the same."""
    spread = scores.std() if len(scores) else 0.0
    return np.asarray((scores - scores.mean()) / spread) if spread > 1e-9 else np.zeros_like(scores)


def ordered(hits: Sequence[Hit], scores: Vectors) -> list[Hit]:
    """`hits` by new scores, best first; those of one score keep their order."""
    return [replace(hits[place], score=float(scores[place])) for place in np.argsort(-scores, kind="stable")]


def _told(found: Sequence[Sequence[Hit]]) -> dict[str, tuple[dict[str, float], float]]:
    """Retriever -> what it gave each chunk, and the lowest of that."""
    told: dict[str, dict[str, float]] = defaultdict(dict)
    for hits in found:
        for hit in hits:
            for name, score in hit.scores.items():
                told[name][hit.chunk.id] = score
    return {name: (given, min(given.values())) for name, given in told.items()}


def _scores_of(hits: Sequence[Hit], chunks: dict[str, Chunk]) -> Vectors:
    known = {hit.chunk.id: hit.score for hit in hits}
    last = min(known.values(), default=0.0)
    return np.array([known.get(id, last) for id in chunks], dtype=np.float32)
