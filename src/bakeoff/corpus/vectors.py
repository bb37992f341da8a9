"""Nearest vectors of the embedded store: all compared in memory, or most of them looked up in a graph on disk.

The graph is derived data and may propose, never decide. What it proposes is looked up in the database, where deleted
text is gone, and scored with the stored vector; chunks written since are compared one by one. The database names the
file that belongs to it. One that is missing, damaged or of another state is not used, and all vectors are compared.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

from bakeoff.corpus.matrix import Matrix, best, chunk_numbers, vector_batches, vector_rows, verify
from bakeoff.errors import MissingPackageError, StoreError
from bakeoff.types import Vectors

if TYPE_CHECKING:
    from bakeoff.corpus.graph import Graph

NEWEST = 10_000
"""So many chunks outside the graph are compared in 2.4 ms, and no reason to write it anew."""
GONE = 0.2
"""With a larger share of deleted chunks the graph is made from scratch."""
PART_SECONDS = 3600
"""An unfinished file of this age was left by a crash."""


@dataclass(frozen=True, slots=True)
class State:
    """What the database says, in one read."""

    writes: str
    """Changes with every transaction."""
    vectors: str
    """Changes when vectors of chunks that stay do; graphs and matrices of before are void."""
    graph: str
    """Digest of the graph's file; "" for none."""


@dataclass(frozen=True, slots=True)
class Made:
    """A graph in a file that nothing names yet."""

    part: Path
    digest: str
    vectors: str
    """Of the state that it was made from."""


