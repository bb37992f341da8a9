"""Rows of a SQLite database as documents, read-only."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from bakeoff.corpus.loaders import Loaded
from bakeoff.errors import DataError

ROWS = 1_000_000
SECONDS = 60.0
"""For one table."""
_READS = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION)


def rows(path: Path, only: str = "") -> Iterator[tuple[str, Loaded]]:
    """(`table/primary key`, text as `column: value` lines) of every row, in the order of the key.

    Raises `DataError` for a file that is no database, a table that is not there, and past the limits.
    """
    try:
        with closing(sqlite3.connect(f"file:{path.resolve()}?mode=ro", uri=True)) as connection:
            keys = _tables(connection)
            if only and only not in keys:
                raise DataError(f"{path} has no table {only!r}; it has {', '.join(keys) or 'none'}")
            connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY)
            for table in [only] if only else keys:
                yield from _rows(connection, path, table, keys[table])
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path} cannot be read as a SQLite database: {error}") from error


def as_document(table: str, row: Mapping[str, object]) -> Loaded:
    """The table's name, then a `column: value` line for each value that can be read."""
    known = (f"{name}: {value}" for name, value in row.items() if value is not None and not isinstance(value, bytes))
    return Loaded("\n".join([table, *known]), table)


def _tables(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Table -> its key columns."""
    query = (
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    )
    found = {}
    for (table,) in connection.execute(query).fetchall():
        columns = connection.execute(f"PRAGMA table_info({_quoted(table)})").fetchall()
        keyed = sorted((place, name) for _, name, _, _, _, place in columns if place)
        found[table] = [name for _, name in keyed] or ["rowid"]
    return found


def _rows(connection: sqlite3.Connection, path: Path, table: str, key: list[str]) -> Iterator[tuple[str, Loaded]]:
    deadline = time.monotonic() + SECONDS
    connection.set_progress_handler(lambda: int(time.monotonic() > deadline), 100_000)
    columns = ", ".join(map(_quoted, key))
    cursor = connection.execute(f"SELECT {columns}, * FROM {_quoted(table)} ORDER BY {columns}")
    names = [entry[0] for entry in cursor.description][len(key) :]
    for number, row in enumerate(cursor, start=1):
        if number > ROWS:
            raise DataError(f"{path} table {table!r} has more than {ROWS:,} rows; make a table of those you need")
        identity = "/".join(str(part) for part in row[: len(key)])
        yield f"{table}/{identity}", as_document(table, dict(zip(names, row[len(key) :], strict=True)))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
