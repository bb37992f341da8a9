"""Retrievers by composition: `Hybrid(BM25(corpus), Dense(corpus))`."""

from __future__ import annotations

from collections import defaultdict

from bakeoff.types import Chunk, Filter, Hit, Index, Retriever


class BM25:
    """Words: the store's full-text index."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        return self._index.store.search_text(query, k, filter)


class Dense:
    """Meaning: inner product of unit vectors, so scores are cosines."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        return self._index.store.search_vectors(self._index.embedder.embed([query])[0], k, filter)


class Hybrid:
    """Reciprocal rank fusion: `score = sum over retrievers of 1 / (constant + rank)`.

    constant = 60 and the depth of 50 are those of Cormack, Clarke and Büttcher (SIGIR 2009), not tuned here.
    """

    def __init__(self, *retrievers: Retriever, constant: int = 60, depth: int = 50) -> None:
        self._retrievers = retrievers
        self._constant = constant
        self._depth = depth

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        scores: dict[str, float] = defaultdict(float)
        chunks: dict[str, Chunk] = {}
        for retriever in self._retrievers:
            for rank, hit in enumerate(retriever.retrieve(query, max(k, self._depth), filter=filter), start=1):
                scores[hit.chunk.id] += 1 / (self._constant + rank)
                chunks[hit.chunk.id] = hit.chunk
        # Ties go by id, so that the order never depends on the order of retrieval.
        best = sorted(scores, key=lambda id: (-scores[id], id))[:k]
        return [Hit(chunks[id], scores[id]) for id in best]
