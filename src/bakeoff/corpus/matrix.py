"""Vectors as they stand in the database, compared with a given one: all held in memory, or some read for it."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import nlargest
from itertools import islice
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from bakeoff.types import Vectors

BATCH = 4096
JOIN = " JOIN documents d ON d.id = c.document_id"
"""Where a filter looks at documents."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """The vectors of all chunks numbered above `after`, in memory."""

    vectors: str
    after: int
    writes: str
    last: int
    numbers: NDArray[np.int64]
    rows: Vectors

    def caught_up(self, connection: sqlite3.Connection, writes: str) -> Matrix:
        """With what was deleted taken out, and what was added put in."""
        if writes == self.writes:
            return self
        there = chunk_numbers(connection, self.after) if len(self.numbers) else self.numbers
        keep = np.isin(self.numbers, there, assume_unique=True)
        query = "SELECT number, vector, vector_sum FROM chunks WHERE number > ? ORDER BY number"
        added, buffer = array("q"), bytearray()
        for number, blob, sum in connection.execute(query, (self.last,)):
            added.append(number)
            buffer += sound(blob, sum)
        if not added and keep.all():
            return replace(self, writes=writes)
        numbers, rows = self.numbers[keep], self.rows[keep]
        if added:
            new = np.frombuffer(buffer, np.float32).reshape(len(added), -1)
            rows = np.concatenate([rows, new]) if len(numbers) else new
            numbers = np.concatenate([numbers, np.frombuffer(added, np.int64)])
        return Matrix(self.vectors, self.after, writes, max([self.last, *added[-1:]]), numbers, rows)

    def near(self, asked: Vectors, count: int, allowed: NDArray[np.int64] | None) -> dict[int, float]:
        """Chunk number -> inner product, of the `count` highest."""
        if not len(self.numbers):
            return {}
        scores = self.rows @ asked
        if allowed is not None:
            scores[~np.isin(self.numbers, allowed, assume_unique=True)] = -np.inf
        places = np.argpartition(-scores, min(count, len(scores)) - 1)[:count]
        return {int(self.numbers[place]): float(scores[place]) for place in places if np.isfinite(scores[place])}


def chunk_numbers(
    connection: sqlite3.Connection, after: int, where: str = "", values: Sequence[str] = ()
) -> NDArray[np.int64]:
    query = f"SELECT c.number FROM chunks c{JOIN if where else ''} WHERE c.number > ?{where}"
    rows = connection.execute(query, (after, *values))
    return np.fromiter((number for (number,) in rows), np.int64)


Rows = Iterable[tuple[int, object, int]]
"""Chunk number, vector as bytes, their sum."""


def vector_rows(
    connection: sqlite3.Connection, which: str, numbers: Sequence[int], where: str = "", values: Sequence[str] = ()
) -> Rows:
    query = f"SELECT c.number, c.vector, c.vector_sum FROM chunks c{JOIN if where else ''} WHERE {which}{where}"
    return connection.execute(query, (*numbers, *values))


def vector_batches(
    connection: sqlite3.Connection, after: int, total: int, progress: Callable[[int, int], None] | None
) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
    """All that is numbered above `after`, in order, by many short reads so that no writer's log grows meanwhile."""
    done = 0
    while rows := list(vector_rows(connection, f"c.number > ? ORDER BY c.number LIMIT {BATCH}", [after])):
        numbers, vectors = arrays(rows)
        yield numbers, vectors
        after, done = int(numbers[-1]), done + len(rows)
        if progress:
            progress(done, max(done, total))


def best(rows: Rows, asked: Vectors, count: int) -> dict[int, float]:
    """Chunk number -> inner product, of the `count` highest, however many rows there are."""
    best: dict[int, float] = {}
    waiting = iter(rows)
    while batch := list(islice(waiting, BATCH)):
        numbers, vectors = arrays(batch)
        best |= zip(numbers.tolist(), (vectors @ asked).tolist(), strict=True)
        best = dict(nlargest(count, best.items(), key=lambda item: item[1]))
    return best


def arrays(rows: Sequence[tuple[int, object, int]]) -> tuple[NDArray[np.int64], Vectors]:
    """Numbers, and vectors of shape [len(rows), dimension]."""
    joined = b"".join(sound(blob, sum) for _, blob, sum in rows)
    vectors = np.frombuffer(joined, np.float32).reshape(len(rows), -1)
    return np.array([number for number, _, _ in rows], np.int64), vectors


def sound(blob: object, sum: int) -> bytes:
    verify(isinstance(blob, bytes) and crc32(blob) == sum)
    assert isinstance(blob, bytes)
    return blob


def verify(sound: bool) -> None:
    if not sound:
        raise sqlite3.DatabaseError("a row is not what was written")
