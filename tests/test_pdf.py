from __future__ import annotations

import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pypdfium2
import pytest

from bakeoff.corpus.loaders import Loaded, pdf
from bakeoff.corpus.loaders.pdf import scans
from bakeoff.corpus.parsing import Parser
from bakeoff.errors import DataError

FONTS = ("Helvetica", "Helvetica-Bold")


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    with Parser() as running:
        yield running


# ---------------------------------------------------------------- PDF files by hand


def written(path: Path, *pages: bytes, page: str = "/MediaBox[0 0 600 800]") -> Path:
    """A file whose pages are drawn by these operators; `/F0` is regular, `/F1` bold."""
    fonts = "".join(f"/F{n}<</Type/Font/Subtype/Type1/BaseFont/{name}>>" for n, name in enumerate(FONTS))
    kids = " ".join(f"{3 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>".encode()]
    for number, stream in enumerate(pages):
        objects.append(
            f"<</Type/Page/Parent 2 0 R{page}/Contents {4 + 2 * number} 0 R/Resources<</Font<<{fonts}>>>>>>".encode()
        )
        objects.append(b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream))
    body = b"".join(b"%d 0 obj%s endobj\n" % (number, text) for number, text in enumerate(objects, start=1))
    path.write_bytes(b"%PDF-1.4\n" + body + b"trailer<</Root 1 0 R>>")
    return path


def words(x: float, y: float, text: str, font: int = 0) -> bytes:
    return f"BT /F{font} 10 Tf 1 0 0 1 {x} {y} Tm ({text}) Tj ET\n".encode()


def line(x0: float, y0: float, x1: float, y1: float) -> bytes:
    return f"{x0} {y0} m {x1} {y1} l S\n".encode()


def ruled(xs: Sequence[float], ys: Sequence[float]) -> bytes:
    across = b"".join(line(xs[0], y, xs[-1], y) for y in ys)
    return across + b"".join(line(x, ys[0], x, ys[-1]) for x in xs)


def filled(rows: Sequence[Sequence[str]], xs: Sequence[float], top: float, bold: int = 1, height: float = 20) -> bytes:
    """Cells of rows of this height, a line of text a cell, the first `bold` rows in bold letters."""
    return b"".join(
        words(x + 4, top - height * (number + 1) + 6, text, int(number < bold))
        for number, cells in enumerate(rows)
        for x, text in zip(xs, cells, strict=False)
        if text
    )


def table(rows: Sequence[Sequence[str]], xs: Sequence[float], top: float, bold: int = 1) -> bytes:
    ys = [top - 20 * number for number in range(len(rows) + 1)]
    return ruled(xs, ys) + filled(rows, xs, top, bold)


LAMPS = [["Lamp", "Price", "Weight"], ["Titan", "40 crowns", "3 kg"], ["Mouse", "", "1 kg"]]
XS = (50, 150, 250, 350)


# ---------------------------------------------------------------- tables


def test_a_row_of_a_ruled_table_is_one_line_with_its_headers_in_place(parser: Parser, tmp_path: Path) -> None:
    page = words(50, 750, "Our lamps.") + table(LAMPS, XS, 700) + words(50, 600, "All in stock.")
    loaded = parser.load("pdf", written(tmp_path / "a.pdf", page))
    assert loaded.text.split("\n") == [
        "Our lamps.",
        "Lamp: Titan; Price: 40 crowns; Weight: 3 kg",
        "Lamp: Mouse; Weight: 1 kg",
        "All in stock.",
    ]


def test_a_table_goes_on_overleaf_with_its_headers_and_pages_stay_right(parser: Parser, tmp_path: Path) -> None:
    first = words(50, 780, "Lamp prices") + table(LAMPS, XS, 100) + words(300, 10, "1")
    second = words(50, 780, "Lamp prices") + table([["Flora", "9 crowns", "2 kg"]], XS, 760, bold=0)
    second += words(300, 10, "2")
    third = words(50, 700, "After the table.")
    loaded = parser.load("pdf", written(tmp_path / "a.pdf", first, second, third))
    pages = [loaded.text[start:end].strip() for start, end in zip(loaded.pages, [*loaded.pages[1:], None], strict=True)]
    assert pages[1].split("\n") == ["Lamp prices", "Lamp: Flora; Price: 9 crowns; Weight: 2 kg", "2"]
    assert pages[2] == "After the table."


