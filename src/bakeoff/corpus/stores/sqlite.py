"""The embedded store: one SQLite file holds documents, chunks, full text and vectors, so one transaction covers all.

WAL with synchronous=FULL: readers never wait, and what was committed survives a crash. A second writer waits.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from bakeoff.corpus.vectors import Nearest
from bakeoff.errors import ConfigError, StoreError
from bakeoff.types import Chunk, Document, Filter, Hit, Vectors
from bakeoff.words import content_words
from bakeoff.words import words as every_word

BUSY_SECONDS = 30
"""How long a second writer waits for the first."""

VERSION = 5
"""Of the schema; a file of another version is refused, for it can be made again from its sources."""

SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT OR IGNORE INTO settings VALUES ('writes', '0'), ('vectors', '0');
CREATE TABLE IF NOT EXISTS documents (
    id TEXT PRIMARY KEY, source TEXT NOT NULL, stamp TEXT NOT NULL, failure TEXT NOT NULL,
    text TEXT NOT NULL, metadata TEXT NOT NULL, groups TEXT NOT NULL,
    sum INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS documents_of_source ON documents (source, id);
CREATE TABLE IF NOT EXISTS chunks (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL,
    document_id TEXT NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    start INTEGER NOT NULL, "end" INTEGER NOT NULL, page INTEGER, section TEXT NOT NULL, text TEXT NOT NULL,
    sum INTEGER NOT NULL, vector BLOB NOT NULL, vector_sum INTEGER NOT NULL, key TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS chunks_of_document ON chunks (document_id);
CREATE INDEX IF NOT EXISTS chunks_of_key ON chunks (key);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (
    section, text, content='chunks', content_rowid='number', tokenize="porter unicode61 remove_diacritics 2"
);
CREATE TRIGGER IF NOT EXISTS words_added AFTER INSERT ON chunks BEGIN
    INSERT INTO words (rowid, section, text) VALUES (new.number, new.section, new.text);
END;
CREATE TRIGGER IF NOT EXISTS words_removed AFTER DELETE ON chunks BEGIN
    INSERT INTO words (words, rowid, section, text) VALUES ('delete', old.number, old.section, old.text);
END;
CREATE TRIGGER IF NOT EXISTS vectors_changed AFTER UPDATE OF vector ON chunks BEGIN
    UPDATE settings SET value = value + 1 WHERE key = 'vectors';
END;
PRAGMA user_version = {VERSION};
COMMIT;
"""
CURES = {
    "database or disk is full": "free some space and run it again; what was indexed is kept",
    "database is locked": "another process is writing; wait for it and run this again",
    "disk I/O error": "free some space or mend the disk, and run it again",
    "unable to open database file": "is the folder writable?",
    "readonly database": "is the folder writable?",
}
"""What SQLite says -> what to do; anything else is damage."""
CHUNK = 'c.id, c.document_id, c.text, c.start, c."end", c.page, c.section, c.sum'
FILTERS = {
    "document_id": "d.id IN (SELECT value FROM json_each(?))",
    "source": "d.source IN (SELECT value FROM json_each(?))",
    "groups": "(d.groups = '[]' OR EXISTS"
    " (SELECT 1 FROM json_each(d.groups) g JOIN json_each(?) mine ON g.value = mine.value))",
}


