"""Late interaction: each word of the question meets the likest word of the passage; for embedders that show words.

The score is added to that of the retriever. Without training of its own MiniLM gains little from it (docs/results.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bakeoff.errors import ModelError
from bakeoff.retrieval.retrievers import ordered, standard, within_window
from bakeoff.types import Hit, Index, TokenEmbedder


class Reranker:
    """Maximum similarity, summed over the question's tokens: ColBERT (Khattab and Zaharia, SIGIR 2020)."""

    def __init__(self, index: Index, *, model: str = "") -> None:
        if not isinstance(index.embedder, TokenEmbedder):
            raise ModelError(
                f"the embedder {index.embedder.name!r} does not show the vectors of words, which the reranker 'late' "
                'compares; set [corpus] embedder = "minilm-int8"'
            )
        self._embedder = index.embedder

    def rerank(self, query: str, hits: Sequence[Hit]) -> list[Hit]:
        if not hits:
            return []
        asked, *read = self._embedder.embed_tokens(
            [within_window(query, self._embedder), *(hit.chunk.text for hit in hits)]
        )
        pairs = [asked @ passage.T for passage in read]
        likeness = np.array([pair.max(axis=1).mean() if pair.size else 0.0 for pair in pairs])
        return ordered(hits, standard(likeness) + standard(np.array([hit.score for hit in hits])))
