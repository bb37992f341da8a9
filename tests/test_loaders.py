from __future__ import annotations

import json
import re
import resource
import socket
import zipfile
import zlib
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import docx
import odfdo
import openpyxl
import pptx
import pytest
from docx.oxml import parse_xml

from bakeoff.corpus import chunking, parsing
from bakeoff.corpus.loaders import Loaded
from bakeoff.corpus.loaders import text as plain
from bakeoff.corpus.parsing import Parser
from bakeoff.corpus.sources import loaders
from bakeoff.errors import DataError
from bakeoff.models.embedders.hashing import Embedder
from bakeoff.types import Document

DEMO = Path(__file__).parents[1] / "src" / "bakeoff" / "demo" / "documents"


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    with Parser() as running:
        yield running


def load(parser: Parser, path: Path) -> Loaded:
    return parser.load(loaders()[path.suffix].name, path)


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


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Le café coûte dix crédits à Genève, où l'été est très agréable."),
        ("cp1250", "Příliš žluťoučký kůň úpěl ďábelské ódy. Cena lampy je čtyřicet korun."),
        ("koi8_r", "Цена лампы сорок крон. Возврат возможен в течение тридцати дней после покупки."),
        ("shift_jis", "ランプの価格は四十クローネです。部品は三年間保証されます。"),
        ("gb18030", "灯的价格是四十克朗,保修三年。"),
        ("utf-16-le", "Größere Lampen kosten mehr."),
        ("utf-32", "Größere Lampen kosten mehr."),
    ],
)
def test_the_encoding_of_text_is_guessed(parser: Parser, tmp_path: Path, encoding: str, text: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode(encoding))
    assert load(parser, path).text == text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text", ["The warranty is five years.", "Срок гарантии пять лет.\nLamp Titan.", "ok", "a,b\n1,2"]
)
def test_utf16_without_a_mark_is_told_from_utf8(parser: Parser, tmp_path: Path, encoding: str, text: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode(encoding))
    assert parser.load("text", path).text == text


@pytest.mark.parametrize(
    "text", ["Größe\0 ist fünf, gewiss.", "one line of a log\n" * 5 + "\0" * 40 + "möre", "a\0bc\0d"]
)
def test_utf8_with_some_zeros_stays_utf8(parser: Parser, tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    assert parser.load("text", path).text == text


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


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("<tr><th colspan=3>Prices 2026<tr><th>Lamp<th>Price<th>Stock<tr><td>Titan<td>40<td>7<tr><td>Vega<td>30<td>9",
         "Prices 2026\nLamp: Titan; Price: 40; Stock: 7\nLamp: Vega; Price: 30; Stock: 9"),
        ("<tr><th>Lamp<th colspan=2>Price<tr><td>Titan<td>40<td>45", "Lamp: Titan; Price: 40; 45"),
        ("<tr><th>City<th>Lamp<th>Price<tr><td rowspan=2>Brno<td>Titan<td>40<tr><td>Vega<td>30",
         "City: Brno; Lamp: Titan; Price: 40\nCity: Brno; Lamp: Vega; Price: 30"),
        ("<caption>From May</caption><tr><th>Lamp<th>Price<tr><td>Titan<td>40", "From May\nLamp: Titan; Price: 40"),
        ("<tr><th>Lamp<tr><td rowspan=99999999999 colspan=x>Titan<td>40", "Lamp: Titan; 40"),
    ],
)  # fmt: skip
def test_every_cell_of_a_table_is_read_under_its_header(parser: Parser, tmp_path: Path, table: str, text: str) -> None:
    (tmp_path / "a.html").write_text(f"<table>{table}</table>")
    assert load(parser, tmp_path / "a.html").text == text


