"""What generators have in common whose model runs in this process with its adapters beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from bakeoff.models import weights as files


class Local:
    """Weights with their template and window, and the adapters that requests may name."""

    def __init__(self, weights: files.Weights, adapters: Sequence[Path], reuse: bool) -> None:
        self.name = weights.name
        self.weights = weights
        self.template = files.template(weights)
        self.window = min(files.window(weights), files.LONGEST_WINDOW)
        own = (weights.adapter,) if weights.adapter is not None and weights.adapter not in adapters else ()
        self._adapters = (*adapters, *own)
        self._reuse = reuse

    @property
    def fingerprint(self) -> str:
        """Of the weights, adapter included."""
        return self.weights.fingerprint

    def carries(self, weights: files.Weights) -> bool:
        """Whether it can answer as that checkpoint by switching."""
        if weights.adapter is None or (weights.path, weights.written) != (self.weights.path, self.weights.written):
            return False
        return self._switches(weights.adapter)

    def _switches(self, checkpoint: Path) -> bool:
        """Whether the engine knows what is in that folder."""
        return (checkpoint / "adapter.gguf").is_file()

    def using(self, weights: files.Weights) -> Self:
        """The same model with another of its adapters, or with none."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__, name=weights.name, weights=weights)
        return twin
