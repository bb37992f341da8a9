"""The test double that ships: words hashed into buckets; no model, instantly and always the same."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np

from bakeoff.types import Vectors


class Embedder:
    """Texts that share words are near each other."""

    def __init__(self, dimension: int = 64) -> None:
        self.name = "hashing"
        self.fingerprint = f"hashing-{dimension}"
        self.dimension = dimension
        self.window = 512

    def count(self, text: str) -> int:
        return len(re.findall(r"\w+|[^\w\s]", text)) + 2

    def embed(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()):
                row[zlib.crc32(word.encode()) % self.dimension] += 1
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(norms == 0, 1, norms)).astype(np.float32)
