"""Write a BERT sentence embedder as an ONNX graph with int8 matrices, for ONNX Runtime.

The file is protobuf, of which ONNX needs three kinds of field, so it is written here without the package onnx. Source
of the field numbers: onnx/onnx.proto (IR version 8); of the fused operators: ONNX Runtime, docs/ContribOperators.md.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bakeoff.models.bert import read_safetensors

_TYPES = {"float32": 1, "int8": 3, "int32": 6, "int64": 7}
_FUSED = "com.microsoft"


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
    target.write_bytes(_Graph(config, weights, facts).model())


class _Graph:
    """Nodes and constants, collected while the model is walked through."""

    def __init__(self, config: dict[str, Any], weights: dict[str, Any], facts: dict[str, str]) -> None:
        self._weights = weights
        self._facts = facts
        self._heads = int(config["num_attention_heads"])
        self._epsilon = float(config["layer_norm_eps"])
        self._layers = int(config["num_hidden_layers"])
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []
        self._count = 0

    def model(self) -> bytes:
        """The whole file."""
        self._walk()
        inputs = [_value("ids", 7, [1, "T"]), _value("mask", 6, [1, "T"])]
        graph = b"".join(
            [
                *(_bytes(1, node) for node in self._nodes),
                _bytes(2, b"bert"),
                *(_bytes(5, constant) for constant in self._constants),
                *(_bytes(11, value) for value in inputs),
                _bytes(12, _value("states", 1, [1, "T", "D"])),
            ]
        )
        opsets = [
            _bytes(8, _bytes(1, domain) + _int(2, version)) for domain, version in ((b"", 17), (b"com.microsoft", 1))
        ]
        facts = (_bytes(14, _bytes(1, key.encode()) + _bytes(2, value.encode())) for key, value in self._facts.items())
        return _int(1, 8) + b"".join(opsets) + _bytes(7, graph) + b"".join(facts)

    def _walk(self) -> None:
        table = "embeddings.{}.weight".format
        # Every text is of token type 0.
        places = self._weights[table("position_embeddings")] + self._weights[table("token_type_embeddings")][0]
        length = self._node("Shape", ["ids"], start=1, end=2)
        place = self._node("Slice", [self._constant(places), self._constant([0]), length, self._constant([0])])
        words = self._node("Gather", [self._constant(self._weights[table("word_embeddings")]), "ids"])
        states = self._normed("embeddings.LayerNorm", self._node("Add", [words, place]))
        for layer in range(self._layers):
            name = f"encoder.layer.{layer}"
            projected = self._linear([f"{name}.attention.self.{part}" for part in ("query", "key", "value")], states)
            parts = self._node("Split", [projected], outputs=3, axis=2)
            mixed = self._node("MultiHeadAttention", [*parts, "", "mask"], domain=_FUSED, num_heads=self._heads)
            shown = self._linear([f"{name}.attention.output.dense"], mixed)
            states = self._normed(f"{name}.attention.output.LayerNorm", self._node("Add", [shown, states]))
            wide = self._linear([f"{name}.intermediate.dense"], states)
            narrow = self._linear([f"{name}.output.dense"], self._node("Gelu", [wide], domain=_FUSED))
            states = self._normed(f"{name}.output.LayerNorm", self._node("Add", [narrow, states]))
        self._node("Identity", [states], name="states")

    def _linear(self, names: Sequence[str], states: str) -> str:
        matrix = np.concatenate([self._weights[f"{name}.weight"] for name in names]).T
        bias = np.concatenate([self._weights[f"{name}.bias"] for name in names])
        scale = np.abs(matrix).max(axis=0) / 127
        whole = np.rint(matrix / scale).astype(np.int8)
        inputs = [states, self._constant(whole), self._constant(scale), "", self._constant(bias)]
        return str(self._node("DynamicQuantizeMatMul", inputs, domain=_FUSED))

    def _normed(self, name: str, states: str) -> str:
        gain, bias = (self._constant(self._weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return str(self._node("LayerNormalization", [states, gain, bias], axis=-1, epsilon=self._epsilon))

    def _constant(self, value: Any) -> str:
        array = np.ascontiguousarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = self._name()
        dims = b"".join(_int(1, size) for size in array.shape)
        self._constants.append(
            dims + _int(2, _TYPES[array.dtype.name]) + _bytes(8, name.encode()) + _bytes(9, array.tobytes())
        )
        return name

    def _node(
        self, kind: str, inputs: Sequence[str], *, domain: str = "", outputs: int = 0, name: str = "", **options: Any
    ) -> Any:
        """Add a node; returns the name of its output, or a list of names where `outputs` are asked for."""
        names = [name or self._name()] if not outputs else [self._name() for _ in range(outputs)]
        self._nodes.append(
            b"".join(
                [
                    *(_bytes(1, one.encode()) for one in inputs),
                    *(_bytes(2, one.encode()) for one in names),
                    _bytes(4, kind.encode()),
                    *(_bytes(5, _attribute(key, value)) for key, value in options.items()),
                    _bytes(7, domain.encode()),
                ]
            )
        )
        return names if outputs else names[0]

    def _name(self) -> str:
        self._count += 1
        return f"n{self._count}"


def _attribute(name: str, value: int | float) -> bytes:
    if isinstance(value, float):
        return _bytes(1, name.encode()) + b"\x15" + struct.pack("<f", value) + _int(20, 1)
    return _bytes(1, name.encode()) + _int(3, value) + _int(20, 2)


def _value(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(_bytes(1, _int(1, size) if isinstance(size, int) else _bytes(2, size.encode())) for size in shape)
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, _int(1, kind) + _bytes(2, dims)))


def _int(field: int, value: int) -> bytes:
    return bytes([*_varint(field << 3), *_varint(value & (1 << 64) - 1)])


def _bytes(field: int, data: bytes) -> bytes:
    return bytes([*_varint(field << 3 | 2), *_varint(len(data))]) + data


def _varint(value: int) -> Iterator[int]:
    while value > 127:
        yield value & 127 | 128
        value >>= 7
    yield value
