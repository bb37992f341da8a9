"""Classifier: frozen features and a trained head; answers with a label."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from bakeoff.errors import ModelError
from bakeoff.models import embedder, heads
from bakeoff.retrieval.retrievers import within_window
from bakeoff.trace import recording
from bakeoff.types import Answer, Question


class Classifier:
    """Serves a checkpoint of the method `head`, with the embedder it was trained on."""

    def __init__(self, checkpoint: Path, *, name: str = "classifier") -> None:
        self._head = heads.load(checkpoint)
        self.name = name
        self._embedder = embedder(self._head.features)
        if self._head.features_fingerprint != self._embedder.fingerprint:
            raise ModelError(f"{checkpoint} was trained on another version of {self._head.features}; tune it again")

    def answer(self, question: Question | str) -> Answer:
        """The likeliest label; `confidence` is its probability. Of a long text the beginning counts."""
        start = time.perf_counter()
        with recording() as trace:
            text = within_window(Question.of(question).text, self._embedder)
        [chances] = self._head.probabilities(self._embedder.embed([text]))
        best = int(np.argmax(chances))
        timings = {"classify": time.perf_counter() - start}
        return Answer(self._head.classes[best], confidence=float(chances[best]), timings=timings, trace=tuple(trace))
