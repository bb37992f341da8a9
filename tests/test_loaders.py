from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import docx
import openpyxl
import pytest

from bakeoff.corpus import chunking, parsing
from bakeoff.corpus.loaders import Loaded
from bakeoff.corpus.parsing import Parser
from bakeoff.corpus.sync import loaders
from bakeoff.errors import DataError
from bakeoff.models.embedders.hashing import Embedder
from bakeoff.types import Document

DEMO = Path(__file__).parents[1] / "src" / "bakeoff" / "demo" / "documents"


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    with Parser() as running:
        yield running


def load(parser: Parser, path: Path) -> Loaded:
    return parser.load(loaders()[path.suffix], path)


def test_markdown_sections_follow_headings_outside_code(parser: Parser, tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("# Top\nx\n```\n# not one\n```\n## Deep ##\ny\n# Next\n")
    loaded = load(parser, path)
    assert loaded.text == path.read_text()
    assert loaded.title == "Top"
    assert [(loaded.text[start:][:6].strip(), name) for start, name in loaded.sections] == [
        ("# Top", "Top"),
        ("## Dee", "Top > Deep"),
        ("# Next", "Next"),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_text_in_any_usual_encoding(parser: Parser, tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("Café für 5 €\r\nzwei".encode(encoding))
    assert load(parser, path).text == "Café für 5 €\nzwei"


def test_html_is_its_visible_text_with_readable_tables(parser: Parser, tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text(
        "<title>T</title><nav>Menu</nav><h1>Prices</h1><p>All <b>in</b> crowns.</p><script>evil()</script>"
        "<table><tr><th>Lamp<th>Price</tr><tr><td>Titan<td>38</tr></table><p hidden>no</p><ul><li>one<li>two</ul>"
    )
    loaded = load(parser, path)
    assert loaded.text.split("\n") == ["Prices", "All in crowns.", "Lamp: Titan; Price: 38", "one", "two"]
    assert (loaded.title, loaded.sections) == ("T", ((0, "Prices"),))


def test_docx_keeps_order_headings_and_tables(parser: Parser, tmp_path: Path) -> None:
    document = docx.Document()
    document.add_heading("Leave", 1)
    document.add_paragraph("Ten days.")
    table = document.add_table(2, 2)
    for cell, text in zip((c for row in table.rows for c in row.cells), ["Who", "Days", "Ann", "12"], strict=True):
        cell.text = text
    document.add_paragraph("End.")
    document.save(str(tmp_path / "a.docx"))
    loaded = load(parser, tmp_path / "a.docx")
    assert loaded.text.split("\n") == ["Leave", "Ten days.", "Who: Ann; Days: 12", "End."]
    assert loaded.sections == ((0, "Leave"),)


def test_a_spreadsheet_row_reads_by_itself(parser: Parser, tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Lamps"
    for row in (["Lamp", "Price", None], ["Titan", 38.0, None], [None, None, None], ["Mouse", 4.5, "new"]):
        sheet.append(row)
    book.save(tmp_path / "a.xlsx")
    loaded = load(parser, tmp_path / "a.xlsx")
    assert loaded.text.split("\n") == ["Lamp: Titan; Price: 38", "Lamp: Mouse; Price: 4.5; new"]
    assert loaded.sections == ((0, "Lamps"),)


def test_csv_guesses_its_delimiter(parser: Parser, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('name;role\n"Ann; Ms";Warden\nBo;Clerk\n')
    assert load(parser, path).text == "name: Ann; Ms; role: Warden\nname: Bo; role: Clerk"


def test_pdf_pages_are_known_and_wrapped_lines_joined(parser: Parser) -> None:
    loaded = load(parser, DEMO / "products" / "catalogue.pdf")
    assert len(loaded.pages) == 3 and loaded.pages[0] == 0
    document = Document("d", loaded.text, "s", {"title": loaded.title, "pages": list(loaded.pages)})
    chunks = chunking.chunk(document, loaded.sections, Embedder().count, 64)
    assert {chunk.page for chunk in chunks} == {1, 2, 3}
    assert "Vessary Lampworks prints this catalogue every second spring." in loaded.text


@pytest.mark.parametrize("suffix", sorted(loaders()))
def test_random_bytes_and_an_empty_file_never_crash_a_loader(parser: Parser, tmp_path: Path, suffix: str) -> None:
    for name, data in {"noise": bytes(range(256)) * 40, "empty": b""}.items():
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(data)
        try:
            assert isinstance(load(parser, path).text, str)
        except DataError as error:
            assert "\n" not in str(error) and "crashed" not in str(error)


def test_an_archive_bomb_is_refused_before_it_is_unpacked(parser: Parser, tmp_path: Path) -> None:
    path = tmp_path / "bomb.docx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"\0" * (400 << 20))
    with pytest.raises(DataError, match="refused as an archive bomb"):
        load(parser, path)


def test_deeply_nested_html_is_read_or_refused_and_the_next_file_still_read(parser: Parser, tmp_path: Path) -> None:
    deep, plain = tmp_path / "deep.html", tmp_path / "plain.html"
    deep.write_text("<div>" * 50_000 + "bottom")
    plain.write_text("<p>plain</p>")
    try:
        load(parser, deep)
    except DataError as error:
        assert "\n" not in str(error)
    assert load(parser, plain).text == "plain"


def test_a_parser_that_hangs_or_dies_costs_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import bakeoff.corpus.loaders

    # The child imports its plug-ins itself, so the hanging ones must lie where it looks.
    home = Path(bakeoff.corpus.loaders.__file__).parent
    hang, die = home / "zz_hang.py", home / "zz_die.py"
    hang.write_text("import time\nVERSION = 1\nSUFFIXES = ()\ndef load(path):\n    time.sleep(60)\n")
    die.write_text("import os\nVERSION = 1\nSUFFIXES = ()\ndef load(path):\n    os._exit(1)\n")
    path = tmp_path / "a.txt"
    path.write_text("text")
    try:
        with Parser(seconds=3) as parser:
            with pytest.raises(DataError, match="took more than 3 s"):
                parser.load("zz_hang", path)
            with pytest.raises(DataError, match="crashed the parser"):
                parser.load("zz_die", path)
            assert parser.load("text", path).text == "text"
    finally:
        hang.unlink()
        die.unlink()


def test_the_child_has_no_secrets_and_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with Parser() as parser:
        child = parser._start()
        child_environment = Path(f"/proc/{child.pid}/environ").read_bytes()
        assert b"secret" not in child_environment
    assert parsing.MEMORY <= 1 << 30


def test_chunks_cover_the_text_exactly_and_respect_size_and_sections() -> None:
    text = "# One\n" + "Lamps burn oil. " * 30 + "\n\n# Two\nShort.\n\n# Three\n" + "word " * 200
    sections = [(text.index(f"# {name}"), name) for name in ("One", "Two", "Three")]
    count = Embedder().count
    chunks = chunking.chunk(Document("d", text, "s"), sections, count, 40)
    assert all(text[c.start : c.end] == c.text and c.text == c.text.strip() for c in chunks)
    assert all(count(c.text) <= 40 for c in chunks)
    assert " ".join(c.text for c in chunks).split() == text.split()
    assert [c.start for c in chunks] == sorted({c.start for c in chunks})
    assert chunks[0].section == "One" and chunks[-1].section == "Three"


def test_a_table_row_is_not_cut_while_it_fits() -> None:
    rows = [f"Lamp: L{n}; Price: {n} crowns; Note: see the sheet" for n in range(30)]
    text = "\n".join(rows)
    chunks = chunking.chunk(Document("d", text, "s"), (), Embedder().count, 50)
    assert [line for c in chunks for line in c.text.split("\n")] == rows
