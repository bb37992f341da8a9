"""Rows of a database as documents: which are read, what they are called, and how their values look."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from bakeoff.corpus.values import as_key, as_text
from bakeoff.errors import DataError

ROWS = 1_000_000
"""Of one table or query."""
SECONDS = 60.0
"""Until a statement gives its next rows; MySQL and MariaDB count until the last one is taken."""
CHARACTERS = 50_000_000
"""Of one row."""
BATCH = 500
"""Changed rows that are fetched together by their keys; SQLite takes conditions up to a depth of 1,000."""
VERSION = 1
"""Of how a row becomes text; it is part of what a time of change stands for."""

Current = Callable[[str, str], bool]
"""Called with a row's id and digest: whether the index holds it as it is."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows of a database become documents."""

    table: str = ""
    """A table or a view; empty, and without a query, it means all tables."""
    query: Path | None = None
    """A file with one SELECT."""
    key: tuple[str, ...] = ()
    """Columns that tell rows apart; empty means the table's primary key."""
    updated: str = ""
    """A column that changes whenever its row does: rows in which it is as it was are not read."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, a view or a query."""

    name: str
    sql: str
    """What stands after FROM."""
    key: tuple[str, ...] = ()
    """Empty where nothing is known to tell rows apart."""


@dataclass(frozen=True, slots=True)
class Row:
    """What becomes a document."""

    id: str
    """`table/key`."""
    title: str
    digest: str
    text: str | None
    """None where the index holds it as it is."""
    problem: str = ""
    """Why it cannot be read."""


class Database(Protocol):
    """An open connection that only reads."""

    mark: str
    """Stands for a parameter in SQL."""

    def quoted(self, name: str) -> str:
        """The name of a column, for SQL."""
        ...

    def nested(self, query: str) -> str:
        """What the user wrote, to stand after FROM."""
        ...

    def relations(self, only: str) -> list[Relation]:
        """All tables, or the table or view `only`; raises `DataError` where it is not there."""
        ...

    def select(self, sql: str, parameters: Sequence[object] = ()) -> tuple[list[str], Iterator[Sequence[Any]]]:
        """Names of the columns, and the rows as they come; the next `select` ends them."""
        ...


def read(database: Database, choice: Choice, current: Current) -> Iterator[Row]:
    """The rows that `choice` names, those of tables with a key in its order; what is `current` comes without text.

    Raises `DataError` for a column that is not there, for a key that is empty or not unique, and past the limits.
    """
    for relation in relations(database, choice):
        columns = _columns(database, relation, [*relation.key, *filter(None, [choice.updated])])
        if choice.updated:
            found = _changed(database, relation, choice.updated, columns, current)
        else:
            found = _all(database, relation, current)
        seen = set[str]()
        for row in found:
            if row.id in seen:
                key = f"{', '.join(relation.key)} does not tell rows apart; name columns that do: &key=one,other"
                raise DataError(f"two rows are {row.id}: {key}")
            seen.add(row.id)
            if len(seen) > ROWS:
                raise DataError(f"{relation.name} has more than {ROWS:,} rows; write a query for those you need")
            yield row


def relations(database: Database, choice: Choice) -> list[Relation]:
    """The tables, the view or the query that `choice` names, with the key that it names."""
    if choice.query is None:
        return [replace(found, key=choice.key or found.key) for found in database.relations(choice.table)]
    try:
        text = choice.query.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the query {choice.query} cannot be read: {error}") from error
    return [Relation(choice.query.stem, database.nested(text.strip().rstrip(";")), choice.key)]


def spooled(rows: Iterator[Row]) -> tuple[int, Iterator[Row]]:
    """How many rows there are, and each of them, given on when the last one has been read.

    Nothing is indexed before a fault in the last row shows, and nobody waits for the table while rows are embedded.
    """
    count = 0
    with ExitStack() as after_a_fault:
        file = after_a_fault.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
        for row in rows:
            file.write(json.dumps([row.id, row.title, row.digest, row.text, row.problem]) + "\n")
            count += 1
        after_a_fault.pop_all()

    def again() -> Iterator[Row]:
        with file:
            file.seek(0)
            yield from (Row(*json.loads(line)) for line in file)

    return count, again()


# ---------------------------------------------------------------- inside


def _columns(database: Database, relation: Relation, needed: list[str]) -> list[str]:
    columns, rows = database.select(f"SELECT * FROM {relation.sql} WHERE 1 = 0")
    list(rows)  # some drivers read nothing else before
    for column in needed:
        if column not in columns:
            raise DataError(f"{relation.name} has no column {column!r}; it has {', '.join(columns)}")
    return columns


