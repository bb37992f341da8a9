"""A cross-encoder of yours, read through transformers: question and passage together, one score; has a time budget."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from bakeoff.errors import ModelError
from bakeoff.retrieval.retrievers import ordered
from bakeoff.types import Hit, Index

BATCH = 8
"""Passages read between two looks at the clock."""


class Reranker:
    """`model`: a folder with the weights, or their name where the hub's cache holds them; nothing is fetched.

    A question takes `seconds` at most: when they are over, its hits stay as they were, with a warning.
    """

    def __init__(self, index: Index, *, model: str, seconds: float = 2.0) -> None:
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
            self._model = AutoModelForSequenceClassification.from_pretrained(model, local_files_only=True).eval()
        except (OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise ModelError(f"{model!r} is no cross-encoder on this machine ({reason}); name its folder") from error
        self._name = model
        self._seconds = seconds

    def rerank(self, query: str, hits: Sequence[Hit]) -> list[Hit]:
        end = time.monotonic() + self._seconds
        scores: list[float] = []
        for start in range(0, len(hits), BATCH):
            scores += self._score(query, [hit.chunk.text for hit in hits[start : start + BATCH]])
            if time.monotonic() > end and len(scores) < len(hits):
                warnings.warn(
                    f"the reranker {self._name} stands aside: {len(scores)} of {len(hits)} passages read in "
                    f"{self._seconds:g} s; rerank fewer, or allow more seconds",
                    RuntimeWarning,
                    stacklevel=2,
                )
                return list(hits)
        return ordered(hits, np.array(scores))

    @torch.inference_mode()
    def _score(self, query: str, texts: list[str]) -> list[float]:
        inputs = self._tokenizer(
            [query] * len(texts), texts, padding=True, truncation="longest_first", return_tensors="pt"
        )
        # One output is the score; of two or more, the last is the class "relevant".
        return [float(score) for score in self._model(**inputs).logits[:, -1]]
