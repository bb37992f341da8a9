"""Rows of a PostgreSQL, MySQL or MariaDB server as documents, read-only, through SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bakeoff.corpus.loaders import Loaded
from bakeoff.corpus.tables import ROWS, SECONDS, as_document
from bakeoff.errors import DataError, MissingPackageError

try:
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError
except ModuleNotFoundError as error:
    raise MissingPackageError("reading database servers", "sqlalchemy", "databases") from error

DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}
READ_ONLY = {
    "postgresql": ["SET TRANSACTION READ ONLY", f"SET LOCAL statement_timeout = {int(SECONDS * 1000)}"],
    "mysql": ["SET SESSION TRANSACTION READ ONLY", f"SET SESSION max_execution_time = {int(SECONDS * 1000)}"],
    "mariadb": ["SET SESSION TRANSACTION READ ONLY", f"SET SESSION max_statement_time = {int(SECONDS)}"],
}


def rows(address: str, only: str = "") -> Iterator[tuple[str, Loaded]]:
    """(`table/primary key`, text as `column: value` lines) of every row, in the order of the key.

    `only`: a table or view, as in `orders` or `sales.orders`. Raises `DataError` for a server that cannot be asked,
    a table that is not there or has no primary key, and past the limits.
    """
    with read_only(address) as connection:
        for table in _tables(connection, only, sqlalchemy.make_url(address).render_as_string(hide_password=True)):
            yield from _rows(connection, table)


@contextmanager
def read_only(address: str) -> Iterator[Any]:
    """A connection that cannot write and whose statements have a time limit; errors become `DataError`."""
    url = sqlalchemy.make_url(address)
    engine = sqlalchemy.create_engine(url.set(drivername=DRIVERS[url.drivername]))
    try:
        with engine.connect() as connection:
            for statement in READ_ONLY[url.drivername]:
                connection.execute(sqlalchemy.text(statement))
            yield connection
    except SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
        raise DataError(f"{url.render_as_string(hide_password=True)} cannot be read: {reason}") from error
    finally:
        engine.dispose()


def _tables(connection: Any, only: str, shown: str) -> list[Any]:
    inspector = sqlalchemy.inspect(connection)
    schema, _, name = only.rpartition(".")
    known = sorted([*inspector.get_table_names(schema or None), *inspector.get_view_names(schema or None)])
    if name and name not in known:
        raise DataError(f"{shown} has no table {only!r}; it has {', '.join(known) or 'none'}")
    wanted = [name] if name else inspector.get_table_names()
    metadata = sqlalchemy.MetaData()
    return [sqlalchemy.Table(one, metadata, schema=schema or None, autoload_with=connection) for one in sorted(wanted)]


def _rows(connection: Any, table: Any) -> Iterator[tuple[str, Loaded]]:
    key = list(table.primary_key.columns) or list(table.columns)[:1]
    query = sqlalchemy.select(table).order_by(*key)
    result = connection.execution_options(stream_results=True, yield_per=1000).execute(query)
    for number, row in enumerate(result.mappings(), start=1):
        if number > ROWS:
            raise DataError(f"table {table.name!r} has more than {ROWS:,} rows; make a view of those you need")
        identity = "/".join(str(row[column]) for column in key)
        yield f"{table.name}/{identity}", as_document(table.name, dict(row))
