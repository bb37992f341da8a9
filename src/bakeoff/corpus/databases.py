"""A PostgreSQL, MySQL or MariaDB server, read-only, through SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from bakeoff.corpus import rows
from bakeoff.corpus.rows import Relation
from bakeoff.corpus.sources import Unreachable
from bakeoff.errors import DataError, MissingPackageError

try:
    import sqlalchemy
    from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
except ModuleNotFoundError as error:
    raise MissingPackageError("reading database servers", "sqlalchemy", "databases") from error

CONNECT_SECONDS = 10
"""That a server may take to answer at all."""
DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}
SAID_FIRST = {
    "postgresql": (
        "SET TRANSACTION READ ONLY",
        "SET LOCAL statement_timeout = {milliseconds}",
        "SET LOCAL TIME ZONE 'UTC'",
        "SET LOCAL datestyle = 'ISO, YMD'",
    ),
    "mysql": (
        "SET SESSION TRANSACTION READ ONLY",
        "SET SESSION max_execution_time = {milliseconds}",
        "SET SESSION time_zone = '+00:00'",
    ),
    "mariadb": (
        "SET SESSION TRANSACTION READ ONLY",
        "SET SESSION max_statement_time = {seconds}",
        "SET SESSION time_zone = '+00:00'",
    ),
}
"""Nothing is written, nothing takes long, and a moment looks the same whoever reads it."""
TIMES = ("date", "time", "timetz", "timestamp", "timestamptz", "interval")
"""Types of PostgreSQL that are taken as it prints them, for Python has no `infinity` and no year 10000."""
AWAY_STATES = ("08", "53", "57P")
"""Of SQL: no connection, no room, starting or stopping."""
AWAY_CODES = range(2000, 3000)
"""Of MySQL's client: the server was not reached, or is gone."""
LATER = ("starting up", "shutting down", "too many")
"""What PostgreSQL says to a connection that may be taken another time; all else that is FATAL is to be mended."""


@contextmanager
def opened(address: str, label: str, hint: str = "") -> Iterator[Server]:
    """A connection that cannot write and whose statements have a time limit.

    Errors become `DataError`, `Unreachable` where the server is away, with the `label` in place of the address, and for
    those of a statement the `hint`.
    """
    url = sqlalchemy.make_url(address)
    engine = sqlalchemy.create_engine(
        url.set(drivername=DRIVERS[url.drivername]), connect_args={"connect_timeout": CONNECT_SECONDS}
    )
    try:
        with engine.connect() as connection:
            product = "mariadb" if getattr(connection.dialect, "is_mariadb", False) else url.drivername
            for statement in SAID_FIRST[product]:
                limit = {"seconds": rows.SECONDS, "milliseconds": int(rows.SECONDS * 1000)}
                connection.exec_driver_sql(statement.format(**limit))
            if product == "postgresql":
                _take_times_as_text(connection)
            with closing(Server(label, connection)) as server:
                yield server
    except SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
        if _is_away(error):
            raise Unreachable(f"{label} cannot be reached ({reason}); what was indexed of it stays") from error
        raise DataError(f"{label} cannot be read: {reason}{hint if getattr(error, 'statement', '') else ''}") from error
    finally:
        engine.dispose()


def _is_away(error: SQLAlchemyError) -> bool:
    if not isinstance(error, OperationalError | InterfaceError) or not error.orig:
        return False
    state, first = getattr(error.orig, "sqlstate", None), next(iter(error.orig.args), "")
    if state:
        return str(state).startswith(AWAY_STATES)
    if isinstance(first, int):
        return first in AWAY_CODES
    return "FATAL" not in str(first) or any(words in str(first) for words in LATER)


class Server:
    """The `Database` of a connection."""

    mark = "%s"

    def __init__(self, label: str, connection: sqlalchemy.Connection) -> None:
        self._label = label
        self.connection = connection
        self._result: sqlalchemy.CursorResult[Any] | None = None

    def quoted(self, name: str) -> str:
        return self.connection.dialect.identifier_preparer.quote_identifier(name)

    def nested(self, query: str) -> str:
        return f"({query.replace('%', '%%')}\n) AS found"

    def relations(self, only: str) -> list[Relation]:
        inspector = sqlalchemy.inspect(self.connection)
        schema, _, name = only.rpartition(".")
        tables, views = inspector.get_table_names(schema or None), inspector.get_view_names(schema or None)
        if self.connection.dialect.name == "postgresql":
            views = views + inspector.get_materialized_view_names(schema or None)
        if name and name not in tables + views:
            known = ", ".join(sorted(tables + views)) or "none"
            raise DataError(f"{self._label} has no table {only!r}; it has {known}")
        found = []
        for table in [name] if name else sorted(tables):
            key = inspector.get_pk_constraint(table, schema or None)["constrained_columns"] if table in tables else ()
            sql = ".".join(self.quoted(part) for part in (schema, table) if part)
            found.append(Relation(table, sql, tuple(key)))
        return found

    def select(self, sql: str, parameters: Sequence[object] = ()) -> tuple[list[str], Iterator[Sequence[Any]]]:
        # Rows come as they are taken; neither PostgreSQL's cursors nor PyMySQL take two statements at once.
        self.close()
        options = {"stream_results": True, "yield_per": 1000}
        self._result = self.connection.exec_driver_sql(sql, tuple(parameters), execution_options=options)
        return list(self._result.keys()), iter(self._result)

    def close(self) -> None:
        """Ends the statement whose rows were taken last."""
        if self._result is not None:
            self._result.close()


def _take_times_as_text(connection: sqlalchemy.Connection) -> None:
    from psycopg.types.string import TextLoader

    raw: Any = connection.connection.driver_connection
    for name in TIMES:
        raw.adapters.register_loader(name, TextLoader)
