"""Sources as they are written: names, paths, environment, and passwords that stay where they are."""

from __future__ import annotations

import re
import tomllib
import traceback
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from typer.testing import CliRunner

from bakeoff import cli
from bakeoff.corpus import Corpus
from bakeoff.corpus.addresses import parse
from bakeoff.errors import DataError
from bakeoff.models.embedders.hashing import Embedder
from bakeoff.project import Project

SECRET = "p@ss/w:rd?#%[geheim]"


def test_a_server_has_a_name_an_address_and_a_choice(tmp_path: Path) -> None:
    (tmp_path / "late.sql").write_text("SELECT 1")
    found = parse(
        "crm=postgresql://ada:x%40y@db.example:5432/shop?sslmode=require&query=late.sql&key=a,b&updated=c", tmp_path
    )
    assert (found.name, found.kind) == ("crm", "server")
    assert found.address == "postgresql://ada:x%40y@db.example:5432/shop?sslmode=require"
    assert found.label == "postgresql://db.example:5432/shop"
    assert (found.choice.query, found.choice.key, found.choice.updated) == (tmp_path / "late.sql", ("a", "b"), "c")
    assert parse("mysql://ada@[::1]/shop").name == "shop"


def test_files_databases_and_pages_keep_their_names(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "a=b.db").touch()
    assert (parse("docs", tmp_path).name, parse("hr=docs", tmp_path).name) == ("docs", "hr")
    assert parse("docs", tmp_path).address == str(tmp_path / "docs")
    assert parse("sqlite:///a=b.db?table=x", tmp_path).name == "a=b.db"
    assert parse("a=b.db", tmp_path).kind == "files"
    assert parse(f"s=sqlite:///{tmp_path}/a=b.db").choice.table == ""
    assert parse("https://docs.example/a?b=c").label == "https://docs.example/a?b=c"
    with pytest.raises(DataError, match="there is no source .*/none"):
        parse("none", tmp_path)


def test_the_environment_fills_in_any_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORD": SECRET, "HOST": "db.example", "PORT": "5432", "BASE": "shop"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WHOLE", "postgresql://ada:x%40y@db.example/shop")
    monkeypatch.setenv("FOLDER", str(tmp_path))
    (tmp_path / "a.db").touch()
    found = parse("postgresql://ada:${WORD}@${HOST}:${PORT}/${BASE}?table=orders")
    import sqlalchemy

    url = sqlalchemy.make_url(found.address)
    assert (url.username, url.password, url.host, url.port, url.database) == ("ada", SECRET, "db.example", 5432, "shop")
    assert (found.name, found.choice.table) == ("shop", "orders")
    assert parse("crm=${WHOLE}?table=orders").address == "postgresql://ada:x%40y@db.example/shop"
    assert parse("sqlite:///${FOLDER}/a.db").address == parse("${FOLDER}/a.db").address == str(tmp_path / "a.db")
    with pytest.raises(DataError, match=r"\$\{NOWHERE\} is not set; set it in the environment"):
        parse("postgresql://ada:${NOWHERE}@db.example/shop")


@pytest.mark.parametrize("text", [
    f"postgresql://ada:{SECRET}@db.example/shop",
    "postgresql://ada:ge/heim@db.example/shop",
    "postgresql://ada:ge?heim@db.example/shop",
    "postgresql://ada:ge#heim@db.example/shop",
    "postgresql://ada:ge@heim@db.example/shop",
    "postgresql://ada:geheim@db.example",
    "postgresql://ada:geheim@db.example:port/shop",
    "postgresql://ada:geheim@[::1/shop",
    "postgres://ada:geheim@db.example/shop",
    "crm=oracle://ada:geheim@db.example/shop",
    "postgresql://ada:geheim@[x/shop",
    "postgresql://ada:geheim@[x]/shop",
    "http://[x/",
    "wiki=https://ada:geheim@[x/",
])  # fmt: skip
def test_an_address_that_cannot_be_right_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(DataError) as caught:
        parse(text)
    assert "heim" not in str(caught.value) and "\n" not in str(caught.value)


def said(*command: str) -> str:
    """What a command prints, and the whole of what it raises."""
    result = CliRunner().invoke(cli.app, command)
    return result.output + "".join(traceback.format_exception(result.exception) if result.exception else ())


@pytest.mark.parametrize("written", ["ada:${WORD}@", "ada:p%40ss%2Fw%3Ard%3F%23%25%5Bgeheim%5D@", "?"])
def test_a_password_is_neither_stored_nor_shown(
    project: Path, postgresql: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, written: str
) -> None:
    """With a query as the source, when all is well and when it is not."""
    monkeypatch.setenv("WORD", SECRET)
    caplog.set_level(0)
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS tickets; CREATE TABLE tickets (id int, body text)")
        connection.execute("INSERT INTO tickets VALUES (1, 'a quokka lamp')")
    parts = urlsplit(postgresql)
    address = urlunsplit(parts._replace(netloc=parts.netloc.replace("postgres:@", "postgres:" + written[4:])))
    if written == "?":
        address = f"{postgresql}&password=geheim"
    assert "geheim" in address or "WORD" in address
    (project / "tickets.sql").write_text("SELECT id, body FROM tickets")
    shown = ""
    for key in ("id", "id", "nonsense"):
        source = f"crm={address}&query=tickets.sql&key={key}"
        text = f'base = "scripted"\n[corpus]\nembedder = "hashing"\nsources = ["{source}"]\n'
        (project / "bakeoff.toml").write_text(text)
        shown += said("ingest", "-C", str(project))
    assert "1 added" in shown and "1 unchanged" in shown and "no column 'nonsense'" in shown
    (project / "tickets.sql").write_text("SELECT nonsense")
    shown += said("ingest", "-C", str(project), "--json")
    shown += said("search", "quokka", "-C", str(project), "--json")
    assert "crm/tickets/1" in shown
    shown += repr(parse(source.replace("${WORD}", "geheim"), project)) + caplog.text
    assert "geheim" not in shown and "WORD" not in shown
    held = b"".join(path.read_bytes() for path in (project / "index").iterdir())
    assert b"geheim" not in held and b"quokka" in held


def test_the_store_may_take_its_password_from_the_environment(
    tmp_path: Path, postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE", f"{postgresql}{'&' if '?' in postgresql else '?'}schema=of-the-environment")
    (tmp_path / "a.md").write_text("Oil lamps.")
    this = Corpus(tmp_path / "index", Embedder(), store="${STORE}")
    assert this.sync(tmp_path / "a.md").added == ("a.md",)
    this.store.close()


def test_a_query_is_looked_for_in_the_projects_folder(project: Path) -> None:
    (project / "late.sql").write_text("SELECT id, product, status FROM orders WHERE status != 'delivered'")
    (project / "bakeoff.toml").write_text(
        'base = "scripted"\n[corpus]\nembedder = "hashing"\nsources = ["late=sqlite:///shop.db?query=late.sql&key=id"]\n'
    )
    added = Project(project).ingest().added
    assert added and all(id.startswith("late/late/") for id in added)


@pytest.mark.parametrize("page", ["docs/guide.md", "docs/configuration.md"])
def test_the_sources_of_the_documents_can_be_parsed(page: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "x")
    monkeypatch.setenv("CRM_PASSWORD", "x")
    (project / "tickets.sql").touch()
    text = (Path(__file__).parents[1] / page).read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(\[corpus\]\nsources.*?)```", text, re.DOTALL)
    found = [parse(source, project) for source in tomllib.loads(block)["corpus"]["sources"]]
    assert {source.kind for source in found} >= {"files", "server"}