class Store:
    """One corpus in one file; safe for several threads and several processes."""

    def __init__(self, path: Path, *, approximate: bool = False) -> None:
        self._path = path
        self._local = threading.local()
        self._nearest = Nearest(path, approximate)
        with self._reading() as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            used = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if version != VERSION and used:
                raise StoreError(
                    f"the index {path} was written by another version of bakeoff; delete it and run `bakeoff ingest`"
                )
            if not used:
                connection.executescript(SCHEMA)

    # ------------------------------------------------------------ settings and documents

    def get(self, key: str) -> str | None:
        with self._reading() as connection:
            row = connection.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set(self, key: str, value: str) -> None:
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, value))

    def put(
        self, document: Document, stamp: str, chunks: Sequence[Chunk], vectors: Vectors, keys: Sequence[str]
    ) -> None:
        with self._writing() as connection:
            _forget(connection, document.id)
            metadata, groups = json.dumps(dict(document.metadata)), json.dumps(document.metadata.get("groups", ()))
            row = (document.id, document.source, stamp, "", document.text, metadata, groups)
            connection.execute("INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, _sum(*row)))
            connection.executemany(
                'INSERT INTO chunks (id, document_id, text, start, "end", page, section, sum, vector, vector_sum, key)'
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (*row, _sum(*row), blob, crc32(blob), key)
                    for c, vector, key in zip(chunks, np.asarray(vectors, dtype=np.float32), keys, strict=True)
                    for row in [(c.id, c.document_id, c.text, c.start, c.end, c.page, c.section)]
                    for blob in [vector.tobytes()]
                ],
            )

    def vectors(self, keys: Sequence[str]) -> dict[str, Vectors]:
        query = "SELECT key, vector, vector_sum FROM chunks WHERE key IN (SELECT value FROM json_each(?))"
        with self._reading() as connection:
            rows = connection.execute(query, (json.dumps(list(keys)),)).fetchall()
            # A damaged vector is not handed on to another chunk.
            return {key: np.frombuffer(blob, dtype=np.float32) for key, blob, sum in rows if _intact(blob, sum)}

    def fail(self, document_id: str, source: str, stamp: str, reason: str) -> None:
        with self._writing() as connection:
            _forget(connection, document_id)
            row = (document_id, source, stamp, reason, "", "{}", "[]")
            connection.execute("INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, _sum(*row)))

    def delete(self, document_id: str) -> None:
        with self._writing() as connection:
            _forget(connection, document_id)

    def stamps(self, source: str) -> Iterator[tuple[str, str, str]]:
        query = "SELECT id, stamp, failure FROM documents WHERE source = ? ORDER BY id"
        with self._reading() as connection:
            yield from connection.execute(query, (source,))

    def sources(self) -> dict[str, int]:
        query = "SELECT source, sum(failure = '') FROM documents GROUP BY source ORDER BY source"
        with self._reading() as connection:
            return dict(connection.execute(query).fetchall())

    def document(self, document_id: str) -> Document | None:
        query = "SELECT * FROM documents WHERE id = ? AND failure = ''"
        with self._reading() as connection:
            row = connection.execute(query, (document_id,)).fetchone()
            if row is None:
                return None
            _verify(_sum(*row[:-1]) == row[-1])
        id, source, _, _, text, metadata, *_ = row
        return Document(id, text, source, json.loads(metadata))

    def ids(self) -> list[str]:
        with self._reading() as connection:
            return [id for (id,) in connection.execute("SELECT id FROM documents WHERE failure = '' ORDER BY id")]

    def chunks(self, document_id: str) -> list[Chunk]:
        query = f"SELECT {CHUNK} FROM chunks c WHERE c.document_id = ? ORDER BY c.start"
        with self._reading() as connection:
            return [_chunk(row) for row in connection.execute(query, (document_id,))]

    # ------------------------------------------------------------ search

    def search_text(self, query: str, k: int, filter: Filter | None = None) -> list[Hit]:
        words = content_words(query) or every_word(query)
        if not words:
            return []
        # Quoted, a word is never an operator.
        match = " OR ".join(f'"{word}"' for word in dict.fromkeys(words))
        where, values = _conditions(filter)
        joined = " JOIN chunks c ON c.number = words.rowid JOIN documents d ON d.id = c.document_id" if where else ""
        # Ranked before texts are fetched: 39 -> 17 ms among 100,000 chunks. A few more than k, as ties go by id.
        sql = f"SELECT words.rowid, rank FROM words{joined} WHERE words MATCH ?{where} ORDER BY rank LIMIT ?"
        with self._reading() as connection:
            found = {number: -rank for number, rank in connection.execute(sql, (match, *values, k + 8))}
            return self._hits(connection, found)[:k]

    def search_vectors(self, vector: Vectors, k: int, filter: Filter | None = None) -> list[Hit]:
        where, values = _conditions(filter)
        with self._reading() as connection:
            found = self._nearest.search(connection, np.asarray(vector, dtype=np.float32), k, where, values)
            return self._hits(connection, found)[:k]

    def _hits(self, connection: sqlite3.Connection, found: Mapping[int, float]) -> list[Hit]:
        """The chunks of these numbers, by their scores and then by id."""
        marks = ",".join("?" * len(found))
        rows = connection.execute(f"SELECT c.number, {CHUNK} FROM chunks c WHERE c.number IN ({marks})", [*found])
        hits = [Hit(_chunk(row[1:]), found[row[0]]) for row in rows]
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk.id))

    # ------------------------------------------------------------ upkeep

    def beside(self, embedder: str) -> Store:
        store = Store(self._beside)
        if store.get("embedder") != embedder:
            store.close()
            self._drop_beside()
            store = Store(self._beside)
            store.set("embedder", embedder)
        return store

    def swap(self, embedder: str) -> None:
        with self._reading() as connection:
            connection.execute("ATTACH ? AS beside", (str(self._beside),))
            try:
                with self._writing():
                    query = "SELECT value FROM beside.settings WHERE key = 'embedder'"
                    if connection.execute(query).fetchone() != (embedder,):
                        raise StoreError(f"another process renewed the index {self._path}; run `bakeoff ingest` again")
                    connection.execute("DELETE FROM main.documents")
                    connection.execute("INSERT INTO main.documents SELECT * FROM beside.documents")
                    names = f"{CHUNK}, c.vector, c.vector_sum, c.key".replace("c.", "")
                    connection.execute(
                        f"INSERT INTO main.chunks ({names}) SELECT {names} FROM beside.chunks ORDER BY number"
                    )
                    connection.execute("UPDATE main.settings SET value = ? WHERE key = 'embedder'", (embedder,))
                    # A second process that still writes there finds its work void rather than half of it taken.
                    connection.execute("DELETE FROM beside.settings")
            finally:
                connection.execute("DETACH beside")
        self._drop_beside()

    @property
    def _beside(self) -> Path:
        return self._path.with_suffix(".next.db")

    def _drop_beside(self) -> None:
        for end in ("", "-wal", "-shm"):
            Path(f"{self._beside}{end}").unlink(missing_ok=True)

    def optimize(self, progress: Callable[[int, int], None] | None = None) -> None:
        with self._reading() as connection:
            made = self._nearest.make(connection, progress)
        if made:
            with self._writing() as connection:
                self._nearest.bind(connection, made)
            with self._writing() as connection:  # no sooner: until now the database named the file before
                self._nearest.sweep(connection)

    def purge(self) -> None:
        self._drop_beside()
        with self._writing() as connection:
            connection.execute("INSERT INTO words (words) VALUES ('rebuild')")
            self._nearest.forget(connection)
        with self._reading() as connection:
            connection.execute("VACUUM")
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise StoreError(f"the index {self._path} is being read; close its readers and run this again")
        self.optimize()

    def check(self) -> list[str]:
        with self._reading() as connection:
            faults = [text for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]
            try:
                connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
                connection.rollback()
            except sqlite3.DatabaseError as error:
                faults.append(f"full-text index: {error}")
            damaged = _damaged(connection)
            sizes = connection.execute("SELECT count(DISTINCT length(vector)) FROM chunks").fetchone()[0]
            faults += self._nearest.faults(connection)
        faults += [f"{id} is not what was written" for id in damaged[:10]]
        return faults + (["vectors of different lengths"] if sizes > 1 else [])

    def mend(self) -> list[str]:
        with self._writing() as connection:
            broken = [text for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]
            if broken:
                raise sqlite3.DatabaseError(broken[0])
            connection.execute("INSERT INTO words (words) VALUES ('rebuild')")
            damaged = _damaged(connection)
            for id in damaged:
                _forget(connection, id)
        self.optimize()
        return damaged

    def close(self) -> None:
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as connection:
            # The lock is taken at the start, so that a second writer waits here and never fails half-way.
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("UPDATE settings SET value = value + 1 WHERE key = 'writes'")
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._connection()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())[:120]
            for known, cure in CURES.items():
                if known in reason:
                    raise StoreError(f"the index {self._path}: {reason}; {cure}") from error
            cure = "run `bakeoff doctor --mend`, or move it away and run `bakeoff ingest`"
            raise StoreError(f"the index {self._path} is damaged ({reason}); {cure}") from error

    def _connection(self) -> sqlite3.Connection:
        """SQLite connections belong to one thread."""
        if getattr(self._local, "connection", None) is None:
            connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            self._local.connection = connection
        found: sqlite3.Connection = self._local.connection
        return found


