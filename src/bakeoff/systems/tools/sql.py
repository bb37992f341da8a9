"""sql: one SELECT on the project's SQLite databases, which cannot be written to."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bakeoff.systems.tools import Found, Refused, Shot, Tool

SECONDS = 2.0
ROWS = 20
CELL = 200
"""Characters of a value that are shown."""
LIMITS = {
    # Also of what functions make and compare: instr() of two megabytes would run long past the time limit unseen.
    sqlite3.SQLITE_LIMIT_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 2_000,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 50,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 10,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 50,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
}
_FORBIDDEN = ("load_extension", "fts3_tokenizer", "readfile", "writefile", "edit")


@dataclass(frozen=True, slots=True)
class Database:
    """A file that may be read."""

    name: str
    path: Path
    may_read: Callable[[str], bool] = lambda table: True
    """Whether a table is open to who asks."""


def sql(databases: Sequence[Database], *, seconds: float = SECONDS) -> Tool:
    """Each call opens the file anew, read-only, and closes it: nothing is left behind, whatever was asked."""

    def use(wanted: str) -> Found:
        database, statement = _database(databases, wanted)
        if statement.casefold() == "schema":
            return Found("\n".join(f"{name}({', '.join(columns)})" for name, columns in schema(database).items()))
        return Found("\n".join(_rows(database, statement, seconds)))

    held = "; ".join(f"{database.name} has the tables {', '.join(schema(database))}" for database in databases)
    prefix = f"{databases[0].name}: " if len(databases) > 1 else ""
    about = f"sql[{prefix}SELECT ...] asks a SQLite database ({held}); sql[{prefix}schema] shows its columns"
    shot = Shot(
        "How many members live in Oslo?",
        "This counts rows of the database.",
        f"{prefix}SELECT count(*) FROM member WHERE city = 'Oslo'",
        "count(*)\n31",
        "31",
    )
    return Tool("sql", about, use, shot)


BEHIND = "SELECT name FROM pragma_table_list WHERE type IN ('shadow', 'virtual')"
"""Search indexes and where they keep their texts, of tables that may be closed: no rule can name them."""


def schema(database: Database) -> dict[str, list[str]]:
    """Table or view -> its columns, of those that may be read."""
    with _opened(database) as connection:
        return {name: columns for name, columns in _schema(connection).items() if database.may_read(name)}


def _schema(connection: sqlite3.Connection) -> dict[str, list[str]]:
    query = (
        "SELECT m.name, c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c "
        "WHERE m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
        f"AND m.name NOT IN ({BEHIND}) ORDER BY m.name, c.cid"
    )
    found: dict[str, list[str]] = {}
    for table, column in connection.execute(query):
        found.setdefault(table, []).append(column)
    return found


def _database(databases: Sequence[Database], wanted: str) -> tuple[Database, str]:
    for database in databases:
        if wanted.startswith(f"{database.name}:"):
            return database, wanted.removeprefix(f"{database.name}:").strip()
    if len(databases) > 1:
        names = ", ".join(database.name for database in databases)
        raise Refused(f"name the database, as in {databases[0].name}: SELECT ...; there are {names}")
    return databases[0], wanted


def _rows(database: Database, statement: str, seconds: float) -> Iterator[str]:
    """The head, then the rows."""
    with _opened(database, seconds) as connection:
        names = {name.casefold(): name for name in _schema(connection)}
        readable = {folded for folded, name in names.items() if database.may_read(name)}
        behind = {str(name).casefold() for (name,) in connection.execute(BEHIND)}
        connection.set_authorizer(_authorizer(readable, closed=(set(names) | behind) - readable))
        cursor = connection.execute(statement)
        rows = cursor.fetchmany(ROWS + 1)
        if cursor.description is None:
            raise Refused("only SELECT is allowed")
        yield " | ".join(column[0] for column in cursor.description)
        yield from (" | ".join(map(_cell, row)) for row in rows[:ROWS])
        if len(rows) > ROWS:
            yield f"(more than {ROWS} rows; count, sum or narrow down)"
        elif not rows:
            yield "(no rows)"


def _authorizer(readable: set[str], closed: set[str]) -> Callable[..., int]:
    """Only reading, only these tables, no function that reaches outside."""

    def allow(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_SELECT:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION:
            return sqlite3.SQLITE_DENY if (second or "").casefold() in _FORBIDDEN else sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ:
            table = (first or "").casefold()
            # Without a column it is count(*), of a table or of something that the statement itself has named.
            own = not second and table not in closed and not table.startswith(("sqlite_", "pragma_"))
            return sqlite3.SQLITE_OK if table in readable or own else sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_DENY

    return allow


@contextmanager
def _opened(database: Database, seconds: float = SECONDS) -> Iterator[sqlite3.Connection]:
    """Read-only three times over: the file's mode, the connection's, and - once set - the authorizer's."""
    deadline = time.monotonic() + seconds
    try:
        address = f"{database.path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, timeout=seconds, uri=True)) as connection:
            for limit, most in LIMITS.items():
                connection.setlimit(limit, most)
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.text_factory = lambda data: data.decode("utf-8", "replace")
            # Seldom is quick but late: with 1,000 in place of 20 steps, instr() of long texts ran 10 s past its limit.
            connection.set_progress_handler(lambda: int(time.monotonic() > deadline), 20)
            yield connection
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        raise Refused(_reason(database, str(error))) from error


def _reason(database: Database, error: str) -> str:
    if "not authorized" in error or "prohibited" in error:
        return f"{error}; only SELECT on the tables of {database.name} is allowed"
    if error == "interrupted":
        return "it took too long; narrow it down"
    return f"{database.name}: {' '.join(error.split())[:CELL]}"


def _cell(value: object) -> str:
    text = f"({len(value)} bytes)" if isinstance(value, bytes) else " ".join(str(value).split())
    return text if len(text) <= CELL else f"{text[:CELL]}..."