class Nearest:
    """Finds the chunks whose vectors have the highest inner product with a given one.

    Raises `MissingPackageError` where an approximate search is wanted without faiss.
    """

    def __init__(self, database: Path, approximate: bool) -> None:
        if approximate and find_spec("faiss") is None:
            raise MissingPackageError('vectors = "approximate"', "faiss", "ann")
        self._database = database
        self._approximate = approximate
        self._matrix: Matrix | None = None
        self._graph: tuple[str, Graph | None] = ("", None)

    def search(
        self, connection: sqlite3.Connection, asked: Vectors, k: int, where: str, values: Sequence[str]
    ) -> dict[int, float]:
        """Chunk number -> inner product, of at least the `k` best that `where` allows, if there are as many."""
        state, graph = self._open(connection)
        after = graph.last if graph else 0
        matrix = self._caught_up(connection, state, after)
        count = k + 8  # a few more, so that ties at the edge are settled by id and not by chance
        filtered = where and len(matrix.numbers)
        found = matrix.near(asked, count, chunk_numbers(connection, after, where, values) if filtered else None)
        if graph is None:
            return found
        proposed = graph.propose(asked, 40 * k if where else 4 * k + 8)
        marks = ",".join("?" * len(proposed))
        old = best(vector_rows(connection, f"c.number IN ({marks})", proposed, where, values), asked, count)
        if len(old) < k:  # the filter lets few of them through, or many are gone
            old = best(vector_rows(connection, "c.number <= ?", [after], where, values), asked, count)
        return found | old

    # ------------------------------------------------------------ upkeep of the graph

    def make(self, connection: sqlite3.Connection, progress: Callable[[int, int], None] | None) -> Made | None:
        """Write a graph of all chunks where that pays; `bind` puts it to use."""
        if not self._approximate:
            return None
        from bakeoff.corpus.graph import write

        state, graph = self._open(connection)
        total, behind, gone = _counts(connection, graph)
        stale = graph is not None and gone > GONE * graph.size
        if total <= NEWEST or (behind <= NEWEST and not stale):
            return None
        part = self._database.with_name(f"{self._database.name}-vectors-{uuid4().hex}.part")
        try:
            if graph and not stale:
                digest = graph.write(part, vector_batches(connection, graph.last, behind, progress))
            else:
                digest = write(part, _dimension(connection), vector_batches(connection, 0, total, progress))
        except FileNotFoundError:  # purged by another process just now; the next sync makes it
            return None
        except OSError as error:
            part.unlink(missing_ok=True)
            raise StoreError(
                f"the vector index beside {self._database} cannot be written ({' '.join(str(error).split())}); "
                "free some space and run `bakeoff ingest`; what was indexed is kept"
            ) from error
        return Made(part, digest, state.vectors)

    def bind(self, connection: sqlite3.Connection, made: Made) -> None:
        """Name the file in the database, unless its vectors are of the past by now."""
        if made.vectors == _state(connection).vectors and made.part.exists():
            made.part.replace(self._file(made.digest))
            _name(connection, made.digest)

    def sweep(self, connection: sqlite3.Connection, age: float = PART_SECONDS) -> None:
        """Remove what the database does not name, unfinished files from `age` seconds on; the caller has the lock."""
        named = self._file(_state(connection).graph)
        for path in self._database.parent.glob(f"{self._database.name}-vectors-*"):
            # One that a reader has mapped cannot go on Windows; the next sweep takes it.
            with contextlib.suppress(OSError):
                if path != named and (path.suffix != ".part" or time.time() - path.stat().st_mtime >= age):
                    path.unlink()

    def forget(self, connection: sqlite3.Connection) -> None:
        """Remove a graph that holds anything deleted, and void those that other processes are making now."""
        state, graph = self._open(connection)
        connection.execute("UPDATE settings SET value = value + 1 WHERE key = 'vectors'")
        _name(connection, state.graph if graph and not _counts(connection, graph)[2] else "")
        self.sweep(connection, age=0)

    def faults(self, connection: sqlite3.Connection) -> list[str]:
        """What is wrong with the graph; the file is read again."""
        if not self._approximate:
            return []
        self._graph = ("", None)
        state, graph = self._open(connection)
        total, behind, _ = _counts(connection, graph)
        if graph is None and total > NEWEST:
            return ["the vector index is damaged" if state.graph else "the vector index is missing"]
        return [f"the vector index lacks {behind:,} chunks"] if behind > NEWEST else []

    # ------------------------------------------------------------ inside

    def _open(self, connection: sqlite3.Connection) -> tuple[State, Graph | None]:
        """What the database says now, and the graph that belongs to it, if that is whole."""
        state = _state(connection)
        for _ in range(2):
            if not self._approximate or not state.graph:
                return state, None
            from bakeoff.corpus.graph import read

            if state.graph != self._graph[0]:
                self._graph = (state.graph, read(self._file(state.graph), state.graph))
            if self._graph[1]:
                break
            state = _state(connection)  # a writer may have put another file in place of this one just now
        return state, self._graph[1]

    def _caught_up(self, connection: sqlite3.Connection, state: State, after: int) -> Matrix:
        matrix = self._matrix
        if matrix is None or (matrix.vectors, matrix.after) != (state.vectors, after):
            nothing = np.zeros(0, np.int64), np.zeros((0, 0), np.float32)
            matrix = Matrix(state.vectors, after, "", after, *nothing)
        self._matrix = matrix = matrix.caught_up(connection, state.writes)
        return matrix

    def _file(self, digest: str) -> Path:
        return self._database.with_name(f"{self._database.name}-vectors-{digest[:16]}")


def _state(connection: sqlite3.Connection) -> State:
    keys = ("writes", "vectors", "embedder", "graph")
    found = dict(connection.execute(f"SELECT key, value FROM settings WHERE key IN {keys}"))
    verify(found.keys() >= {"writes", "vectors"})
    vectors = f"{found['vectors']} {found.get('embedder', '')}"
    graph, _, of = str(found.get("graph", "")).partition(" ")
    return State(found["writes"], vectors, graph if of == vectors else "")


def _name(connection: sqlite3.Connection, digest: str) -> None:
    """Say that this graph belongs to the vectors as they are now."""
    name = f"{digest} {_state(connection).vectors}"
    connection.execute("INSERT OR REPLACE INTO settings VALUES ('graph', ?)", (name,))


def _dimension(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT length(vector) / 4 FROM chunks LIMIT 1").fetchone()[0])


def _counts(connection: sqlite3.Connection, graph: Graph | None) -> tuple[int, int, int]:
    """Chunks in all, those that are not in the graph, and those in it that are gone."""
    last, size = (graph.last, graph.size) if graph else (0, 0)
    query = "SELECT count(*), coalesce(sum(number > ?), 0) FROM chunks"
    total, behind = connection.execute(query, (last,)).fetchone()
    return total, behind, size - (total - behind)
