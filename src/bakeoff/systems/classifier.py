"""Classifier: frozen features and a trained head; answers with a label."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

from bakeoff.errors import ModelError
from bakeoff.types import Answer, Embedder, Question


class Classifier:
    """Serves a checkpoint of the method `head`; `embedder` must be the one it was trained with."""

    def __init__(self, checkpoint: Path, embedder: Embedder, *, name: str = "classifier") -> None:
        self.name = name
        self._embedder = embedder
        head = json.loads((checkpoint / "head.json").read_text())
        if head["features_fingerprint"] != embedder.fingerprint:
            raise ModelError(f"{checkpoint} was trained on other features than {embedder.name}'s; tune it again")
        self._classes = list(head["classes"])
        self._weights, self._bias = np.array(head["weights"]), np.array(head["bias"])

    def answer(self, question: Question | str) -> Answer:
        start = time.perf_counter()
        features = self._embedder.embed([Question.of(question).text])[0]
        label = self._classes[int(np.argmax(self._weights @ features + self._bias))]
        return Answer(label, timings={"classify": time.perf_counter() - start})
