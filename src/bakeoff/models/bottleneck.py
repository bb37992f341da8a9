"""Bottleneck adapters: two small layers behind each attention and each MLP (Houlsby et al. 2019).

They start as the identity and hold the only weights that are trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bakeoff.errors import ModelError

OUTPUTS = ("o_proj", "down_proj")
"""The last layer of an attention and of an MLP, as models of the Llama family name them."""
FILE = "bottleneck.safetensors"


class Bottleneck(nn.Module):
    """A layer of the model, then down to a few dimensions and up again, added to what came out of it."""

    def __init__(self, layer: nn.Linear, size: int) -> None:
        super().__init__()
        self.layer = layer
        self.down = nn.Linear(layer.out_features, size)
        self.up = nn.Linear(size, layer.out_features)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(x)
        added: Tensor = self.up(nn.functional.gelu(self.down(found.to(self.down.weight.dtype))))
        return found + added.to(found.dtype)


def insert(model: Any, size: int) -> dict[str, Bottleneck]:
    """Put an adapter behind each attention and MLP of `model`; returns them by name.

    Raises `ModelError` for an architecture without such layers.
    """
    places = [(name, module) for name, module in model.named_modules() if name.rpartition(".")[2] in OUTPUTS]
    if not places:
        raise ModelError(f"this model has no layers named {' or '.join(OUTPUTS)} to put adapters behind; use lora")
    made = {}
    for name, module in places:
        parent, _, own = name.rpartition(".")
        made[name] = Bottleneck(module, size).to(module.weight.device)
        setattr(model.get_submodule(parent), own, made[name])
    return made


def state(adapters: dict[str, Bottleneck]) -> dict[str, Tensor]:
    """The trained weights."""
    return {
        f"{name}.{part}.{kind}": getattr(getattr(adapter, part), kind).detach()
        for name, adapter in adapters.items()
        for part in ("down", "up")
        for kind in ("weight", "bias")
    }


def save(tensors: dict[str, Tensor], folder: Path) -> None:
    """Write trained weights as `bottleneck.safetensors`."""
    save_file({name: tensor.cpu() for name, tensor in tensors.items()}, folder / FILE)


def load(model: Any, folder: Path) -> None:
    """Put the adapters of a checkpoint into `model`."""
    tensors = load_file(folder / FILE)
    size = next(tensor.shape[0] for name, tensor in tensors.items() if name.endswith(".down.weight"))
    adapters = insert(model, size)
    with torch.no_grad():
        for name, value in tensors.items():
            place, part, kind = name.rsplit(".", 2)
            getattr(getattr(adapters[place], part), kind).copy_(value)
