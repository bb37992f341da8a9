"""Write a BERT sentence embedder as an ONNX graph with int8 matrices, for ONNX Runtime.

Source of the fused operators: ONNX Runtime, docs/ContribOperators.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bakeoff.models.bert import read_safetensors
from bakeoff.models.graph import Graph, Port

_FUSED = "com.microsoft"
_LEVELS = 63
"""Weights take seven bits: CPUs without VNNI add two products in 16 bits, which two of eight bits would overflow.
As many neighbours stay those of fp32 (docs/log.md)."""


def to_onnx(folder: Path, target: Path) -> None:
    """`folder` holds config.json, vocab.txt and model.safetensors.

    Inputs `ids` int64 and `mask` int32, both [1, T]; output `states` [1, T, dimension]. Matrices are int8 with a scale
    for each column; activations are quantised as they come, one scale for a whole text, so texts go in one by one.
    """
    config = json.loads((folder / "config.json").read_text())
    weights = read_safetensors(folder / "model.safetensors")
    facts = {
        "vocabulary": "\n".join((folder / "vocab.txt").read_text().split("\n")[: config["vocab_size"]]),
        "window": str(config["max_position_embeddings"]),
        "dimension": str(config["hidden_size"]),
    }
    graph = _Bert(config, weights)
    states = graph.walk()
    graph.node("Identity", [states], name="states")
    ports = (
        [Port("ids", "int64", (1, "T")), Port("mask", "int32", (1, "T"))],
        [Port("states", "float32", (1, "T", "D"))],
    )
    target.write_bytes(graph.model(*ports, {"": 17, _FUSED: 1}, facts))


class _Bert(Graph):
    """The model, walked through once."""

    def __init__(self, config: dict[str, Any], weights: dict[str, Any]) -> None:
        super().__init__("bert")
        self._weights = weights
        self._heads = int(config["num_attention_heads"])
        self._epsilon = float(config["layer_norm_eps"])
        self._layers = int(config["num_hidden_layers"])

    def walk(self) -> str:
        """Name of the last hidden states."""
        table = "embeddings.{}.weight".format
        # Every text is of token type 0.
        places = self._weights[table("position_embeddings")] + self._weights[table("token_type_embeddings")][0]
        length = self.node("Shape", ["ids"], start=1, end=2)
        place = self.node("Slice", [self.constant(places), self.constant([0]), length, self.constant([0])])
        words = self.node("Gather", [self.constant(self._weights[table("word_embeddings")]), "ids"])
        states = self._normed("embeddings.LayerNorm", self.node("Add", [words, place]))
        for layer in range(self._layers):
            name = f"encoder.layer.{layer}"
            projected = self._linear([f"{name}.attention.self.{part}" for part in ("query", "key", "value")], states)
            parts = self.node("Split", [projected], outputs=3, axis=2)
            mixed = self.node("MultiHeadAttention", [*parts, "", "mask"], domain=_FUSED, num_heads=self._heads)
            shown = self._linear([f"{name}.attention.output.dense"], mixed)
            states = self._normed(f"{name}.attention.output.LayerNorm", self.node("Add", [shown, states]))
            wide = self._linear([f"{name}.intermediate.dense"], states)
            narrow = self._linear([f"{name}.output.dense"], self.node("Gelu", [wide], domain=_FUSED))
            states = self._normed(f"{name}.output.LayerNorm", self.node("Add", [narrow, states]))
        return states

    def _linear(self, names: Sequence[str], states: str) -> str:
        matrix = np.concatenate([self._weights[f"{name}.weight"] for name in names]).T
        bias = np.concatenate([self._weights[f"{name}.bias"] for name in names])
        scale = np.abs(matrix).max(axis=0) / _LEVELS
        whole = np.rint(matrix / scale).astype(np.int8)
        inputs = [states, self.constant(whole), self.constant(scale), "", self.constant(bias)]
        return str(self.node("DynamicQuantizeMatMul", inputs, domain=_FUSED))

    def _normed(self, name: str, states: str) -> str:
        gain, bias = (self.constant(self._weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return str(self.node("LayerNormalization", [states, gain, bias], axis=-1, epsilon=self._epsilon))
