"""A learnt beginning of every prompt, as keys and values of each layer: what prefix and prompt tuning come down to.

The prompt follows behind it, as if the prefix were its first tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import DynamicCache

FILE = "prefix.safetensors"


@dataclass(frozen=True, slots=True)
class Prefix:
    """Both [layers, key-value heads, virtual tokens, head dimension]."""

    keys: Tensor
    values: Tensor

    @property
    def length(self) -> int:
        """Virtual tokens."""
        return self.keys.shape[2]

    def to(self, device: torch.device) -> Prefix:
        """The same where the model is."""
        return Prefix(self.keys.to(device), self.values.to(device))

    def cache(self, rows: int) -> DynamicCache:
        """What a model is given as its past, for a batch of `rows`."""
        found = DynamicCache()
        for layer, (key, value) in enumerate(zip(self.keys, self.values, strict=True)):
            found.update(key.expand(rows, -1, -1, -1), value.expand(rows, -1, -1, -1), layer)
        return found

    def save(self, folder: Path) -> None:
        """Write `prefix.safetensors`, in fp32."""
        tensors = {"keys": self.keys, "values": self.values}
        save_file({name: one.float().contiguous().cpu() for name, one in tensors.items()}, folder / FILE)


def load(folder: Path) -> Prefix:
    """The prefix of a checkpoint."""
    tensors = load_file(folder / FILE)
    return Prefix(tensors["keys"], tensors["values"])


def of(model: Any, vectors: Tensor) -> Prefix:
    """The keys and values that `model` makes of `vectors` [virtual tokens, dimension] in place of embeddings."""
    with torch.no_grad():
        made = model.base_model(inputs_embeds=vectors[None], use_cache=True).past_key_values
    layers = [(layer.keys[0], layer.values[0]) for layer in made.layers]
    return Prefix(torch.stack([key for key, _ in layers]), torch.stack([value for _, value in layers]))
