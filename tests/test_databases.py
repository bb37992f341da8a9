"""Databases as sources: SQLite files, and real servers that are started for these tests."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mysql_mimic import IdentityProvider, MysqlServer, NativePasswordAuthPlugin, Session, User

from bakeoff.corpus import Corpus, rows, tables
from bakeoff.corpus.access import require_fit
from bakeoff.corpus.addresses import parse
from bakeoff.corpus.rows import Choice, Database, Relation, read
from bakeoff.errors import DataError
from bakeoff.models.embedders.hashing import Embedder
from bakeoff.types import Vectors

ORDERS = (
    "CREATE TABLE orders (id int PRIMARY KEY, item varchar(40), note varchar(40), changed int)",
    "INSERT INTO orders VALUES (7, 'lamp', NULL, 1), (9, 'oil', 'late', 1)",
)


@dataclass(frozen=True)
class Shop:
    """A database with some orders in it."""

    kind: str
    address: str

    def source(self, options: str = "") -> str:
        """As it stands in `bakeoff.toml`."""
        joint = "" if not options else "&" if "?" in self.address else "?"
        return f"shop={self.address}{joint}{options}"

    def run(self, *statements: str) -> list[Any]:
        """What the last one finds."""
        with closing(self._connection()) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            found = list(cursor.fetchall()) if cursor.description else []
            connection.commit()
        return found

    def _connection(self) -> Any:
        if self.kind == "sqlite":
            return sqlite3.connect(self.address.removeprefix("sqlite:///"))
        if self.kind == "postgresql":
            return psycopg.connect(self.address)
        import pymysql

        parts = urlsplit(self.address)
        return pymysql.connect(host="127.0.0.1", port=parts.port, user="ada", database=parts.path[1:])

    def opened(self) -> AbstractContextManager[Database]:
        if self.kind == "sqlite":
            return tables.opened(Path(self.address.removeprefix("sqlite:///")))
        from bakeoff.corpus import databases

        return databases.opened(self.address, "shop")


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    if request.param == "sqlite":
        found = Shop("sqlite", f"sqlite:///{tmp_path / 'shop.db'}")
    elif request.param == "postgresql":
        url = str(request.getfixturevalue("postgresql"))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS shop")
            connection.execute("CREATE DATABASE shop")
        found = Shop("postgresql", urlunsplit(urlsplit(url)._replace(path="/shop")))
    else:
        url = str(request.getfixturevalue("mariadb"))
        Shop("mariadb", url).run("DROP DATABASE IF EXISTS shop", "CREATE DATABASE shop")
        found = Shop("mariadb", f"{url}shop")
    found.run(*ORDERS)
    return found


def corpus(folder: Path) -> Corpus:
    return Corpus(folder / "index", Embedder(), chunk_tokens=32)


def query(folder: Path, text: str, name: str = "tickets.sql") -> Path:
    (folder / name).write_text(text)
    return folder / name


def texts(this: Corpus) -> dict[str, str]:
    documents = {id: this.store.document(id) for id in this.store.ids()}
    return {id: document.text for id, document in documents.items() if document}


# ---------------------------------------------------------------- tables


def test_rows_are_documents_and_follow_their_table(shop: Shop, tmp_path: Path) -> None:
    this = corpus(tmp_path)
    assert this.sync(shop.source()).added == ("shop/orders/7", "shop/orders/9")
    assert texts(this)["shop/orders/9"] == "orders\nid: 9\nitem: oil\nnote: late\nchanged: 1"
    assert texts(this)["shop/orders/7"] == "orders\nid: 7\nitem: lamp\nchanged: 1"
    shop.run("UPDATE orders SET item = 'wick' WHERE id = 7", "DELETE FROM orders WHERE id = 9")
    changes = this.sync(shop.source())
    assert (changes.updated, changes.removed) == (("shop/orders/7",), ("shop/orders/9",))
    assert this.sync(shop.source()).unchanged == ("shop/orders/7",)
    assert "wick" in texts(this)["shop/orders/7"]


def test_one_table_or_view_can_be_named_and_a_wrong_name_lists_the_right_ones(shop: Shop, tmp_path: Path) -> None:
    shop.run("CREATE VIEW late AS SELECT * FROM orders WHERE note = 'late'", "CREATE TABLE empty (id int PRIMARY KEY)")
    this = corpus(tmp_path)
    assert this.sync(shop.source("table=late&key=id")).added == ("shop/late/9",)
    if shop.kind == "postgresql":
        shop.run("CREATE MATERIALIZED VIEW kept AS SELECT * FROM late")
        assert this.sync(f"kept={shop.source('table=kept').partition('=')[2]}").added[0].startswith("kept/kept/")
        shop.run("DROP MATERIALIZED VIEW kept")
    assert this.sync(shop.source("table=empty")).removed == ("shop/late/9",)
    with pytest.raises(DataError, match="has no table 'x'; it has empty, late, orders"):
        this.sync(shop.source("table=x"))


def test_a_schema_of_a_server_is_part_of_the_name(postgresql: str, tmp_path: Path) -> None:
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA sales")
        connection.execute('CREATE TABLE sales."50% ""off""" ("a b" int PRIMARY KEY, "c%s" text)')
        connection.execute("""INSERT INTO sales."50% ""off""\"VALUES (1, '%s')""")
    this = corpus(tmp_path)
    source = f"s={postgresql}{'&' if '?' in postgresql else '?'}table=sales.50%25 %22off%22"
    assert this.sync(source).added == ('s/50% "off"/1',)
    assert texts(this) == {'s/50% "off"/1': '50% "off"\na b: 1\nc%s: %s'}