def test_another_table_after_text_does_not_take_the_headers_of_the_one_before(parser: Parser, tmp_path: Path) -> None:
    between = b"".join(
        words(50, 700 - 12 * n, "Nothing here speaks of lamps, for this is about the wicks.") for n in range(8)
    )
    other = [["Oslo", "north", "cold"], ["Rome", "south", "warm"]]
    pages = table(LAMPS, XS, 780) + between, table(other, XS, 760, bold=0)
    loaded = parser.load("pdf", written(tmp_path / "a.pdf", *pages))
    assert loaded.text.split("\n")[-2:] == ["Oslo; north; cold", "Rome; south; warm"]


def test_headers_may_take_two_rows_and_a_cell_may_span_others(parser: Parser, tmp_path: Path) -> None:
    xs, top = (50, 150, 250, 350), 700
    rows = [["Lamp", "Crowns", ""], ["", "2025", "2026"], ["Titan", "38", "40"], ["", "39", "41"]]
    lines = b"".join(line(x, top, x, top - 80) for x in (50, 150, 350)) + line(250, top - 20, 250, top - 80)
    lines += line(50, top, 350, top) + line(150, top - 20, 350, top - 20) + line(50, top - 40, 350, top - 40)
    lines += line(150, top - 60, 350, top - 60) + line(50, top - 80, 350, top - 80)
    loaded = parser.load("pdf", written(tmp_path / "a.pdf", lines + filled(rows, xs, top, bold=2)))
    assert loaded.text.split("\n") == [
        "Lamp: Titan; Crowns 2025: 38; Crowns 2026: 40",
        "Lamp: Titan; Crowns 2025: 39; Crowns 2026: 41",
    ]


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        (
            [["Make:", "Piper", "Seats:", "4"], ["Year:", "", "Engine:", "Lycoming"]],
            ["Make: Piper; Seats: 4", "Year:; Engine: Lycoming"],
        ),
        ([["Sponsor", "Oil Guild"], ["Sites", "six"]], ["Sponsor: Oil Guild", "Sites: six"]),
        (
            [["Month", "Lamps", "Wicks"], ["May", "12", "40"], ["June", "9", "31"]],
            ["Month: May; Lamps: 12; Wicks: 40", "Month: June; Lamps: 9; Wicks: 31"],
        ),
        ([["", "May", "June"], ["Visit", "x", ""], ["Call", "", "x"]], ["Visit; May: x", "Call; June: x"]),
        ([["a", "b", "c"], ["d", "e", "f"]], ["a; b; c", "d; e; f"]),
    ],
)
def test_headers_in_plain_letters_are_guessed_only_where_it_is_safe(
    parser: Parser, tmp_path: Path, rows: list[list[str]], wanted: list[str]
) -> None:
    page = table(rows, [50 + 90 * n for n in range(len(rows[0]) + 1)], 700, bold=0)
    assert parser.load("pdf", written(tmp_path / "a.pdf", page)).text.split("\n") == wanted


def test_a_header_without_values_is_not_lost(parser: Parser, tmp_path: Path) -> None:
    page = table([["Lamp", "Price", "Signature"], ["Titan", "40", ""]], XS, 700)
    text = parser.load("pdf", written(tmp_path / "a.pdf", page)).text
    assert text.split("\n") == ["Lamp; Price; Signature", "Lamp: Titan; Price: 40"]


def test_coloured_rows_make_a_table_too(parser: Parser, tmp_path: Path) -> None:
    boxes = b"0.8 g " + b"".join(b"%d %d 99 19 re f " % (x, 700 - 20 * n) for x in XS[:3] for n in (1, 2, 3)) + b"0 g "
    loaded = parser.load("pdf", written(tmp_path / "a.pdf", boxes + filled(LAMPS, XS, 700)))
    assert loaded.text.split("\n")[0] == "Lamp: Titan; Price: 40 crowns; Weight: 3 kg"


def test_a_table_on_a_page_that_lies_on_its_side(parser: Parser, tmp_path: Path) -> None:
    page = b"q 0 1 -1 0 600 0 cm\n" + table(LAMPS, XS, 500) + b"Q"
    path = written(tmp_path / "a.pdf", page, page="/MediaBox[0 0 600 800]/Rotate 90")
    assert parser.load("pdf", path).text.split("\n")[0] == "Lamp: Titan; Price: 40 crowns; Weight: 3 kg"