def _sum(*values: object) -> int:
    """Of what a row holds: SQLite does not notice a flipped bit in a text."""
    return crc32(repr(values).encode("utf-8", "surrogatepass"))


def _intact(blob: object, sum: int) -> bool:
    return isinstance(blob, bytes) and crc32(blob) == sum


def _chunk(row: Sequence[Any]) -> Chunk:
    """The first eight columns are those of `CHUNK`."""
    _verify(_sum(*row[:7]) == row[7])
    return Chunk(*row[:7])


def _damaged(connection: sqlite3.Connection) -> list[str]:
    """Ids of documents of which something is not what was written."""
    chunks = connection.execute(f"SELECT {CHUNK}, c.vector, c.vector_sum FROM chunks c")
    found = {row[1] for row in chunks if _sum(*row[:7]) != row[7] or not _intact(row[8], row[9])}
    documents = connection.execute("SELECT * FROM documents")
    return sorted(found | {row[0] for row in documents if _sum(*row[:-1]) != row[-1]}, key=str)


def _verify(sound: bool) -> None:
    if not sound:
        raise sqlite3.DatabaseError("a row is not what was written")


def _forget(connection: sqlite3.Connection, document_id: str) -> None:
    connection.execute("DELETE FROM chunks WHERE document_id = ?", (document_id,))
    connection.execute("DELETE FROM documents WHERE id = ?", (document_id,))


def _conditions(filter: Filter | None) -> tuple[str, list[str]]:
    where, values = "", list[str]()
    for field, allowed in (filter or {}).items():
        if field not in FILTERS:
            raise ConfigError(f"unknown filter field {field!r}; known are {', '.join(FILTERS)}")
        where += f" AND {FILTERS[field]}"
        values.append(json.dumps(list(allowed)))
    return where, values
