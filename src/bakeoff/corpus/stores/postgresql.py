"""The server store: PostgreSQL with the extension pgvector, one schema for each corpus.

`store = "postgresql://user@host/database?schema=name"`. Each document is one transaction, writers take turns by an
advisory lock. Words are scored by BM25 over a table of ours: PostgreSQL's own ts_rank knows nothing of how rare a word
is.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import numpy as np
import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from bakeoff.errors import ConfigError, StoreError
from bakeoff.types import Chunk, Document, Filter, Hit, Vectors

VERSION = 1
K1, B = 1.2, 0.75
"""Of BM25; those of SQLite's FTS5, so that both stores rank alike."""
BREADTH = 200
"""Of a search in the vector index; pgvector's own 40 finds less (docs/results.md)."""

SCHEMA = """
CREATE EXTENSION IF NOT EXISTS vector;
CREATE SCHEMA IF NOT EXISTS {schema};
SET search_path TO {schema}, public;
CREATE TABLE IF NOT EXISTS settings (key text PRIMARY KEY, value text NOT NULL);
CREATE TABLE IF NOT EXISTS totals (chunks bigint NOT NULL, length bigint NOT NULL);
INSERT INTO totals SELECT 0, 0 WHERE NOT EXISTS (SELECT FROM totals);
CREATE TABLE IF NOT EXISTS documents (
    id text COLLATE "C" PRIMARY KEY, source text NOT NULL, stamp text NOT NULL, failure text NOT NULL,
    text text NOT NULL, metadata jsonb NOT NULL, groups text[] NOT NULL
);
CREATE INDEX IF NOT EXISTS documents_of_source ON documents (source);
CREATE TABLE IF NOT EXISTS chunks (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text COLLATE "C" UNIQUE NOT NULL,
    document_id text COLLATE "C" NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    start int NOT NULL, "end" int NOT NULL, page int, section text NOT NULL, text text NOT NULL,
    vector vector NOT NULL, key text NOT NULL, length int NOT NULL
);
CREATE INDEX IF NOT EXISTS chunks_of_document ON chunks (document_id);
CREATE INDEX IF NOT EXISTS chunks_of_key ON chunks USING hash (key);
CREATE TABLE IF NOT EXISTS words (
    word text COLLATE "C" NOT NULL, chunk bigint NOT NULL REFERENCES chunks (number) ON DELETE CASCADE,
    count int NOT NULL, PRIMARY KEY (word, chunk)
);
CREATE INDEX IF NOT EXISTS words_of_chunk ON words (chunk);
INSERT INTO settings VALUES ('version', '{version}') ON CONFLICT DO NOTHING;
"""
CHUNK = 'c.id, c.document_id, c.text, c.start, c."end", c.page, c.section'
FILTERS = {
    "document_id": "d.id = ANY(%s)",
    "source": "d.source = ANY(%s)",
    "groups": "(d.groups = '{}' OR d.groups && %s)",
}


