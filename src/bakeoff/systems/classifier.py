"""Classifier: frozen features and a trained head; answers with a label."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

from bakeoff.errors import ModelError
from bakeoff.models import embedder
from bakeoff.types import Answer, Question


class Classifier:
    """Serves a checkpoint of the method `head`, with the embedder it was trained on."""

    def __init__(self, checkpoint: Path, *, name: str = "classifier") -> None:
        if not (checkpoint / "head.json").is_file():
            raise ModelError(f"{checkpoint} holds no head.json; a classifier needs a checkpoint of the method 'head'")
        head = json.loads((checkpoint / "head.json").read_text())
        self.name = name
        self._embedder = embedder(head["features"])
        if head["features_fingerprint"] != self._embedder.fingerprint:
            raise ModelError(f"{checkpoint} was trained on another version of {head['features']}; tune it again")
        self._classes = list(head["classes"])
        self._weights, self._bias = np.array(head["weights"]), np.array(head["bias"])

    def answer(self, question: Question | str) -> Answer:
        start = time.perf_counter()
        features = self._embedder.embed([Question.of(question).text])[0]
        label = self._classes[int(np.argmax(self._weights @ features + self._bias))]
        return Answer(label, timings={"classify": time.perf_counter() - start})
