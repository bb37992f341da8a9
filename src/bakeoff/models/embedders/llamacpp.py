"""Sentence vectors from a GGUF embedder through llama.cpp, in this process."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from bakeoff.errors import ModelError
from bakeoff.models import weights as files
from bakeoff.models.llama import Engine
from bakeoff.types import Vectors

SLOTS = 4
"""Sequences in one batch; 4 was as fast as 8 on 2 cores."""


class Embedder:
    """The engine starts at the first use."""

    def __init__(self, weights: files.Weights) -> None:
        self.name = weights.name
        self.fingerprint = weights.fingerprint
        facts = files.gguf_facts(weights)
        self.window = int(facts["window"])
        self.dimension = int(facts["dimension"])
        self._path = weights.path
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    @property
    def engine(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = Engine(self._path, window=self.window, embedding=True, slots=SLOTS)
            return self._engine

    def count(self, text: str) -> int:
        return len(self.engine.tokens(text, special=True))

    def embed(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        try:
            response = self.engine.embed(texts)
        except ModelError as error:
            longest = max(map(self.count, texts))
            if longest > self.window:
                raise ModelError(
                    f"a text of {longest} tokens does not fit {self.name}'s window of {self.window}; "
                    "choose a smaller chunk size"
                ) from error
            raise
        return np.array([row["embedding"] for row in response["data"]], dtype=np.float32)
