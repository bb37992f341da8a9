"""Retrievers by composition: `Hybrid(BM25(corpus), Dense(corpus))`."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace

from bakeoff.trace import note_hits
from bakeoff.types import Filter, Hit, Index, Retriever


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
    """Meaning: inner product of unit vectors, so scores are cosines."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        start = time.perf_counter()
        hits = self._index.store.search_vectors(self._index.embedder.embed([query])[0], k, filter)
        named = [replace(hit, scores={"dense": hit.score}) for hit in hits]
        return note_hits("dense", named, time.perf_counter() - start)


class Hybrid:
    """Reciprocal rank fusion: `score = sum over retrievers of 1 / (constant + rank)`.

    constant = 60 and the depth of 50 are those of Cormack, Clarke and Büttcher (SIGIR 2009), not tuned here.
    """

    def __init__(self, *retrievers: Retriever, constant: int = 60, depth: int = 50) -> None:
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
        fused = [replace(found[id], score=scores[id]) for id in best]
        return note_hits("hybrid", fused, time.perf_counter() - start)


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
