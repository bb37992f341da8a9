"""The mean of a causal model's last hidden states, through torch: the features of a head on the base itself."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from bakeoff.errors import ModelError
from bakeoff.models import weights as files
from bakeoff.models.additions import add
from bakeoff.models.devices import device, moved
from bakeoff.models.gguf import load_for_training
from bakeoff.models.llama import free_cores
from bakeoff.types import Vectors

BATCH = 16


class Embedder:
    """Texts of similar length go in together; the model is loaded at the first use."""

    def __init__(self, weights: files.Weights) -> None:
        self.name = f"pooled:{weights.name}"
        self.fingerprint = f"pooled-{weights.fingerprint}"
        self.window = files.window(weights)
        self._weights = weights
        self._loaded: tuple[Any, Any] | None = None
        self._lock = threading.Lock()

    @property
    def dimension(self) -> int:
        return int(self._load()[0].config.hidden_size)

    def count(self, text: str) -> int:
        return len(self._ids(text))

    def embed(self, texts: Sequence[str]) -> Vectors:
        model, _ = self._load()
        ids = [self._ids(text) for text in texts]
        found = np.zeros((len(texts), self.dimension), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda place: len(ids[place]))
        for first in range(0, len(order), BATCH):
            part = order[first : first + BATCH]
            longest = max(len(ids[place]) for place in part)
            if longest > self.window:
                raise ModelError(f"a text of {longest} tokens does not fit {self.name}'s window of {self.window}")
            rows = torch.zeros(len(part), longest, dtype=torch.long)
            mask = torch.zeros(len(part), longest, dtype=torch.long)
            for row, place in enumerate(part):
                rows[row, : len(ids[place])] = torch.tensor(ids[place])
                mask[row, : len(ids[place])] = 1
            rows, mask = rows.to(model.device), mask.to(model.device)
            with torch.no_grad():
                states = model.base_model(input_ids=rows, attention_mask=mask, use_cache=False).last_hidden_state
                means = (states * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
                found[part] = torch.nn.functional.normalize(means.float(), dim=1).cpu().numpy()
        return found

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._load()[1].encode(text or " ", add_special_tokens=False).ids
        return ids

    def _load(self) -> tuple[Any, Any]:
        with self._lock:
            if self._loaded is None:
                torch.set_num_threads(free_cores())
                model, tokenizer = load_for_training(self._weights.path)
                if self._weights.adapter is not None:
                    model, _ = add(model, self._weights.adapter)
                self._loaded = moved(model, device()), tokenizer
            return self._loaded
