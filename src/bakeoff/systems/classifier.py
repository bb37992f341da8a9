"""Classifier: frozen features and a trained head; answers with a label."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from bakeoff.errors import ModelError
from bakeoff.models import embedder, heads
from bakeoff.types import Answer, Question, Usage


class Classifier:
    """Serves a checkpoint of the method `head`, with the embedder it was trained on."""

    def __init__(self, checkpoint: Path, *, name: str = "classifier") -> None:
        self._head = heads.load(checkpoint)
        self.name = name
        self._embedder = embedder(self._head.features)
        if self._head.features_fingerprint != self._embedder.fingerprint:
            raise ModelError(f"{checkpoint} was trained on another version of {self._head.features}; tune it again")

    def answer(self, question: Question | str) -> Answer:
        """The likeliest label; `confidence` is its probability. A long text is read whole, piece by piece."""
        start = time.perf_counter()
        [chances] = self._head.probabilities(heads.features(self._embedder, [Question.of(question).text]))
        best = int(np.argmax(chances))
        took = time.perf_counter() - start
        return Answer(
            self._head.classes[best],
            usage=Usage(seconds=took),
            confidence=float(chances[best]),
            timings={"classify": took},
        )
