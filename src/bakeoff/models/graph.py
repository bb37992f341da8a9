"""An ONNX file, written node by node.

The file is protobuf, of which ONNX needs three kinds of field, so it is written here without the package onnx. Source
of the field numbers: onnx/onnx.proto (IR version 8).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "float16": 10}


@dataclass(frozen=True, slots=True)
class Port:
    """What goes in or comes out."""

    name: str
    kind: str
    shape: tuple[int | str, ...]
    """A name stands for any size."""

    @property
    def field(self) -> bytes:
        return _value(self.name, _TYPES[self.kind], self.shape)


class Graph:
    """Nodes and constants, collected one after the other."""

    def __init__(self, name: str) -> None:
        self._graph_name = name
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []
        self._count = 0

    def model(
        self, inputs: Sequence[Port], outputs: Sequence[Port], versions: Mapping[str, int], facts: Mapping[str, str]
    ) -> bytes:
        """The whole file; `versions`: set of operators -> its version, `facts` go into the metadata."""
        graph = [
            *(_bytes(1, node) for node in self._nodes),
            _bytes(2, self._graph_name.encode()),
            *(_bytes(5, constant) for constant in self._constants),
            *(_bytes(11, port.field) for port in inputs),
            *(_bytes(12, port.field) for port in outputs),
        ]
        opsets = [_bytes(8, _bytes(1, domain.encode()) + _int(2, version)) for domain, version in versions.items()]
        noted = (_bytes(14, _bytes(1, key.encode()) + _bytes(2, value.encode())) for key, value in facts.items())
        return b"".join([_int(1, 8), *opsets, _start(7, sum(map(len, graph))), *graph, *noted])

    def constant(self, value: Any) -> str:
        """Add a constant; returns its name. Doubles become floats."""
        array = np.ascontiguousarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = self._name()
        dims = b"".join(_int(1, size) for size in array.shape)
        self._constants.append(
            dims + _int(2, _TYPES[array.dtype.name]) + _bytes(8, name.encode()) + _bytes(9, array.tobytes())
        )
        return name

    def node(
        self,
        kind: str,
        inputs: Sequence[str],
        *,
        domain: str = "",
        outputs: int | Sequence[str] = 0,
        name: str = "",
        **options: Any,
    ) -> Any:
        """Add a node; returns the name of its output, or a list of names where `outputs` are asked for or named."""
        several = [self._name() for _ in range(outputs)] if isinstance(outputs, int) else list(outputs)
        names = several or [name or self._name()]
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
        return several or names[0]

    def _name(self) -> str:
        self._count += 1
        return f"n{self._count}"


def _attribute(name: str, value: Any) -> bytes:
    """A number, a word, or a sequence of either."""
    start = _bytes(1, name.encode())
    if isinstance(value, float):
        return start + b"\x15" + struct.pack("<f", value) + _int(20, 1)
    if isinstance(value, int):
        return start + _int(3, value) + _int(20, 2)
    if isinstance(value, str):
        return start + _bytes(4, value.encode()) + _int(20, 3)
    if isinstance(value[0], str):
        return start + b"".join(_bytes(9, word.encode()) for word in value) + _int(20, 8)
    if isinstance(value[0], float):
        return start + b"".join(b"\x3d" + struct.pack("<f", number) for number in value) + _int(20, 6)
    return start + b"".join(_int(8, number) for number in value) + _int(20, 7)


def _value(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(_bytes(1, _int(1, size) if isinstance(size, int) else _bytes(2, size.encode())) for size in shape)
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, _int(1, kind) + _bytes(2, dims)))


def _int(field: int, value: int) -> bytes:
    return bytes([*_varint(field << 3), *_varint(value & (1 << 64) - 1)])


def _bytes(field: int, data: bytes) -> bytes:
    return _start(field, len(data)) + data


def _start(field: int, size: int) -> bytes:
    return bytes([*_varint(field << 3 | 2), *_varint(size)])


def _varint(value: int) -> Iterator[int]:
    while value > 127:
        yield value & 127 | 128
        value >>= 7
    yield value
