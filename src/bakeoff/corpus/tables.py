"""A SQLite database, read-only."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from bakeoff.corpus import rows
from bakeoff.corpus.rows import Relation
from bakeoff.errors import DataError

_READS = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)


@contextmanager
def opened(path: Path, hint: str = "") -> Iterator[SQLite]:
    """The database; raises `DataError` for what is none, and for SQL that does more than read, with the `hint`.

    `Unreachable` where somebody writes it for longer than SQLite waits.
    """
    from bakeoff.corpus.sources import Unreachable

    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            # One row whose text is damaged must not cost the others.
            connection.text_factory = lambda data: data.decode("utf-8", "replace")
            yield SQLite(path, connection)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Unreachable(f"{path} is locked by who writes it; what was indexed of it stays") from error
        reason = f"it took more than {rows.SECONDS:.0f} s" if str(error) == "interrupted" else str(error)
        raise DataError(f"{path} cannot be read as a SQLite database: {reason}{hint}") from error


class SQLite:
    """The `Database` of a file."""

    mark = "?"

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._found = self._tables()
        self._deadline = 0.0
        connection.set_progress_handler(lambda: int(time.monotonic() > self._deadline), 100_000)
        # From here on, whatever is asked can only read.
        connection.set_authorizer(_allowed)

    def quoted(self, name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    def nested(self, query: str) -> str:
        return f"({query}\n)"

    def relations(self, only: str) -> list[Relation]:
        if only and only not in self._found:
            raise DataError(f"{self._path} has no table {only!r}; it has {', '.join(self._found) or 'none'}")
        wanted = [only] if only else [name for name, (kind, _) in self._found.items() if kind == "table"]
        return [Relation(name, self.quoted(name), self._found[name][1]) for name in wanted]

    def select(self, sql: str, parameters: Sequence[object] = ()) -> tuple[list[str], Iterator[Sequence[Any]]]:
        self._deadline = time.monotonic() + rows.SECONDS
        cursor = self._connection.execute(sql, parameters)
        return [entry[0] for entry in cursor.description], self._timed(cursor)

    def _timed(self, cursor: sqlite3.Cursor) -> Iterator[Sequence[Any]]:
        for row in cursor:
            yield row
            self._deadline = time.monotonic() + rows.SECONDS

    def _tables(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Table or view -> what it is, and its key columns."""
        query = (
            "SELECT name, type FROM pragma_table_list WHERE schema = 'main' AND type != 'shadow'"
            " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
        )
        found = {}
        for table, kind in self._connection.execute(query).fetchall():
            columns = self._connection.execute(f"PRAGMA table_info({self.quoted(table)})").fetchall()
            found[table] = kind, tuple(name for place, name in sorted((row[5], row[1]) for row in columns) if place)
        return found


def _allowed(action: int, name: str | None, *_: str | None) -> int:
    # Full-text tables ask whether they have changed.
    reads = action in _READS or (action, name) == (sqlite3.SQLITE_PRAGMA, "data_version")
    return sqlite3.SQLITE_OK if reads else sqlite3.SQLITE_DENY