def test_rows_of_a_table_without_a_key_are_all_kept_and_equal_ones_are_numbered(shop: Shop, tmp_path: Path) -> None:
    shop.run("CREATE TABLE visits (who varchar(9), day int)", "DROP TABLE orders")
    shop.run("INSERT INTO visits VALUES ('ann', 1), ('ann', 2), ('ann', 2), ('ben', 1)")
    this = corpus(tmp_path)
    added = this.sync(shop.source()).added
    assert sorted(texts(this).values()) == [f"visits\nwho: {who}\nday: {day}" for who, day in
                                            (("ann", 1), ("ann", 2), ("ann", 2), ("ben", 1))]  # fmt: skip
    assert len(set(added)) == 4 and sum(id.endswith("-2") for id in added) == 1
    shop.run("DELETE FROM visits WHERE who = 'ben'", "INSERT INTO visits VALUES ('cat', 3)")
    changes = this.sync(shop.source())
    assert (len(changes.unchanged), len(changes.added), len(changes.removed), len(changes.updated)) == (3, 1, 1, 0)


@pytest.mark.parametrize("options", ["table=visits&key=who", "table=visits&key=who&updated=day"])
def test_a_key_that_is_not_unique_is_refused_before_anything_is_indexed(
    shop: Shop, tmp_path: Path, options: str
) -> None:
    shop.run("CREATE TABLE visits (who varchar(9), day int)")
    shop.run("INSERT INTO visits VALUES ('ann', 1), ('ben', 1), ('ben', 2)")
    this = corpus(tmp_path)
    with pytest.raises(DataError, match=r"two rows are visits/ben: who does not tell rows apart.*&key=one,other"):
        this.sync(shop.source(options))
    assert texts(this) == {}
    assert len(this.sync(shop.source(f"{options.replace('who', 'who,day')}")).added) == 3
    shop.run("INSERT INTO visits VALUES ('eve', NULL), (NULL, 3)")
    with pytest.raises(DataError, match="visits has a row whose (who|day) is NULL"):
        this.sync(shop.source(f"{options.replace('who', 'who,day')}"))
    assert len(texts(this)) == 3


def test_keys_that_only_look_alike_are_two_documents(shop: Shop, tmp_path: Path) -> None:
    shop.run("CREATE TABLE pages (site varchar(9), path varchar(9), PRIMARY KEY (site, path))")
    shop.run("INSERT INTO pages VALUES ('a/b', 'c'), ('a', 'b/c'), ('a%2Fb', 'c')")
    assert len(corpus(tmp_path).sync(shop.source("table=pages")).added) == 3


def test_the_two_types_of_a_key_that_look_alike_are_refused(tmp_path: Path) -> None:
    shop = Shop("sqlite", f"sqlite:///{tmp_path / 'x.db'}")
    shop.run("CREATE TABLE a (id PRIMARY KEY, word)", "INSERT INTO a VALUES (1, 'oil'), ('1', 'wick')")
    with pytest.raises(DataError, match="two rows are a/1"):
        corpus(tmp_path).sync(shop.source())