def _all(database: Database, relation: Relation, current: Current) -> Iterator[Row]:
    """Every row, whole; rows of what has no key are called by their content, and equal ones are numbered."""
    order = f" ORDER BY {_list(database, relation.key)}" if relation.key else ""
    columns, rows = database.select(f"SELECT * FROM {relation.sql}{order} LIMIT {ROWS + 1}")
    equal = Counter[str]()
    for values in rows:
        row = _row(relation, columns, values)
        if not relation.key:
            equal[row.digest] += 1
            number = f"-{equal[row.digest]}" if equal[row.digest] > 1 else ""
            row = replace(row, id=f"{relation.name}/{row.digest[:16]}{number}")
        yield replace(row, text=None) if current(row.id, row.digest) else row


def _changed(
    database: Database, relation: Relation, updated: str, columns: list[str], current: Current
) -> Iterator[Row]:
    """Key and time of change of every row, then the whole of those that are not `current`.

    Where the time of change is NULL, the row is read, and its content says whether it changed.
    """
    if not relation.key:
        raise DataError(f"{relation.name} has no primary key; with &updated=, name the columns of one: &key=id")
    listed = _list(database, [*relation.key, updated])
    order = f"ORDER BY {_list(database, relation.key)} LIMIT {ROWS + 1}"
    _, rows = database.select(f"SELECT {listed} FROM {relation.sql} {order}")
    shape = hashlib.sha256(repr([VERSION, relation.sql, columns]).encode()).hexdigest()
    stale: dict[str, Sequence[Any]] = {}
    total = 0
    for *key, when in rows:
        total += 1
        id, digest = _id(relation, key), _digest(shape, when)
        if id in stale or (digest and current(id, digest)):  # `read` refuses an id that comes twice
            yield Row(id, relation.name, digest, None)
        else:
            stale[id] = *key, when
    everything = len(stale) == total  # asked for at once, so that a slow query runs once
    entries = iter(stale.items())
    while batch := dict(islice(entries, total if everything else BATCH)):
        match = "1 = 1" if everything else _match(database, relation, len(batch))
        parameters = [] if everything else [part for *key, _ in batch.values() for part in key]
        _, rows = database.select(f"SELECT * FROM {relation.sql} WHERE {match} {order}", parameters)
        for values in rows:
            row = _row(relation, columns, values)
            if row.id in batch:  # "a" finds "A" too where a server takes them for the same
                yield replace(row, digest=_digest(shape, batch.pop(row.id)[-1]) or row.digest)
        for id in batch:
            yield Row(id, relation.name, "", "", "it went or changed while it was read; run `bakeoff ingest` again")


def _match(database: Database, relation: Relation, number: int) -> str:
    """A condition that so many keys fit."""
    if len(relation.key) == 1:  # planners know what to do with a list
        return f"{database.quoted(relation.key[0])} IN ({', '.join([database.mark] * number)})"
    one = " AND ".join(f"{database.quoted(column)} = {database.mark}" for column in relation.key)
    return f"(({') OR ('.join([one] * number)}))"


def _digest(shape: str, when: object) -> str:
    """Of a row by its time of change; "" where that says nothing."""
    return "" if when is None else f"{shape} {as_key(when)}"


def _row(relation: Relation, columns: list[str], values: Sequence[Any]) -> Row:
    known = (f"{name}: {as_text(value)}" for name, value in zip(columns, values, strict=True) if value is not None)
    text = "\n".join([relation.name, *known])
    key = [values[columns.index(column)] for column in relation.key]
    digest = hashlib.sha256(text.encode()).hexdigest()
    if len(text) > CHARACTERS:
        return Row(_id(relation, key), relation.name, digest, "", f"it holds more than {CHARACTERS:,} characters")
    return Row(_id(relation, key), relation.name, digest, text)


def _id(relation: Relation, key: Sequence[Any]) -> str:
    for column, value in zip(relation.key, key, strict=True):
        if value is None:
            raise DataError(f"{relation.name} has a row whose {column} is NULL; name a key that every row has: &key=id")
    parts = [as_key(value) for value in key]
    if len(parts) > 1:  # ("a/b", "c") is not ("a", "b/c")
        parts = [part.replace("%", "%25").replace("/", "%2F") for part in parts]
    return "/".join([relation.name, *parts])


def _list(database: Database, columns: Sequence[str]) -> str:
    return ", ".join(map(database.quoted, columns))