def test_a_title_above_a_table_and_cells_beyond_its_headers_are_read(parser: Parser, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Price list 2026\nLamp,Price\nTitan,40,sold out\nVega,30\n")
    assert load(parser, tmp_path / "a.csv").text == (
        "Price list 2026\nLamp: Titan; Price: 40; sold out\nLamp: Vega; Price: 30"
    )


def test_a_lone_header_is_no_title(parser: Parser, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Lamp,,\nTitan,40,7\nVega,30,9\n")
    assert load(parser, tmp_path / "a.csv").text == "Lamp: Titan; 40; 7\nLamp: Vega; 30; 9"


def test_an_apostrophe_quotes_nothing(parser: Parser, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,term,meaning\n1,'tis,it is\n2,'twas,it was\n3,'first',1st\n")
    assert load(parser, tmp_path / "a.csv").text.splitlines() == [
        "id: 1; term: 'tis; meaning: it is",
        "id: 2; term: 'twas; meaning: it was",
        "id: 3; term: 'first'; meaning: 1st",
    ]


@pytest.mark.parametrize("empty", ["<title/>", '<script src="x"/>', "<style/>", "<TITLE />"])
def test_an_empty_element_of_xml_swallows_nothing(parser: Parser, tmp_path: Path, empty: str) -> None:
    page = f'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head>{empty}</head><body><p>Read me</p>'
    (tmp_path / "a.xhtml").write_text(f"{page}</body></html>")
    assert load(parser, tmp_path / "a.xhtml").text == "Read me"
    (tmp_path / "a.xml").write_text('<?xml version="1.0"?><para><![CDATA[Plain <b> words]]></para>')
    assert load(parser, tmp_path / "a.xml").text == "Plain <b> words"


def test_html_is_read_as_it_says_it_is_written(parser: Parser, tmp_path: Path) -> None:
    text = "Žluťoučký kůň ošálil šíření"
    for name in ("iso-8859-2", "x-no-such", "utf-16"):
        (tmp_path / "a.html").write_bytes(f'<meta charset="{name}"><p>{text}</p>'.encode("iso-8859-2"))
        assert (text in load(parser, tmp_path / "a.html").text) == (name == "iso-8859-2")


def test_docx_is_read_with_its_changes_accepted_and_its_forms_filled_in(parser: Parser, tmp_path: Path) -> None:
    document = docx.Document()
    said = '<w:r xmlns:w="{w}"><w:t xml:space="preserve">{text}</w:t></w:r>'
    frames = {
        "ins": "<w:ins>{}</w:ins>",
        "sdt": "<w:sdt><w:sdtContent>{}</w:sdtContent></w:sdt>",
        "del": "<w:del>{}</w:del>",
    }
    paragraph = document.add_paragraph("The fee is ")
    w = paragraph._p.nsmap["w"]
    for kind, text in (("del", "40 "), ("ins", "60 "), ("sdt", "crowns")):
        frame = frames[kind].format(said.format(w=w, text=text)).replace(">", f' xmlns:w="{w}">', 1)
        paragraph._p.append(parse_xml(frame))
    block = frames["sdt"].format(f"<w:p>{said.format(w=w, text='A block')}</w:p>").replace(">", f' xmlns:w="{w}">', 1)
    paragraph._p.addnext(parse_xml(block))
    document.save(str(tmp_path / "a.docx"))
    assert load(parser, tmp_path / "a.docx").text == "The fee is 60 crowns\nA block"


def test_what_an_open_document_no_longer_says_is_not_read(parser: Parser, tmp_path: Path) -> None:
    document = odfdo.Document("text")
    document.body.clear()
    changed = "<text:changed-region><text:deletion><text:p>Price is 99</text:p></text:deletion></text:changed-region>"
    note = "<office:annotation><text:p>secret</text:p></office:annotation>"
    for tag in (
        f"<text:tracked-changes>{changed}</text:tracked-changes>",
        f"<text:p>Price is {note}40 crowns.</text:p>",
    ):
        document.body.append(odfdo.Element.from_tag(tag))
    document.save(tmp_path / "a.odt")
    assert load(parser, tmp_path / "a.odt").text == "Price is 40 crowns."


def test_a_blank_text_of_an_email_leaves_the_page(parser: Parser, tmp_path: Path) -> None:
    message = EmailMessage()
    message["Subject"] = "Lamp"
    message.set_content("\n")
    message.add_alternative("<p>It is broken.</p>", subtype="html")
    (tmp_path / "a.eml").write_bytes(message.as_bytes())
    assert "It is broken." in load(parser, tmp_path / "a.eml").text


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


def test_a_row_knows_its_sheet_and_cells(parser: Parser, tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Prices"
    for cell, value in {"C3": "Lamp", "AB3": "Price", "C4": "Titan", "AB4": 40, "C6": "Mouse"}.items():
        sheet[cell] = value
    book.save(tmp_path / "a.xlsx")
    loaded = load(parser, tmp_path / "a.xlsx")
    assert loaded.text.split("\n") == ["Lamp: Titan; Price: 40", "Lamp: Mouse"]
    assert loaded.places == ((0, "Prices!C4:AB4"), (23, "Prices!C6:AB6"))


def test_slides_are_pages_read_from_the_top_with_tables_and_notes(parser: Parser, tmp_path: Path) -> None:
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[5])
    slide.shapes.title.text = "Prices"
    low = slide.shapes.add_textbox(0, 5_000_000, 100, 100)
    low.text_frame.text = "All in crowns."
    cells = slide.shapes.add_table(2, 2, 0, 3_000_000, 100, 100).table
    for place, text in {(0, 0): "Lamp", (0, 1): "Price", (1, 0): "Titan", (1, 1): "40"}.items():
        cells.cell(*place).text = text
    slide.notes_slide.notes_text_frame.text = "Say it slowly."
    presentation.slides.add_slide(presentation.slide_layouts[6])
    presentation.save(str(tmp_path / "a.pptx"))
    loaded = load(parser, tmp_path / "a.pptx")
    assert loaded.text.split("\n") == ["Prices", "Lamp: Titan; Price: 40", "All in crowns.", "Notes: Say it slowly."]
    assert (loaded.pages, [name for _, name in loaded.sections]) == ((0, len(loaded.text) + 1), ["Prices", "Slide 2"])


def test_open_document_text_keeps_headings_and_tables(parser: Parser, tmp_path: Path) -> None:
    document = odfdo.Document("text")
    document.body.clear()
    document.body.append(odfdo.Header(1, "Prices"))
    document.body.append(odfdo.Paragraph("All in crowns."))
    cells = odfdo.Table("T", width=2, height=2)
    for row, values in enumerate([["Lamp", "Price"], ["Titan", "40"]]):
        cells.set_row_values(row, values)
    document.body.append(cells)
    document.save(tmp_path / "a.odt")
    loaded = load(parser, tmp_path / "a.odt")
    assert loaded.text.split("\n") == ["Prices", "All in crowns.", "Lamp: Titan; Price: 40"]
    assert loaded.sections == ((0, "Prices"),)


def test_rich_text_is_its_words(parser: Parser, tmp_path: Path) -> None:
    path = tmp_path / "a.rtf"
    path.write_text(r"{\rtf1\ansi\ansicpg1252 Der {\b Preis} f\'fcr gro\u223?e Lampen\par steigt.}")
    assert load(parser, path).text == "Der Preis für große Lampen\nsteigt."
    path.write_text("just text")
    with pytest.raises(DataError, match="not a readable RTF"):
        load(parser, path)


def test_underlined_lines_are_headings(parser: Parser, tmp_path: Path) -> None:
    path = tmp_path / "a.rst"
    path.write_text("=====\nLamps\n=====\n\nTitan\n-----\nbig\n\nMouse\n-----\nsmall\n")
    loaded = load(parser, path)
    assert loaded.text == path.read_text()
    assert loaded.sections == ((0, "Lamps"), (19, "Lamps > Titan"), (36, "Lamps > Mouse"))


def test_json_records_are_lines_with_the_paths_of_their_keys(parser: Parser, tmp_path: Path) -> None:
    rows = [{"lamp": {"name": "Titan", "tags": ["big", "oil"]}, "price": 40}, {"lamp": {"name": "Mouse"}, "new": True}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "a.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    wanted = ["lamp.name: Titan; lamp.tags: big, oil; price: 40", "lamp.name: Mouse; new: true"]
    for suffix, places in {"json": ("record 1", "record 2"), "jsonl": ("line 1", "line 3")}.items():
        loaded = load(parser, tmp_path / f"a.{suffix}")
        assert loaded.text.split("\n") == wanted
        assert tuple(place for _, place in loaded.places) == places
    (tmp_path / "a.json").write_text(json.dumps({"shop": {"open": "9 to 5"}}))
    assert load(parser, tmp_path / "a.json").text == "shop.open: 9 to 5"
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": ')
    with pytest.raises(DataError, match="line 2: not JSON"):
        load(parser, tmp_path / "a.jsonl")


def test_an_email_is_its_headers_and_text_and_names_its_attachments(parser: Parser, tmp_path: Path) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Ada <ada@example.org>", "bo@example.org", "Größere Lampen"
    message.set_content("They cost 40 crowns.")
    message.add_alternative("<p>They cost <b>40</b> crowns.</p>", subtype="html")
    message.add_attachment(b"x", maintype="application", subtype="pdf", filename="prices.pdf")
    (tmp_path / "a.eml").write_bytes(message.as_bytes())
    loaded = load(parser, tmp_path / "a.eml")
    wanted = ["From: Ada <ada@example.org>", "To: bo@example.org", "Subject: Größere Lampen", "They cost 40 crowns."]
    assert loaded.text.split("\n") == wanted
    assert (loaded.title, loaded.unread) == ("Größere Lampen", ("the attachment prices.pdf",))


def test_a_book_is_read_in_the_order_of_its_spine(parser: Parser, tmp_path: Path) -> None:
    path = tmp_path / "a.epub"
    with zipfile.ZipFile(path, "w") as book:
        book.writestr(
            "META-INF/container.xml",
            '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="O/b.opf"/></rootfiles></container>',
        )
        book.writestr(
            "O/b.opf",
            '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
            '<dc:title>Lamps</dc:title></metadata><manifest><item id="1" href="a%20one.xhtml"/><item id="2" '
            'href="two.xhtml"/><item id="3" href="gone.xhtml"/></manifest>'
            '<spine><itemref idref="2"/><itemref idref="1"/><itemref idref="3"/></spine></package>',
        )
        book.writestr("O/a one.xhtml", "<html><body><h1>One</h1><p>oil</p></body></html>")
        book.writestr("O/two.xhtml", "<html><body><h1>Two</h1><p>wick</p></body></html>")
    loaded = load(parser, path)
    assert (loaded.title, loaded.text.split("\n")) == ("Lamps", ["Two", "wick", "One", "oil"])
    assert loaded.unread == ("the chapter gone.xhtml, which is not in the file",)


def test_a_quote_in_quotes_late_in_a_csv_tears_no_row(parser: Parser, tmp_path: Path) -> None:
    rows = [f'lamp{n},"a plain, quoted note number {n}",{n}' for n in range(150)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["name,note,price", *rows, 'Titan,"He said ""hi"", then left",99']))
    text = parser.load("csv", path).text
    assert text.splitlines()[-1] == 'name: Titan; note: He said "hi", then left; price: 99'


def test_a_cell_of_a_csv_may_be_long(parser: Parser, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"name,body\nTitan,{'word ' * 30_000}\n")
    assert parser.load("csv", path).text.count("word") == 30_000


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


def plugged(name: str, body: str) -> Path:
    """A loader dropped in where the child looks."""
    import bakeoff.corpus.loaders

    path = Path(bakeoff.corpus.loaders.__file__).parent / f"{name}.py"
    path.write_text(f"VERSION = 1\nSUFFIXES = ()\ndef load(path):\n    {body}\n")
    return path


def test_a_file_may_take_so_much_processor_time_and_the_next_one_as_much_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("text")
    busy = "import time\n    while True: 1"
    loader = plugged("zz_busy", busy)
    try:
        with Parser(cpu_seconds=1) as parser:
            for _ in range(2):
                with pytest.raises(DataError, match="took more than 1 s of processor time"):
                    parser.load("zz_busy", path)
                assert parser.load("text", path).text == "text"
    finally:
        loader.unlink()


@pytest.mark.skipif(not Path("/proc/self/ns/net").exists(), reason="Linux only")
def test_a_parser_reaches_no_network(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        loader = plugged(
            "zz_call",
            f"import socket; socket.create_connection(('127.0.0.1', {port}), 2); raise ValueError('reached')",
        )
        try:
            with Parser() as parser, pytest.raises(DataError, match=r"cannot be read \(\w*Error"):
                parser.load("zz_call", tmp_path)
        finally:
            loader.unlink()


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


def billion_laughs(tag: str) -> str:
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    return f'<?xml version="1.0"?><!DOCTYPE {tag} [<!ENTITY a0 "lol">{entities}]><{tag}>&a9;</{tag}>'


def zipped(path: Path, **members: str | bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/").replace("_DOT_", "."), data)


def pdf_of(stream: bytes) -> bytes:
    """A page whose content is `stream`, compressed."""
    packed = zlib.compress(stream, 9)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</Font<</F<</Type/Font/Subtype/Type1"
        b"/BaseFont/Helvetica>>>>>>>>",
        b"<</Filter/FlateDecode/Length %d>>stream\n%s\nendstream" % (len(packed), packed),
    ]
    body = b"".join(b"%d 0 obj%s endobj\n" % (number, text) for number, text in enumerate(objects, start=1))
    return b"%PDF-1.4\n" + body + b"trailer<</Root 1 0 R>>"


def bomb(kind: str, folder: Path) -> Path:
    path = folder / {"entities": "a.epub", "sheet": "a.xlsx", "operators": "a.pdf", "text": "b.pdf"}.get(kind, kind)
    if kind == "entities":
        zipped(path, **{"META-INF__container_DOT_xml": billion_laughs("container")})
    elif kind == "sheet":
        book = openpyxl.Workbook()
        assert book.active is not None
        book.active["A1"], book.active["XFD1048576"] = "first", "last"
        book.save(path)
    elif kind == "operators":
        path.write_bytes(pdf_of(b"q 1 0 0 1 0 0 cm " * 6_000_000))
    elif kind == "text":
        path.write_bytes(pdf_of(b"BT /F 1 Tf " + b"(lamp) Tj " * 4_000_000 + b"ET"))
    elif kind == "deep.json":
        path.write_text("[" * 1_000_000)
    elif kind == "wide.csv":
        path.write_text("a," * 5_000_000)
    elif kind == "entries.docx":
        zipped(path, **{f"m{n}": b"" for n in range(11_000)})
    elif kind == "groups.rtf":
        path.write_text("{\\rtf1" + "{\\b " * 300_000)
    elif kind == "parts.eml":
        path.write_text("".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(20_000)))
    elif kind == "nested.html":
        path.write_text("<table><tr><td>" * 20_000)
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "entities",
        "sheet",
        "operators",
        "text",
        "deep.json",
        "wide.csv",
        "entries.docx",
        "groups.rtf",
        "parts.eml",
        "nested.html",
    ],
)
def test_a_bomb_gives_text_or_a_reason_and_costs_the_parent_nothing(kind: str, tmp_path: Path) -> None:
    path, plain = bomb(kind, tmp_path), tmp_path / "plain.txt"
    plain.write_text("plain")
    before = memory()
    with Parser() as parser:
        try:
            load(parser, path)
        except DataError as error:
            assert str(error) and "\n" not in str(error)
        assert load(parser, plain).text == "plain"
    assert memory() - before < 300


def memory() -> float:
    """MiB of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x7fELF\x02\x01\x01" + bytes(200), "a program (ELF)"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "a picture (PNG)"),
        (bytes(range(256)) * 20, "control characters"),
        (b"SQLite format 3\x00" + bytes(100), "a database"),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.csv"])
def test_what_is_no_text_is_refused_whatever_its_name(content: bytes, says: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=re.escape(says)):
        plain.read(tmp_path / name)