def test_rows_without_lines_between_them_stay_rows_and_empty_cells_empty(parser: Parser, tmp_path: Path) -> None:
    rows = [["Titan", "40", "3"], ["Mouse", "", "1"], ["", "7", ""], ["Flora", "9", "2"]]
    page = ruled(XS, (700, 680, 600)) + filled(LAMPS[:1], XS, 700) + filled(rows, XS, 680, bold=0)
    assert parser.load("pdf", written(tmp_path / "a.pdf", page)).text.split("\n") == [
        "Lamp: Titan; Price: 40; Weight: 3",
        "Lamp: Mouse; Weight: 1",
        "Price: 7",
        "Lamp: Flora; Price: 9; Weight: 2",
    ]


@pytest.mark.parametrize("ys", [(700, 680, 640), (680, 660, 640, 620)])
def test_columns_without_lines_are_found_by_the_room_between_them(
    parser: Parser, tmp_path: Path, ys: Sequence[float]
) -> None:
    rows = [*LAMPS, ["Flora", "9 crowns", "2 kg"]] if len(ys) > 3 else LAMPS  # or the outer lines are left out
    page = words(50, 750, "Our lamps are listed with their prices and their weights.") + filled(rows, XS, 700)
    page += b"".join(line(50, y, 350, y) for y in ys) + words(50, 560, "All of them are in stock, as every year.")
    lines = parser.load("pdf", written(tmp_path / "a.pdf", page)).text.split("\n")
    assert lines[1:3] == ["Lamp: Titan; Price: 40 crowns; Weight: 3 kg", "Lamp: Mouse; Weight: 1 kg"]
    assert len(lines) == len(rows) + 1


def test_a_header_over_two_columns_without_lines_is_of_both(parser: Parser, tmp_path: Path) -> None:
    rows = [["Lamp", "2025", "2026"], ["Titan", "38", "40"], ["Mouse", "4", "5"], ["Flora", "8", "9"]]
    page = words(190, 706, "Crowns for each lamp", 1) + filled(rows, (50, 180, 260), 700)
    page += b"".join(line(50, y, 350, y) for y in (720, 700, 680, 660, 640, 620))
    text = parser.load("pdf", written(tmp_path / "a.pdf", page)).text
    assert "Lamp: Mouse; Crowns for each lamp 2025: 4; Crowns for each lamp 2026: 5" in text


def test_text_that_runs_across_a_tall_cell_line_by_line_is_left_so(parser: Parser, tmp_path: Path) -> None:
    page = ruled((50, 150, 250), (700, 660)) + line(150, 680, 250, 680) + line(50, 640, 250, 640)
    page += line(50, 660, 50, 640) + line(250, 660, 250, 640) + line(150, 660, 150, 640)
    page += filled([["Parts", "2,100"], ["Labour", "300"], ["Total", "2,400"]], (50, 150), 700, bold=0)
    page += words(50, 600, "This is a preliminary estimate for the visible damage.")
    text = parser.load("pdf", written(tmp_path / "a.pdf", page)).text
    assert text.split("\n")[:3] == ["Parts 2,100", "Labour 300", "Total 2,400"]


def test_a_word_that_reaches_over_a_line_stays_whole(parser: Parser, tmp_path: Path) -> None:
    page = table(
        [["Lamp", "Price", "Note"], ["Oversized lantern", "", "new"], ["Titan", "40", ""]], (50, 110, 200, 300), 700
    )
    assert "Lamp: Oversized lantern; Note: new" in parser.load("pdf", written(tmp_path / "a.pdf", page)).text