class Store:
    """One corpus in one schema; safe for several threads, processes and machines."""

    def __init__(self, location: Path | str, *, approximate: bool = False) -> None:
        self._approximate = approximate
        parts = urlsplit(str(location))
        options = dict(parse_qsl(parts.query))
        self._schema = options.pop("schema", "bakeoff")
        self._url = urlunsplit(parts._replace(query=urlencode(options)))
        self._place = f"{parts.hostname or 'local'}{parts.path} schema {self._schema}"  # never the password
        self._local = threading.local()
        with self._writing() as connection:
            schema = sql.SQL(SCHEMA).format(schema=sql.Identifier(self._schema), version=sql.SQL(str(VERSION)))
            connection.execute(schema)
        if self.get("version") != str(VERSION):
            raise StoreError(
                f"the index {self._place} was written by another version of bakeoff; "
                "drop the schema and run `bakeoff ingest`"
            )

    # ------------------------------------------------------------ settings and documents

    def get(self, key: str) -> str | None:
        row = self._one("SELECT value FROM settings WHERE key = %s", [key])
        return None if row is None else str(row[0])

    def set(self, key: str, value: str) -> None:
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO settings VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                [key, value],
            )

    def put(
        self, document: Document, stamp: str, chunks: Sequence[Chunk], vectors: Vectors, keys: Sequence[str]
    ) -> None:
        groups = document.metadata.get("groups") or ()
        assert isinstance(groups, list | tuple)
        with self._writing() as connection, connection.cursor() as cursor:
            _forget(cursor, document.id)
            cursor.execute(
                "INSERT INTO documents VALUES (%s, %s, %s, '', %s, %s, %s)",
                [
                    document.id,
                    document.source,
                    stamp,
                    _clean(document.text),
                    _clean(json.dumps(dict(document.metadata))),
                    list(groups),
                ],
            )
            cursor.executemany(
                'INSERT INTO chunks (id, document_id, text, start, "end", page, section, vector, key, length)'
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s::vector, %s, 0)",
                [
                    [c.id, c.document_id, _clean(c.text), c.start, c.end, c.page, _clean(c.section), _text(vector), key]
                    for c, vector, key in zip(chunks, np.asarray(vectors, dtype=np.float32), keys, strict=True)
                ],
            )
            cursor.execute(
                "INSERT INTO words SELECT w.lexeme, c.number, cardinality(w.positions) FROM chunks c,"
                " unnest(to_tsvector('english', c.section || ' ' || c.text)) w WHERE c.document_id = %s",
                [document.id],
            )
            cursor.execute(
                "UPDATE chunks SET length = coalesce((SELECT sum(count) FROM words WHERE chunk = number), 0)"
                " WHERE document_id = %s",
                [document.id],
            )
            _count(cursor, document.id, "+")

    def vectors(self, keys: Sequence[str]) -> dict[str, Vectors]:
        rows = self._all("SELECT key, vector::real[] FROM chunks WHERE key = ANY(%s)", [list(keys)])
        return {key: np.array(vector, dtype=np.float32) for key, vector in rows}

    def fail(self, document_id: str, source: str, stamp: str, reason: str) -> None:
        with self._writing() as connection, connection.cursor() as cursor:
            _forget(cursor, document_id)
            cursor.execute(
                "INSERT INTO documents VALUES (%s, %s, %s, %s, '', '{}', '{}')",
                [document_id, source, stamp, _clean(reason)],
            )

    def delete(self, document_id: str) -> None:
        with self._writing() as connection, connection.cursor() as cursor:
            _forget(cursor, document_id)

    def stamps(self, source: str) -> Iterator[tuple[str, str, str]]:
        query = b"SELECT id, stamp, failure FROM documents WHERE source = %s ORDER BY id"
        with self._guarded() as connection, connection.cursor() as cursor:
            yield from cursor.stream(query, [source])

    def sources(self) -> dict[str, int]:
        query = "SELECT source, count(*) FILTER (WHERE failure = '') FROM documents GROUP BY source ORDER BY source"
        return {str(source): int(count) for source, count in self._all(query)}

    def document(self, document_id: str) -> Document | None:
        query = "SELECT id, text, source, metadata FROM documents WHERE id = %s AND failure = ''"
        row = self._one(query, [document_id])
        return None if row is None else Document(*row)

    def ids(self) -> list[str]:
        return [id for (id,) in self._all("SELECT id FROM documents WHERE failure = '' ORDER BY id")]

    def chunks(self, document_id: str) -> list[Chunk]:
        query = f"SELECT {CHUNK} FROM chunks c WHERE c.document_id = %s ORDER BY c.start"
        return [Chunk(*row) for row in self._all(query, [document_id])]

    # ------------------------------------------------------------ search

    def search_text(self, query: str, k: int, filter: Filter | None = None) -> list[Hit]:
        where, values = _conditions(filter)
        statement = f"""
            WITH asked AS (
                SELECT lexeme AS word FROM unnest(to_tsvector('english', %s))
            ), rare AS (
                SELECT w.word, ln(1 + (t.chunks - count(*) + 0.5) / (count(*) + 0.5)) AS idf
                FROM words w JOIN asked USING (word), totals t GROUP BY w.word, t.chunks
            ), scored AS (
                SELECT w.chunk, sum(r.idf * w.count * {K1 + 1}
                    / (w.count + {K1} * (1 - {B} + {B} * l.length * t.chunks / greatest(t.length, 1)))) AS score
                FROM words w JOIN rare r USING (word) JOIN chunks l ON l.number = w.chunk, totals t GROUP BY w.chunk
            )
            SELECT {CHUNK}, s.score FROM scored s JOIN chunks c ON c.number = s.chunk
            JOIN documents d ON d.id = c.document_id WHERE true{where} ORDER BY s.score DESC, c.id LIMIT %s"""
        return [Hit(Chunk(*row[:-1]), float(row[-1])) for row in self._all(statement, [_clean(query), *values, k])]

    def search_vectors(self, vector: Vectors, k: int, filter: Filter | None = None) -> list[Hit]:
        where, values = _conditions(filter)
        near = self._near(vector, k, where, values) if self._approximate else []
        if len(near) >= k:
            return near
        # Also where the filter lets few of those through that the index looks at.
        statement = (
            f"SELECT {CHUNK}, -(c.vector <#> %s::vector) AS score FROM chunks c"
            f" JOIN documents d ON d.id = c.document_id WHERE true{where} ORDER BY score DESC, c.id LIMIT %s"
        )
        return [Hit(Chunk(*row[:-1]), float(row[-1])) for row in self._all(statement, [_text(vector), *values, k])]

    def _near(self, vector: Vectors, k: int, where: str, values: Sequence[Any]) -> list[Hit]:
        """The best of those that the index proposes; where there is none, all are compared."""
        size, asked = len(vector), _text(vector)
        statement = f"""
            WITH near AS MATERIALIZED (
                SELECT c.number FROM chunks c JOIN documents d ON d.id = c.document_id
                WHERE vector_dims(c.vector) = {size}{where}
                ORDER BY c.vector::halfvec({size}) <#> %s::halfvec({size}) LIMIT %s
            )
            SELECT {CHUNK}, -(c.vector <#> %s::vector) AS score FROM near JOIN chunks c USING (number)
            ORDER BY score DESC, c.id LIMIT %s"""
        with self._guarded() as connection, connection.transaction():
            connection.execute(f"SET LOCAL hnsw.ef_search = {BREADTH}".encode())
            connection.execute("SET LOCAL hnsw.iterative_scan = relaxed_order")  # goes on until enough pass the filter
            rows = connection.execute(statement.encode(), [*values, asked, 4 * k + 8, asked, k]).fetchall()
        return [Hit(Chunk(*row[:-1]), float(row[-1])) for row in rows]

    # ------------------------------------------------------------ upkeep

    def beside(self, embedder: str) -> Store:
        store = self._at_beside()
        if store.get("embedder") != embedder:
            store.close()
            self._drop_beside()
            store = self._at_beside()
            store.set("embedder", embedder)
        return store

    def swap(self, embedder: str) -> None:
        names = {"here": sql.Identifier(self._schema), "beside": sql.Identifier(self._beside)}
        with self._writing() as connection:
            query = sql.SQL("SELECT value FROM {beside}.settings WHERE key = 'embedder'").format(**names)
            if connection.execute(query).fetchone() != (embedder,):
                raise StoreError(f"another process renewed the index {self._place}; run `bakeoff ingest` again")
            connection.execute(
                sql.SQL("INSERT INTO {beside}.settings SELECT * FROM {here}.settings ON CONFLICT DO NOTHING").format(
                    **names
                )
            )
            connection.execute(sql.SQL("DROP SCHEMA {here} CASCADE").format(**names))
            connection.execute(sql.SQL("ALTER SCHEMA {beside} RENAME TO {here}").format(**names))

    @property
    def _beside(self) -> str:
        return f"{self._schema}_next"

    def _at_beside(self) -> Store:
        return Store(f"{self._url}{'&' if urlsplit(self._url).query else '?'}schema={self._beside}")

    def _drop_beside(self) -> None:
        with self._guarded() as connection:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(self._beside)))

    def optimize(self, progress: Callable[[int, int], None] | None = None) -> None:
        """The index is for one length of vectors, for the column has none; of half precision, for the search only."""
        size = (self._one("SELECT vector_dims(vector) FROM chunks LIMIT 1") or (0,))[0]
        with self._writing() as connection:
            if self._approximate and size:
                connection.execute(
                    f"CREATE INDEX IF NOT EXISTS near_{size} ON chunks USING hnsw"
                    f" ((vector::halfvec({size})) halfvec_ip_ops) WHERE vector_dims(vector) = {size}".encode()
                )
                # Without it the planner takes one length of all for a rare one.
                connection.execute("CREATE STATISTICS IF NOT EXISTS lengths ON (vector_dims(vector)) FROM chunks")
            # The server does so later itself; until then words among 10,000 chunks took 440 ms, not 84 (p95).
            connection.execute("ANALYZE chunks, documents, words")

    def purge(self) -> None:
        """The tables are written anew; the server's write-ahead log and its backups forget in their own time."""
        self._drop_beside()
        with self._guarded() as connection:
            connection.execute("VACUUM FULL documents, chunks, words")

    def mend(self) -> list[str]:
        """The server guards its pages itself; what is made from the documents is made anew."""
        with self._writing() as connection:
            torn = (
                "SELECT DISTINCT d.id FROM chunks c JOIN documents d ON d.id = c.document_id"
                ' WHERE substr(d.text, c.start + 1, c."end" - c.start) <> c.text ORDER BY d.id'
            )
            damaged = [str(id) for (id,) in connection.execute(torn).fetchall()]
            connection.execute("DELETE FROM documents WHERE id = ANY(%s)", [damaged])
            connection.execute(
                "UPDATE totals SET (chunks, length) = (SELECT count(*), coalesce(sum(length), 0) FROM chunks)"
            )
        self.optimize()
        return damaged

    def check(self) -> list[str]:
        questions = {
            "chunks that are not the text of their document": "SELECT count(*) FROM chunks c JOIN documents d"
            ' ON d.id = c.document_id WHERE substr(d.text, c.start + 1, c."end" - c.start) <> c.text',
            "vectors of different lengths": "SELECT greatest(count(DISTINCT vector_dims(vector)) - 1, 0) FROM chunks",
            "chunks missing in the counts of BM25": "SELECT abs(chunks - (SELECT count(*) FROM chunks))"
            " + abs(length - (SELECT coalesce(sum(length), 0) FROM chunks)) FROM totals",
        }
        if self._approximate:
            questions["chunks without the vector index"] = (
                "SELECT count(*) FROM chunks WHERE NOT EXISTS (SELECT FROM pg_index"
                " WHERE indisvalid AND indexrelid = to_regclass('near_' || vector_dims(vector)))"
            )
        answers = {what: (self._one(query) or (0,))[0] for what, query in questions.items()}
        return [f"{count} {what}" for what, count in answers.items() if count]

    def close(self) -> None:
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[TupleRow]:
        with self._guarded() as connection:
            return connection.execute(query.encode(), values).fetchall()

    def _one(self, query: str, values: Sequence[Any] = ()) -> TupleRow | None:
        return next(iter(self._all(query, values)), None)

    @contextmanager
    def _writing(self) -> Iterator[psycopg.Connection]:
        with self._guarded() as connection, connection.transaction():
            # A second writer waits here and never fails half-way.
            connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"bakeoff {self._schema}"])
            yield connection

    @contextmanager
    def _guarded(self) -> Iterator[psycopg.Connection]:
        try:
            yield self._connection()
        except psycopg.OperationalError as error:
            self.close()
            reason = " ".join(str(error).split())[:200]
            raise StoreError(f"the index {self._place}: {reason}; is the server up, and the URL right?") from error
        except psycopg.Error as error:
            raise StoreError(f"the index {self._place}: {' '.join(str(error).split())[:200]}") from error

    def _connection(self) -> psycopg.Connection:
        if getattr(self._local, "connection", None) is None:
            connection = psycopg.connect(self._url, autocommit=True, connect_timeout=10)
            connection.execute(sql.SQL("SET search_path TO {}, public").format(sql.Identifier(self._schema)))
            self._local.connection = connection
        found: psycopg.Connection = self._local.connection
        return found