def test_a_full_text_index_in_a_file_is_no_table_but_can_be_named(tmp_path: Path) -> None:
    shop = Shop("sqlite", f"sqlite:///{tmp_path / 'x.db'}")
    shop.run("CREATE TABLE a (id INTEGER PRIMARY KEY)", "INSERT INTO a VALUES (1)")
    shop.run("CREATE VIRTUAL TABLE words USING fts5 (body)", "INSERT INTO words VALUES ('oil lamps')")
    this = corpus(tmp_path)
    assert this.sync(shop.source()).added == ("shop/a/1",)
    this.sync(shop.source("table=words"))
    assert list(texts(this).values()) == ["words\nbody: oil lamps"]


# ---------------------------------------------------------------- queries


def test_what_a_query_finds_becomes_documents(shop: Shop, tmp_path: Path) -> None:
    shop.run("CREATE TABLE parts (order_id int, what varchar(20))")
    shop.run("INSERT INTO parts VALUES (7, 'Titan 100%'), (7, 'wick'), (9, 'oil: 5 l')")
    path = query(tmp_path, """
        -- orders with their parts; 100% of them
        SELECT orders.id AS number, item, what
        FROM orders JOIN parts ON order_id = orders.id
        WHERE what LIKE '%i%' AND what != ':none' AND '%s' = '%s'
        ORDER BY what;  """)  # fmt: skip
    this = corpus(tmp_path)
    options = f"query={path}&key=number,what"
    ids = ["shop/tickets/7/Titan 100%25", "shop/tickets/7/wick", "shop/tickets/9/oil: 5 l"]
    assert sorted(this.sync(shop.source(options)).added) == ids
    assert texts(this)[ids[0]] == "tickets\nnumber: 7\nitem: lamp\nwhat: Titan 100%"
    shop.run("DELETE FROM parts WHERE what = 'wick'")
    changes = this.sync(shop.source(options))
    assert (changes.removed, len(changes.unchanged)) == ((ids[1],), 2)


def test_a_comment_may_end_a_query(shop: Shop, tmp_path: Path) -> None:
    path = query(tmp_path, "SELECT * FROM orders -- all of them")
    assert len(corpus(tmp_path).sync(shop.source(f"query={path}&key=id")).added) == 2


WRITES = [
    "DELETE FROM orders",
    "INSERT INTO orders (id) VALUES (1)",
    "UPDATE orders SET item = 'x'",
    "DROP TABLE orders",
    "CREATE TABLE more (id int)",
    "COMMIT",
    "SELECT 1 AS id; DELETE FROM orders",
    "SELECT 1 AS id) AS a; DELETE FROM orders; SELECT * FROM (SELECT 1 AS id",
    "SELECT 1 AS id) AS a; COMMIT; DELETE FROM orders; SELECT * FROM (SELECT 1 AS id",
    "WITH gone AS (DELETE FROM orders RETURNING id) SELECT id FROM gone",
    "",
]
MORE_WRITES = {
    "sqlite": ["ATTACH 'more.db' AS more", "PRAGMA user_version = 3", "SELECT load_extension('x') AS id"],
    "postgresql": [
        "SELECT emptied() AS id",
        "SELECT nextval('numbers') AS id",
        "SELECT set_config('transaction_read_only', 'off', false) AS id, emptied()",
        "SELECT id FROM orders FOR UPDATE",
        "COPY orders TO PROGRAM 'touch more'",
        "SET TRANSACTION READ WRITE",
    ],
    "mariadb": ["SELECT id FROM orders INTO OUTFILE 'more'", "SET autocommit = 1"],
}


def test_a_query_that_does_more_than_read_is_refused_and_does_nothing(shop: Shop, tmp_path: Path) -> None:
    if shop.kind == "postgresql":
        body = "'DELETE FROM orders RETURNING id' LANGUAGE sql"
        shop.run(f"CREATE FUNCTION emptied() RETURNS int AS {body}", "CREATE SEQUENCE numbers")
    before = shop.run("SELECT * FROM orders ORDER BY id")
    for text in [*WRITES, *MORE_WRITES[shop.kind]]:
        path = query(tmp_path, text)
        with pytest.raises(DataError, match="tickets.sql must be one SELECT that only reads") as caught:
            corpus(tmp_path).sync(shop.source(f"query={path}&key=id"))
        assert "\n" not in str(caught.value), text
        assert shop.run("SELECT * FROM orders ORDER BY id") == before, text
    with pytest.raises(Exception, match="more"):
        shop.run("SELECT * FROM more")
    assert not (tmp_path / "more.db").exists()