@pytest.mark.parametrize(
    "lines",
    [
        b"".join(line(40, y, 560, y) for y in (790, 600, 520, 60)),  # rules across the page
        line(50, 745, 300, 745) + line(50, 700, 550, 700) + line(50, 100, 550, 100),  # underlined
        ruled((40, 560), (60, 790)),  # a frame
        ruled((40, 300, 560), (60, 600, 790)),  # columns in frames
        b"".join(line(50 + 10 * n, 100, 50 + 10 * n, 300) for n in range(30)) + line(50, 100, 340, 100),  # a chart
    ],
)
def test_lines_that_make_no_table_leave_the_page_as_it_is(parser: Parser, tmp_path: Path, lines: bytes) -> None:
    columns = b"".join(
        words(x, 740 - 14 * n, f"Line {n} of the {name} column goes on.")
        for x, name in ((50, "left"), (310, "right"))
        for n in range(20)
    )
    plain = parser.load("pdf", written(tmp_path / "a.pdf", columns))
    assert parser.load("pdf", written(tmp_path / "b.pdf", columns + lines)) == plain
    assert plain.text.index("Line 19 of the left") < plain.text.index("Line 0 of the right")


def test_columns_are_read_one_after_the_other_around_a_table(parser: Parser, tmp_path: Path) -> None:
    left = words(50, 750, "Left above.") + table([["Lamp", "Price"], ["Titan", "40"]], (50, 120, 190), 700)
    page = left + words(50, 600, "Left below.") + words(310, 750, "Right above.") + words(310, 600, "Right below.")
    text = parser.load("pdf", written(tmp_path / "a.pdf", page)).text
    assert text.split("\n") == ["Left above.", "Lamp: Titan; Price: 40", "Left below.", "Right above.", "Right below."]


@pytest.mark.parametrize("lines", [900, 9_000, 30_000])
def test_thousands_of_lines_on_every_page_cost_little(parser: Parser, tmp_path: Path, lines: int) -> None:
    drawn = b"".join(line(n * 600 / lines, 0, n * 600 / lines, 800) for n in range(lines))
    drawn += b"".join(line(0, n * 800 / lines, 600, n * 800 / lines) for n in range(lines))
    path = written(tmp_path / "a.pdf", *[words(50, 700, "Still read.") + drawn] * 3)
    start = time.process_time()
    assert pdf.load(path).text.count("Still read.") == 3
    assert time.process_time() - start < 3
    assert parser.load("pdf", path).text.count("Still read.") == 3


# ---------------------------------------------------------------- scanned pages


def scan(path: Path, *pages: bytes, dpi: int = 200, turned: int = 0, box: str = "/MediaBox[0 0 600 800]") -> Path:
    """A file of pictures of these pages."""
    with pypdfium2.PdfDocument(written(path, *pages, page=box)) as source, pypdfium2.PdfDocument.new() as copy:
        for page in source:
            bitmap = page.render(scale=dpi / 72, rotation=turned)
            image = pypdfium2.PdfImage.new(copy)
            image.set_bitmap(bitmap)
            width, height = bitmap.width * 72 / dpi, bitmap.height * 72 / dpi
            image.set_matrix(pypdfium2.PdfMatrix().scale(width, height))
            sheet = copy.new_page(width, height)
            sheet.insert_obj(image)
            sheet.gen_content()
        copy.save(path)
    return path


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> Path:
    """A `tesseract` on the path, in Python, that notes how it was called in `calls`."""
    path = folder / "bin" / "tesseract"
    path.parent.mkdir()
    path.write_text(
        f"#!{sys.executable} -I\nimport os, sys, time\n"
        f"open({str(folder / 'calls')!r}, 'a').write(f\"{{os.getpid()}} {{' '.join(sys.argv[1:])}}\\n\")\n"
        "if '--list-langs' in sys.argv:\n    sys.exit(print('List of available languages (3):\\ndeu\\neng\\nosd'))\n"
        "picture = sys.stdin.buffer.read()\n" + body
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
    scans._languages.cache_clear()
    return folder / "calls"


SAYS = """
assert picture.startswith(b"P5 ")
print("level\\tpage_num\\tblock_num\\tpar_num\\tline_num\\tword_num\\tleft\\ttop\\twidth\\theight\\tconf\\ttext")
print("1\\t1\\t0\\t0\\t0\\t0\\t0\\t0\\t9\\t9\\t-1\\t")
for line, text in enumerate(("Oil the", 'the "wick" weekly.')):
    for number, word in enumerate(text.split()):
        print(f"5\\t1\\t1\\t1\\t{line}\\t{number}\\t0\\t0\\t9\\t9\\t91.5\\t{word}")
"""


def read(path: Path) -> Loaded:
    """By a parser of its own, which sees today's path."""
    with Parser() as parser:
        return parser.load("pdf", path)


def mixed(folder: Path) -> Path:
    """A page of text, a scan, an empty page."""
    scan(folder / "scan.pdf", words(50, 700, "Oil the wick."))
    with pypdfium2.PdfDocument(written(folder / "a.pdf", words(50, 700, "Typed."))) as document:
        with pypdfium2.PdfDocument(folder / "scan.pdf") as scanned:
            document.import_pages(scanned)
        document.new_page(600, 800)
        document.save(folder / "mixed.pdf")
    return folder / "mixed.pdf"


def test_a_scanned_page_is_recognised_in_place_and_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = program(tmp_path, monkeypatch, SAYS)
    loaded = read(mixed(tmp_path))
    assert loaded.text.split() == ["Typed.", "Oil", "the", "the", '"wick"', "weekly."]
    assert [(place, loaded.text[start:][:3]) for start, place in loaded.places] == [
        ("page 1", "Typ"),
        ("page 2, recognised", "Oil"),
        ("page 3", ""),
    ]
    assert loaded.unread == ()
    assert "-l deu+eng" in calls.read_text() and "--psm 1" in calls.read_text()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("sys.exit('no such language')", "page 2: not recognised, for tesseract failed (no such language)"),
        ("print('level\\ttext')", "page 2: no text, and none that tesseract recognises"),
        ("while True: pass", "page 2: not recognised, for it takes tesseract too long"),
    ],
)
def test_a_page_that_is_not_recognised_is_told_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, reason: str
) -> None:
    program(tmp_path, monkeypatch, body)
    with Parser(cpu_seconds=1) as parser:
        loaded = parser.load("pdf", mixed(tmp_path))
    assert (loaded.text.strip(), loaded.unread, loaded.places) == ("Typed.", (reason,), ())


