"""Approximately nearest vectors: a graph (HNSW, by faiss) in a file that is mapped into memory.

Whoever holds the file's digest can tell a damaged or foreign one; a written file is never changed, so its readers go on
while another takes its place.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from bakeoff.types import Vectors

NEIGHBOURS = 16
BREADTH_OF_BUILDING = 128
BREADTH = 256
"""Of a search, to a hundred thousand; among more it grows with the root of their number. Among 50,000 passages 64 finds
97.8% of the true ten, 128 99.4%, 256 99.9% and 512 99.97%, in .14, .19, .33 and .60 ms; a million: 93% by 256."""
REACH = 6.2
"""Standard deviations of a unit vector's values that an int8 holds; those of MiniLM end at 5.5."""


class Graph:
    """Numbered unit vectors as int8: their inner products are good enough to propose, not to rank."""

    def __init__(self, path: Path) -> None:
        self._file = path
        self._index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        # Searched without the numbers around it, for with them faiss wakes all cores for one query.
        self._vectors = self._index.index
        self._numbers = faiss.vector_to_array(self._index.id_map)
        self.size = len(self._numbers)
        self._options = faiss.SearchParametersHNSW(efSearch=round(BREADTH * max(1, self.size / 100_000) ** 0.5))
        self.last = int(self._numbers.max())
        """The highest number in it."""

    def propose(self, asked: Vectors, count: int) -> list[int]:
        """Numbers of about the nearest."""
        _, places = self._vectors.search(_small(asked[None]), count, params=self._options)
        found: list[int] = self._numbers[places[places >= 0]].tolist()
        return found

    def write(self, path: Path, batches: Iterable[tuple[NDArray[np.int64], Vectors]]) -> str:
        """Put this graph and more numbered vectors into a file; returns its digest. Raises `OSError`."""
        try:
            index = faiss.read_index(str(self._file))
        except RuntimeError as error:
            raise FileNotFoundError(self._file) from error
        return _write(path, index, batches)


def read(path: Path, digest: str) -> Graph | None:
    """The graph in the file; None where it is not there, or not what was written."""
    try:
        if _digest(path) == digest:
            return Graph(path)
    except (OSError, RuntimeError):
        pass
    return None


def write(path: Path, dimension: int, batches: Iterable[tuple[NDArray[np.int64], Vectors]]) -> str:
    """Put a graph of the numbered vectors into a file; returns its digest. Raises `OSError`.

    All cores take part, so that the same vectors do not give the same graph twice.
    """
    kind = faiss.ScalarQuantizer.QT_8bit_direct_signed
    graph = faiss.IndexHNSWSQ(dimension, kind, NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = BREADTH_OF_BUILDING
    return _write(path, faiss.IndexIDMap(graph), batches)


def _write(path: Path, index: Any, batches: Iterable[tuple[NDArray[np.int64], Vectors]]) -> str:
    for numbers, vectors in batches:
        index.add_with_ids(_small(vectors), numbers)
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        path.unlink(missing_ok=True)
        raise OSError(" ".join(str(error).split()).rpartition("Error: ")[2]) from error
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return _digest(path)


def _small(vectors: Vectors) -> Vectors:
    scale = 127 * np.sqrt(vectors.shape[1]) / REACH
    return np.asarray(np.clip(np.rint(vectors * scale), -127, 127), dtype=np.float32)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