def test_the_connection_itself_only_reads(shop: Shop) -> None:
    """Were a query not nested in a SELECT, it could not write either."""
    for statement in ("DELETE FROM orders", "CREATE TABLE more (id int)"):
        with (
            pytest.raises(DataError, match="not authorized|read-only transaction|READ ONLY transaction"),
            shop.opened() as it,
        ):
            if isinstance(it, tables.SQLite):
                it.select(statement)
            else:
                it.connection.exec_driver_sql(statement)  # type: ignore[attr-defined]
    assert len(shop.run("SELECT * FROM orders")) == 2


SLOW = {
    "sqlite": "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT max(id) AS id FROM n",
    "postgresql": "SELECT 1 AS id, pg_sleep(30)",
    "mariadb": "SELECT 1 AS id, sleep(30)",
}


def test_rows_time_and_size_have_limits(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    this = corpus(tmp_path)
    monkeypatch.setattr(rows, "CHARACTERS", 40)
    assert list(this.sync(shop.source()).failed.values()) == ["it holds more than 40 characters"]
    monkeypatch.setattr(rows, "ROWS", 1)
    for options in ("", "updated=changed"):
        with pytest.raises(DataError, match="orders has more than 1 rows; write a query for those you need"):
            this.sync(shop.source(options))
    monkeypatch.setattr(rows, "SECONDS", 0.3)
    with pytest.raises(DataError, match="more than 0 s|statement timeout|max_statement_time"):
        this.sync(shop.source(f"query={query(tmp_path, SLOW[shop.kind])}&key=id"))


def test_the_database_is_let_go_before_the_first_row_is_embedded(shop: Shop, tmp_path: Path) -> None:
    """Embedding may take hours: nobody who changes the table waits for it, and no time limit counts it."""
    wait = {"sqlite": "SELECT 1", "postgresql": "SET lock_timeout = '2s'", "mariadb": "SET lock_wait_timeout = 2"}

    class Dropping(Embedder):
        def embed(self, texts: Sequence[str]) -> Vectors:
            shop.run(wait[shop.kind], "DROP TABLE orders")
            return super().embed(texts)

    assert len(Corpus(tmp_path / "index", Dropping()).sync(shop.source()).added) == 2


def test_wrong_sources_are_one_line_with_the_cure(shop: Shop, tmp_path: Path) -> None:
    path = query(tmp_path, "SELECT id, item FROM orders")
    for options, says in {
        f"query={path}": r"name it: \?query=.*tickets.sql&key=id",
        f"query={path}&key=no": "tickets has no column 'no'; it has id, item",
        f"query={path}&key=id&updated=no": "tickets has no column 'no'; it has id, item",
        f"query={path}&table=orders&key=id": "make it two sources",
        "query=no.sql&key=id": "there is no query no.sql; it is a file with one SELECT",
        "key=id": r"\?table=orders&key=id",
        "updated=no": "orders has no column 'no'; it has id, item, note, changed",
    }.items():
        with pytest.raises(DataError, match=says) as caught:
            corpus(tmp_path).sync(shop.source(options))
        assert "\n" not in str(caught.value)


def test_an_option_of_a_file_that_is_not_known_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").touch()
    with pytest.raises(DataError, match="unknown options: tables; known are table, query, key and updated"):
        parse(f"sqlite:///{tmp_path / 'x.db'}?tables=a")


def test_a_file_that_is_no_database_and_one_that_is_not_there_are_said(tmp_path: Path) -> None:
    (tmp_path / "no.db").write_text("not a database at all, really not one")
    with pytest.raises(DataError, match="cannot be read as a SQLite database: file is not a database"):
        corpus(tmp_path).sync(f"sqlite:///{tmp_path / 'no.db'}")
    with pytest.raises(DataError, match="there is no source"):
        corpus(tmp_path).sync(f"sqlite:///{tmp_path / 'none.db'}")


# ---------------------------------------------------------------- a time of change


class Counting:
    """A database that counts the rows that it hands out, whole or only their keys."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.mark = database.mark
        self.whole: list[int] = []
        self.keys = 0

    def quoted(self, name: str) -> str:
        return self._database.quoted(name)

    def nested(self, query: str) -> str:
        return self._database.nested(query)

    def relations(self, only: str) -> list[Relation]:
        return self._database.relations(only)

    def select(self, sql: str, parameters: Sequence[object] = ()) -> tuple[list[str], Iterator[Sequence[Any]]]:
        columns, found = self._database.select(sql, parameters)
        return columns, self._counted(columns, found)

    def _counted(self, columns: list[str], found: Iterator[Sequence[Any]]) -> Iterator[Sequence[Any]]:
        for row in found:
            if "item" in columns:
                self.whole.append(row[0])
            else:
                self.keys += 1
            yield row


def test_rows_whose_time_of_change_is_as_it_was_are_not_fetched(shop: Shop) -> None:
    shop.run("DELETE FROM orders")
    shop.run("INSERT INTO orders VALUES " + ", ".join(f"({n}, 'x{n}', NULL, 1)" for n in range(450)))
    held = dict[str, str]()

    def fetched() -> tuple[list[int], int]:
        with shop.opened() as opened:
            counting = Counting(opened)
            found = list(read(counting, Choice(updated="changed"), lambda id, digest: held.get(id) == digest))
        held.clear()
        held.update({row.id: row.digest for row in found})
        return sorted(counting.whole), counting.keys

    assert fetched() == (list(range(450)), 450)
    assert fetched() == ([], 450)
    shop.run(
        "UPDATE orders SET item = 'new', changed = 2 WHERE id IN (3, 444)",
        "DELETE FROM orders WHERE id = 5",
        "INSERT INTO orders VALUES (1000, 'more', NULL, 1)",
    )
    assert fetched() == ([3, 444, 1000], 450)


EDITS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["put", "touch", "delete"]), st.booleans()), max_size=6)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(EDITS, min_size=1, max_size=3), st.booleans())
def test_after_any_edits_the_index_is_that_of_a_full_read(
    shop: Shop, tmp_path_factory: pytest.TempPathFactory, rounds: list[list[tuple[int, str, bool]]], by_query: bool
) -> None:
    folder = tmp_path_factory.mktemp("model")
    whole, quick = corpus(folder / "whole"), corpus(folder / "quick")
    path = query(folder, "SELECT id, item, changed FROM orders WHERE id != 3")
    options = f"query={path}&key=id" if by_query else "table=orders"
    shop.run("DELETE FROM orders")  # rows of an earlier example bear times that come again in this one
    now = 0
    for edits in rounds:
        statements = []
        for id, edit, known in edits:
            now += 1
            when = str(now) if known else "NULL"
            if edit == "touch":
                statements.append(f"UPDATE orders SET item = 'item {now}', changed = {when} WHERE id = {id}")
            else:
                statements.append(f"DELETE FROM orders WHERE id = {id}")
            if edit == "put":
                statements.append(f"INSERT INTO orders VALUES ({id}, 'item {now % 3}', NULL, {when})")
        shop.run(*statements)
        changes = [
            this.sync(shop.source(f"{options}{more}")) for this, more in ((whole, ""), (quick, "&updated=changed"))
        ]
        assert texts(quick) == texts(whole)
        assert (changes[0].added, changes[0].removed) == (changes[1].added, changes[1].removed)
        assert set(changes[0].updated) <= set(changes[1].updated)


def test_another_query_or_column_is_read_whatever_the_time_of_change_says(shop: Shop, tmp_path: Path) -> None:
    this = corpus(tmp_path)
    path = query(tmp_path, "SELECT id, item AS what, changed FROM orders")
    options = f"query={path}&key=id&updated=changed"
    this.sync(shop.source(options))
    path.write_text("SELECT id, note AS what, changed FROM orders")
    assert len(this.sync(shop.source(options)).updated) == 2
    assert "what: late" in texts(this)["shop/tickets/9"]
    this.sync(shop.source("updated=changed"))
    shop.run("ALTER TABLE orders ADD COLUMN place varchar(9) DEFAULT 'Prague'")
    assert len(this.sync(shop.source("updated=changed")).updated) == 2
    assert "place: Prague" in texts(this)["shop/orders/9"]


def test_keys_of_all_kinds_find_their_rows_again(shop: Shop, tmp_path: Path) -> None:
    day = "date" if shop.kind != "sqlite" else "text"
    shop.run(f"CREATE TABLE plan (day {day}, who varchar(9), item varchar(9), changed int, PRIMARY KEY (day, who))")
    shop.run("INSERT INTO plan VALUES ('2026-01-31', 'ann', 'oil', 1), ('2026-01-31', 'A''B', 'wick', 1)")
    this = corpus(tmp_path)
    options = "table=plan&updated=changed"
    assert sorted(this.sync(shop.source(options)).added) == ["shop/plan/2026-01-31/A'B", "shop/plan/2026-01-31/ann"]
    shop.run("UPDATE plan SET item = 'lamp', changed = 2 WHERE who = 'A''B'")
    assert this.sync(shop.source(options)).updated == ("shop/plan/2026-01-31/A'B",)
    assert "item: lamp" in texts(this)["shop/plan/2026-01-31/A'B"]


def test_many_changes_at_once_are_all_found(shop: Shop) -> None:
    shop.run("CREATE TABLE plan (day int, who varchar(9), item varchar(9), changed int, PRIMARY KEY (day, who))")
    plan = [(n % 31, f"w{n}") for n in range(2000)]
    shop.run("INSERT INTO plan VALUES " + ", ".join(f"({day}, '{who}', 'oil', 1)" for day, who in plan))
    shop.run("UPDATE plan SET changed = 2 WHERE day < 20")
    with shop.opened() as opened:
        found = read(opened, Choice("plan", updated="changed"), lambda id, digest: digest.endswith(" 1"))
        held = {row.id for row in found if row.text and not row.problem}
    assert held == {f"plan/{day}/{who}" for day, who in plan if day < 20}


BROKEN = {"sqlite": "json(item)", "postgresql": "1 / (id - id)", "mariadb": "(SELECT orders.id UNION SELECT -1)"}
"""A column that cannot be computed: whoever fetches a whole row fails."""


def test_a_dry_run_fetches_no_row_and_says_what_would_be_done(shop: Shop, tmp_path: Path) -> None:
    this = corpus(tmp_path)
    path = query(tmp_path, "SELECT id, item, changed FROM orders")
    source = shop.source(f"query={path}&key=id&updated=changed")
    this.sync(source)
    shop.run("UPDATE orders SET item = 'wick', changed = 2 WHERE id = 7", "DELETE FROM orders WHERE id = 9")
    path.write_text(f"SELECT id, changed, {BROKEN[shop.kind]} AS item FROM orders")
    planned = this.sync(source, dry_run=True)
    assert (planned.updated, planned.removed) == (("shop/tickets/7",), ("shop/tickets/9",))
    with pytest.raises(DataError, match="cannot be read"):
        this.sync(source)
    assert "lamp" in texts(this)["shop/tickets/7"]


def test_a_row_without_a_time_of_change_is_compared_by_its_content(shop: Shop, tmp_path: Path) -> None:
    this = corpus(tmp_path)
    shop.run("UPDATE orders SET changed = NULL")
    this.sync(shop.source("updated=changed"))
    shop.run("UPDATE orders SET item = 'wick' WHERE id = 7")
    changes = this.sync(shop.source("updated=changed"))
    assert (changes.updated, changes.unchanged) == (("shop/orders/7",), ("shop/orders/9",))


def test_a_time_of_change_needs_a_key(shop: Shop, tmp_path: Path) -> None:
    shop.run("CREATE TABLE visits (who varchar(9), day int)")
    with pytest.raises(DataError, match="visits has no primary key; with &updated=, name the columns of one: &key=id"):
        corpus(tmp_path).sync(shop.source("table=visits&updated=day"))


# ---------------------------------------------------------------- values

TYPES = {
    "sqlite": {
        "NULL": None,
        "12.5": "12.5",
        "x'00ff'": "(2 bytes)",
        "CAST('Dvořák' AS BLOB)": "Dvořák",
        "CAST(x'61ff62' AS TEXT)": "a\ufffdb",
        "json_object('b', 1, 'a', 'é')": '{"b":1,"a":"é"}',
        "date('2026-02-03')": "2026-02-03",
        "9007199254740993": "9007199254740993",
    },
    "postgresql": {
        "NULL": None,
        "1000000.10::numeric(12,2)": "1000000.10",
        "0.1::float8": "0.1",
        "true": "true",
        "'2026-02-03'::date": "2026-02-03",
        "'infinity'::timestamptz": "infinity",
        "'44-03-15 BC'::date": "0044-03-15 BC",
        "'2026-02-03 10:00+02'::timestamptz": "2026-02-03 08:00:00+00",
        "'2026-02-03 10:00:00.5'::timestamp": "2026-02-03 10:00:00.5",
        "'1 year 2 days'::interval": "1 year 2 days",
        """'{"b": [1, null], "a": "\u00e9"}'::jsonb""": '{"a": "é", "b": [1, null]}',
        """'{"b": 1, "a": 2.50}'::json""": '{"a": 2.5, "b": 1}',
        "ARRAY['x, y', NULL]": '["x, y", null]',
        "ARRAY[1.50, 2]": '["1.50", "2"]',
        "ARRAY['2026-02-03'::date]": '["2026-02-03"]',
        "'\\x00ff'::bytea": "(2 bytes)",
        "'6f2c0000-0000-0000-0000-00000000000a'::uuid": "6f2c0000-0000-0000-0000-00000000000a",
        "'10.0.0.1'::inet": "10.0.0.1",
        "'[1,5)'::int4range": "[1, 5)",
        "'1,234.50'::money::text": "$1,234.50",
    },
    "mariadb": {
        "NULL": None,
        "CAST(1000000.10 AS DECIMAL(12,2))": "1000000.10",
        "0.1e0": "0.1",
        "CAST('2026-02-03' AS DATE)": "2026-02-03",
        "CAST('2026-02-03 10:00:00' AS DATETIME)": "2026-02-03 10:00:00",
        "FROM_UNIXTIME(0)": "1970-01-01 00:00:00",
        "CAST('26:30:00' AS TIME)": "1 day, 2:30:00",
        "JSON_OBJECT('b', 1, 'a', 'é')": '{"b": 1, "a": "é"}',
        "x'00ff'": "(2 bytes)",
        "CAST('Dvořák' AS BINARY)": "Dvořák",
        "0 = 0": "1",
    },
}


def test_values_of_all_types_are_readable_and_the_same_each_time(shop: Shop, tmp_path: Path) -> None:
    this = corpus(tmp_path)
    wanted = TYPES[shop.kind]
    if shop.kind == "postgresql":
        shop.run("ALTER DATABASE shop SET timezone = 'Asia/Tokyo'", "ALTER DATABASE shop SET datestyle = 'German'")
    elif shop.kind == "mariadb":
        shop.run("SET GLOBAL time_zone = '+09:00'")
    columns = ", ".join(f"{value} AS v{number}" for number, value in enumerate(wanted))
    options = f"query={query(tmp_path, f'SELECT 1 AS id, {columns}')}&key=id"
    assert this.sync(shop.source(options)).added == ("shop/tickets/1",)
    shown = [f"v{number}: {text}" for number, text in enumerate(wanted.values()) if text is not None]
    assert texts(this)["shop/tickets/1"].splitlines() == ["tickets", "id: 1", *shown]
    assert this.sync(shop.source(options)).unchanged == ("shop/tickets/1",)


def test_a_very_long_text_is_kept_and_found_to_its_end(shop: Shop, tmp_path: Path) -> None:
    path = query(tmp_path, "SELECT id, body FROM letters")
    long = "oil lamp " * 20_000 + "\n\nquokka"
    shop.run("CREATE TABLE letters (id int PRIMARY KEY, body " + ("mediumtext)" if shop.kind == "mariadb" else "text)"))
    shop.run(f"INSERT INTO letters VALUES (1, '{long}')")
    this = corpus(tmp_path)
    this.sync(shop.source(f"query={path}&key=id"))
    assert texts(this)["shop/tickets/1"] == f"tickets\nid: 1\nbody: {long}"
    assert "quokka" in this.store.search_text("quokka", 1)[0].chunk.text


# ---------------------------------------------------------------- MySQL, of which there is only a double


class Ada(IdentityProvider):  # type: ignore[misc]
    """Knows one user and her password."""

    async def get_user(self, username: str) -> User | None:
        secret = NativePasswordAuthPlugin.create_auth_string("geheim")
        return User(username, secret, NativePasswordAuthPlugin.name) if username == "ada" else None


class Told(Session):  # type: ignore[misc]
    """Says of itself that it is MySQL 8, keeps what it is told, and has one order."""

    statements: ClassVar[list[str]] = []

    async def handle_query(self, sql: str, attrs: dict[str, str]) -> Any:
        self.statements.append(sql)
        return await super().handle_query(sql, attrs)

    async def query(self, expression: Any, sql: str, attrs: dict[str, str]) -> Any:
        return ([] if "1 = 0" in sql else [(7, "lamp 100%")]), ["id", "item"]


@pytest.fixture
def mysql() -> Iterator[str]:
    """URL of something that speaks MySQL's protocol; it cannot show that what it was told holds."""
    loop = asyncio.new_event_loop()
    server = MysqlServer(session_factory=Told, identity_provider=Ada())
    loop.run_until_complete(server.start_server(host="127.0.0.1", port=0))
    port = server._server.sockets[0].getsockname()[1]  # it has no other way to ask
    thread = Thread(target=loop.run_forever)
    thread.start()
    yield f"mysql://ada:geheim@127.0.0.1:{port}/shop"
    asyncio.run_coroutine_threadsafe(_stopped(server), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def _stopped(server: MysqlServer) -> None:
    server.close()
    await server.wait_closed()


def test_a_mysql_server_is_told_first_that_nothing_is_written_and_how_long_it_has(mysql: str, tmp_path: Path) -> None:
    Told.statements.clear()
    this = corpus(tmp_path)
    path = query(tmp_path, "SELECT id, item FROM orders WHERE item LIKE '%'")
    assert this.sync(f"{mysql}?query={path}&key=id").added == ("shop/tickets/7",)
    assert texts(this) == {"shop/tickets/7": "tickets\nid: 7\nitem: lamp 100%"}
    first = next(number for number, text in enumerate(Told.statements) if "orders" in text)
    for told in ("SET SESSION TRANSACTION READ ONLY", "SET SESSION max_execution_time = 60000"):
        assert told in Told.statements[:first]
    assert "LIKE '%'" in Told.statements[first] and "LIKE '%%'" not in Told.statements[first]


def test_a_wrong_password_is_one_line_without_it(mysql: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="mysql://127.0.0.1:.*/shop cannot be read: .*denied") as caught:
        corpus(tmp_path).sync(mysql.replace("geheim", "falsch"))
    assert "falsch" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_server_that_is_down_fails_alone_and_its_rows_stay(
    mysql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    this, notes = corpus(tmp_path), tmp_path / "notes"
    notes.mkdir()
    (notes / "a.md").write_text("one")
    shop = f"shop={mysql}?query={query(tmp_path, 'SELECT id, item FROM orders')}&key=id"
    never = "never=postgresql://ada:geheim@127.0.0.1:1/shop"
    first = this.sync(shop, never, notes)
    assert first.added == ("shop/tickets/7", "notes/a.md")
    assert list(first.failed) == ["never"] and "geheim" not in first.failed["never"]
    require_fit(["never/orders/*"], [parse(never)])  # it may well be there

    def refused(*_: object, **__: object) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("pymysql.connections.socket.create_connection", refused)
    (notes / "a.md").write_text("two")
    second = this.sync(shop, notes)
    assert (second.updated, second.removed) == (("notes/a.md",), ())
    assert second.failed["shop"].startswith(f"mysql://127.0.0.1:{urlsplit(mysql).port}/shop")
    assert "cannot be reached" in second.failed["shop"] and second.failed["shop"].endswith(
        "what was indexed of it stays"
    )
    assert set(texts(this)) == {"shop/tickets/7", "notes/a.md"}


def test_a_server_that_knows_no_such_database_is_an_error_to_mend(postgresql: str, tmp_path: Path) -> None:
    address = urlunsplit(urlsplit(postgresql)._replace(path="/elsewhere"))
    with pytest.raises(DataError, match='/elsewhere cannot be read: .*"elsewhere" does not exist'):
        corpus(tmp_path).sync(f"shop={address}")