def _forget(cursor: psycopg.Cursor, document_id: str) -> None:
    _count(cursor, document_id, "-")
    cursor.execute("DELETE FROM documents WHERE id = %s", [document_id])


def _count(cursor: psycopg.Cursor, document_id: str, sign: str) -> None:
    """Keep the counts that BM25 needs; counting a million chunks for each query would take longer than the query."""
    cursor.execute(
        f"UPDATE totals SET chunks = chunks {sign} n, length = length {sign} l FROM"
        " (SELECT count(*) AS n, coalesce(sum(length), 0) AS l FROM chunks WHERE document_id = %s) s".encode(),
        [document_id],
    )


def _conditions(filter: Filter | None) -> tuple[str, list[list[str]]]:
    where, values = "", list[list[str]]()
    for field, allowed in (filter or {}).items():
        if field not in FILTERS:
            raise ConfigError(f"unknown filter field {field!r}; known are {', '.join(FILTERS)}")
        where += f" AND {FILTERS[field]}"
        values.append(list(allowed))
    return where, values


def _text(vector: Vectors) -> str:
    """pgvector's notation, every float32 exact."""
    return f"[{','.join(map(repr, np.asarray(vector, dtype=np.float32).tolist()))}]"


def _clean(text: str) -> str:
    """PostgreSQL holds no NUL; a space keeps all offsets."""
    return text.replace("\\u0000", " ").replace("\x00", " ")