def test_pages_over_the_time_of_a_file_are_told_with_a_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, SAYS)
    monkeypatch.setattr(scans, "FILE_SECONDS", -60.0)
    path = scan(tmp_path / "a.pdf", *[words(50, 700, "Oil the wick.")] * 4)
    assert pdf.load(path).unread == ("page 1-4: not recognised, for a file gets -1 minutes; split it",)


def test_without_tesseract_or_with_it_off_a_scan_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = mixed(tmp_path)
    program(tmp_path, monkeypatch, SAYS)
    monkeypatch.setenv("BAKEOFF_OCR", "off")
    assert read(path).unread == ("page 2: no text; if it is a scan, unset BAKEOFF_OCR and ingest again",)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read(path).unread == ("page 2: no text; if it is a scan, install the program tesseract and ingest again",)


def test_languages_can_be_chosen_and_scans_are_read_again_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = program(tmp_path, monkeypatch, SAYS)
    before = scans.setting()
    monkeypatch.setenv("BAKEOFF_OCR", "ces")
    assert scans.setting() not in ("", before)
    read(mixed(tmp_path))
    assert "-l ces" in calls.read_text()


def test_what_a_stopped_parser_had_started_is_stopped_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = program(tmp_path, monkeypatch, "time.sleep(60)")
    with Parser() as parser, pytest.raises(DataError, match="took more than 3 s"):
        parser.load("pdf", mixed(tmp_path), 3.0)
    time.sleep(0.2)
    for call in calls.read_text().splitlines():
        assert (
            not Path(f"/proc/{call.split()[0]}/status").exists()
            or "zombie" in Path(f"/proc/{call.split()[0]}/status").read_text()
        )


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="the program tesseract is not installed")
@pytest.mark.parametrize("turned", [0, 90])
def test_tesseract_reads_a_scan(tmp_path: Path, turned: int) -> None:
    lines = [
        "Oil the wick of every lamp once a week, and trim it when it smokes.",
        "The warranty on the Titan lantern lasts for seven years from the day of purchase.",
        "Spare chimneys are sold in boxes of twelve; the smallest costs four crowns.",
    ] * 3
    page = b"".join(words(50, 270 - 24 * n, text) for n, text in enumerate(lines))
    scans._languages.cache_clear()
    loaded = read(scan(tmp_path / "a.pdf", page, box="/MediaBox[0 0 480 300]", turned=turned))
    assert "The warranty on the Titan lantern lasts for seven years" in loaded.text
    assert loaded.places == ((0, "page 1, recognised"),)
