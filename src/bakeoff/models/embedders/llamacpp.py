"""Sentence vectors from a GGUF embedder through llama.cpp, in this process."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence

import numpy as np

from bakeoff.errors import ModelError
from bakeoff.models import weights as files
from bakeoff.models.llama import Engine
from bakeoff.models.wordpiece import unknown_tokens
from bakeoff.types import Vectors

WORDS = 200_000
"""Words whose tokens are remembered."""
_WORD = re.compile(r"[^\W_]+|\S")
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
        # WordPiece cuts words one by one, so the counts of words add up; asking the engine for each text took longer
        # than embedding a short one.
        self._by_word = facts["tokenizer"] == "bert"
        self._counts: dict[str, int] = {}
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    @property
    def engine(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = Engine(self._path, window=self.window, embedding=True, slots=SLOTS)
            return self._engine

    def count(self, text: str) -> int:
        """Tokens of `text`, the model's own two included; a word that the vocabulary lacks counts by its length."""
        if not self._by_word:
            return len(self.engine.tokens(text, special=True))
        words = _WORD.findall(text)
        if new := [word for word in dict.fromkeys(words) if word not in self._counts]:
            if len(self._counts) > WORDS:
                self._counts.clear()
                new = list(dict.fromkeys(words))
            self._counts |= self._count_words(new)
        return sum(map(self._counts.__getitem__, words)) + 2

    def _count_words(self, words: list[str]) -> dict[str, int]:
        """Asks once for all, and once more for each where their borders are not seen: in scripts without spaces."""
        found: list[list[str]] = []
        for piece in self.engine.pieces(" ".join(words)):
            if piece.startswith(" ") or piece == "[UNK]" or not found:
                found.append([])
            found[-1].append(piece)
        if len(found) != len(words):
            found = [self.engine.pieces(word) for word in words]
        return {
            word: max(len(pieces), unknown_tokens(word)) if "[UNK]" in pieces else len(pieces)
            for word, pieces in zip(words, found, strict=True)
        }

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
