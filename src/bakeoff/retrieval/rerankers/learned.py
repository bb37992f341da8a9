"""A weighted sum of what words and scores show, fitted on your questions; stands aside where that did not help."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bakeoff.retrieval.features import features
from bakeoff.retrieval.fitting import Fit
from bakeoff.retrieval.retrievers import ordered
from bakeoff.types import Hit, Index


class Reranker:
    """`model`: the file that `bakeoff fit` wrote.

    There are no weights for everybody: fitted on five collections they made a sixth better in four cases of six and
    worse in two (docs/log.md).
    """

    def __init__(self, index: Index, *, model: str) -> None:
        self._fit = Fit.load(Path(model))

    def rerank(self, query: str, hits: Sequence[Hit]) -> list[Hit]:
        if not hits or not self._fit.helps:
            return list(hits)
        return ordered(hits, features(query, hits) @ np.array(self._fit.weights, dtype=np.float32))
