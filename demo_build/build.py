"""Build the binary files of the demo data (PDF, DOCX, XLSX and SQLite).

The Markdown, text, HTML and CSV files of the demo are written by hand and are not touched. Run from
the root of the checkout, in any virtual environment that has the three libraries:

    pip install -r requirements.txt    # fpdf2>=2.8,<3  python-docx>=1.2,<2  openpyxl>=3.1.5,<4
    python demo_build/build.py         # writes into src/bakeoff/demo/
    python demo_build/check.py         # needs pypdfium2>=5,<6 as well

requirements.txt is that one line of three packages; it is not kept as a file. All dates inside the files
are fixed, and the files inside DOCX and XLSX archives are stamped alike, so a rebuild gives the same text.
"""

from __future__ import annotations

import sqlite3
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from docx import Document
from fpdf import FPDF
from openpyxl import Workbook

DEMO = Path(__file__).resolve().parent.parent / "src" / "bakeoff" / "demo"
DOCUMENTS = DEMO / "documents"
CREATED = datetime(2025, 1, 15, 9, 0, tzinfo=UTC)
ZIP_DATE = (2025, 1, 15, 9, 0, 0)

# A block is ("h1" | "h2" | "p", text), ("page", "") for a new page, or ("table", rows).
Block: TypeAlias = tuple[str, str] | tuple[str, list[list[str]]]

CATALOGUE: list[Block] = [
    ("h1", "Catalogue of house and storm lamps"),
    ("p", "Vessary Lampworks prints this catalogue every second spring. Prices are on a separate list."),
    ("h2", "Corrie storm lantern"),
    (
        "p",
        "The Corrie is made for bad weather. It stays alight in wind of up to 110 kilometres an hour. The "
        "body is galvanised steel, and the wire guard folds flat. It weighs 1.1 kilograms and burns for 20 "
        "hours on one filling. Its code is CR-22.",
    ),
    (
        "p",
        "The Corrie may be hung by its hook or carried by its bail. The hook has a lock, which is closed by "
        "pushing and not by turning. If the lantern falls over, a steel ball rolls into the air pipe and "
        "puts the flame out in 2 seconds. The Corrie is sold without oil. Its first buyers were shepherds, "
        "and the standard paint is still called sheep white.",
    ),
    ("page", ""),
    ("h2", "Pell reading lamp"),
    (
        "p",
        "The Pell stands 34 centimetres high on a base of solid walnut. Its shade is green linen and can be "
        "washed by hand. The Pell burns for 11 hours. Its code is PL-45. The key that raises the wick is on "
        "the left, so that the right hand may go on holding the book.",
    ),
    ("h2", "Sill wall lamp"),
    (
        "p",
        "The Sill is fixed to the wall with two screws of 70 millimetres. Behind the flame is a mirror of "
        "polished tin, which doubles the light. It must hang at least 55 centimetres below the ceiling. The "
        "Sill holds 300 millilitres of oil. Its code is SL-18. The wall behind it should be stone, brick or "
        "tile. A drip tray is included.",
    ),
    ("page", ""),
    ("h2", "Accessories"),
    (
        "p",
        "The Long Tom is the shortest of our three chimney brushes and measures 11 centimetres. It was named "
        "after a very small apprentice. The middle brush is the Reed and the longest is the Stub. All three "
        "have bristles of badger hair, taken from old shaving brushes.",
    ),
    (
        "p",
        "The Feather is a travelling case for one lamp. It is made of ash wood and weighs 4.2 kilograms "
        "empty. The Snip is a pair of curved wick scissors that catches the ash. The Snip can be sharpened "
        "by our shop at no cost. The Thimble is a measuring cup of 50 millilitres with a lip that does not "
        "drip.",
    ),
    ("h2", "How to order"),
    (
        "p",
        "Orders by post are written on the yellow form. A lamp can be engraved with up to 24 letters. "
        "Engraving adds 6 days to the order. Only the Corrie, the Pell and the Sill can be engraved, since "
        "the others are too thin or too thick.",
    ),
]

WICK_CARE: list[Block] = [
    ("h1", "The care of wicks and chimneys"),
    ("p", "This sheet is for every owner of a Vessary lamp. A good wick is quiet, white and dull."),
    ("h2", "A new wick"),
    (
        "p",
        "Soak a new wick in oil for 25 minutes before you light it for the first time. Press it flat with "
        "the back of a spoon. Do not wash it in soap. Before its first soaking a wick may be kept for as "
        "long as you like.",
    ),
    ("h2", "Trimming"),
    (
        "p",
        "Trim the wick after every 12 hours of burning. Leave 3 millimetres of wick above the holder. Cut "
        "the corners off a flat wick, so that the flame has round shoulders. Trim in daylight, never by the "
        "light of another lamp. A wick is worn out after 90 hours.",
    ),
    ("h2", "Cleaning"),
    (
        "p",
        "A wick that has gone stiff is boiled in vinegar for 4 minutes. Let it dry for 2 days before you use "
        "it again. Chimneys are cleaned with cold black tea and a linen cloth. Never use sand. Lime marks "
        "come off with half a potato.",
    ),
    ("h2", "Turning up the flame"),
    (
        "p",
        "Keep the flame low for the first 8 minutes, so that the chimney warms slowly. A healthy flame is as "
        "wide as the wick and twice as tall. A lamp should never be carried with the flame turned up.",
    ),
]

HISTORY: list[Block] = [
    ("h1", "A short history of the Lampworks"),
    ("h2", "Bees and smoke"),
    (
        "p",
        "Vessary Lampworks was founded in 1911 by Ketta Oswin, who was a beekeeper. Its first product was "
        "not a lamp but a smoker for calming bees. The first lamp followed in 1914, when a customer turned "
        "a smoker upside down and put a wick in it. A bee is still the mark on every burner.",
    ),
    ("h2", "The fire and the Rope Hall"),
    (
        "p",
        "In 1926 the first workshop burned down; the fire lasted 3 days and was seen from the mainland. For "
        "five years the lamps were made on a moored hay barge. In 1931 the company moved into the Rope Hall, "
        "which a bankrupt rope maker sold for 900 crowns and a goat.",
    ),
    ("h2", "Growing up"),
    (
        "p",
        "In 1963 the island council offered the works electric power. The staff voted against it by 71 "
        "votes to 8, and the machines are driven by a stream to this day; a small dynamo feeds the "
        "telephones and the computers. The millionth lamp was made in 1969 and was given to the ferry pilot "
        "Hob Lantry. The flood of 1996 ruined 4,300 finished lamps.",
    ),
    ("h2", "In the hands of the staff"),
    (
        "p",
        "The staff bought the company in 1978 for 310,000 crowns. Each member of staff holds exactly one "
        "share, and it is handed back on leaving. The museum opened in 2004. Its oldest piece is a smoker "
        "with a dent from the founder's boot. The company has never made a candle and has promised in "
        "writing that it never will.",
    ),
]

EXPENSES: list[Block] = [
    ("h1", "Expenses"),
    (
        "p",
        "Policy number POL-09. It tells staff of Vessary Lampworks how to claim back money spent for work.",
    ),
    ("h2", "How to claim"),
    (
        "p",
        "Claims are made on Form E-3 within 28 days of the purchase. A receipt is needed for anything above "
        "4 crowns. A claim of more than 150 crowns needs the signature of the Treasurer as well. Claims are "
        "paid on the 12th of each month.",
    ),
    ("h2", "What is not paid"),
    (
        "p",
        "Coffee may be claimed, but tea may not, because tea is free at every site. Fines are never paid "
        "back. A gift to a customer may cost up to 25 crowns and must not be a candle. Newspapers are paid "
        "for only if they are used afterwards for cleaning.",
    ),
    ("h2", "Yearly limits"),
    (
        "table",
        [
            ["Item", "Limit", "How often"],
            ["Books and courses", "70 crowns", "every year"],
            ["Work clogs", "65 crowns", "every 2 years"],
            ["Spectacles", "120 crowns", "every 3 years"],
            ["Telephone at home", "18 crowns", "every month"],
        ],
    ),
    ("h2", "Company cards"),
    (
        "p",
        "There are 9 company cards, and they are kept in the safe in the museum. A card is borrowed for one "
        "day against a signature. A card that is not back by the noon whistle is stopped.",
    ),
]

TARN: list[Block] = [
    ("h1", "Tarn marine lamp"),
    (
        "p",
        "The Tarn is the lamp of Vessary Lampworks for boats at sea. Despite its name the Tarn must not be "
        "used on lakes, because fresh water makes its seals swell.",
    ),
    ("h2", "Build"),
    (
        "p",
        "The frame of the Tarn is cast in bronze. It hangs in a gimbal, so that it stays upright when the "
        "boat leans by as much as 50 degrees. It is waterproof to a depth of 8 metres. Before it leaves the "
        "works, each Tarn is dropped 4 times onto oak planks from a height of 2 metres.",
    ),
    ("h2", "Figures"),
    (
        "table",
        [
            ["Property", "Value"],
            ["Code", "TR-60"],
            ["Weight", "2.9 kilograms"],
            ["Burning time", "36 hours"],
            ["Range of light", "5 kilometres"],
            ["Oil", "Marine Oil only"],
        ],
    ),
    ("h2", "Approval and care"),
    (
        "p",
        "The Tarn is approved by the Isles Pilotage Board under number IPB-7046. The approval is renewed "
        "every 7 years. The gimbal is greased with mutton fat once a season. Salt is rinsed off with sea "
        "water and never with tap water. A Tarn that has been under water is dried upside down for one "
        "whole day before it is lit. The lamp turns green after the first winter, and owners are asked not "
        "to polish it, since a bright Tarn is taken for a beginner's.",
    ),
]

TRAINING: list[Block] = [
    ("h1", "Training and apprentices"),
    ("p", "The Lamp Tutor runs all training at Vessary Lampworks and keeps the list of courses."),
    ("h2", "Apprentices"),
    (
        "p",
        "An apprenticeship lasts 4 years. Apprentices are paid 1,120 crowns a month. At the end each one "
        "builds a test lamp, which must burn for 72 hours without a touch. The lamp is then broken up, and "
        "the apprentice keeps only the burner. In 2024 there were 19 apprentices.",
    ),
    ("h2", "Courses"),
    (
        "table",
        [
            ["Course", "Subject", "Length"],
            ["G1", "Blowing chimneys", "15 days"],
            ["B2", "Fitting burners", "8 days"],
            ["W3", "Weaving wicks", "3 days"],
            ["E4", "Engraving", "21 days"],
        ],
    ),
    ("h2", "Rules"),
    (
        "p",
        "A class has no more than 7 people. The pass mark is 68 percent. A person who fails may try again "
        "after 30 days. Everyone who works with glass takes a refresher every 18 months.",
    ),
    ("h2", "The room"),
    (
        "p",
        "Classes are held in the Brass Room. No brass is allowed in the Brass Room, because it scratches the "
        "glass that is stored there. The room was named after a Mr Brass, who paid for the roof. Evening "
        "classes are on Thursdays and end with a song.",
    ),
]

# name, shop price and trade price in crowns, lamps in a crate, note
LAMPS: list[tuple[str, int, int, int, str]] = [
    ("Titan", 38, 29, 42, "see lamp sheet"),
    ("Nib", 52, 41, 28, "desk lamp with an ink tray"),
    ("Ferry", 59, 47, 21, "bicycle lamp with a leather strap"),
    ("Sill", 64, 51, 16, "see catalogue"),
    ("Corrie", 71, 57, 14, "see catalogue"),
    ("Gannet", 83, 66, 10, "garden lamp in verdigris"),
    ("Daybreak", 112, 88, 8, "see lamp sheet"),
    ("Pell", 126, 99, 6, "see catalogue"),
    ("Hush", 145, 118, 5, "see lamp sheet"),
    ("Oxbow", 168, 134, 4, "stairwell lamp on a chain"),
    ("Tarn", 297, 243, 3, "see lamp sheet"),
    ("Mouse", 2450, 2190, 1, "to order only"),
]

SPARES: list[tuple[str, str, str, str]] = [
    ("SP-101", "Flat wick, size 2", "1.80 crowns", "see lamp sheet"),
    ("SP-103", "Flat wick, size 5", "2.40 crowns", "Nib and Gannet"),
    ("SP-106", "Round wick, size 9", "3.10 crowns", "Pell and Oxbow"),
    ("SP-110", "Ring wick, size 16", "44.50 crowns", "see lamp sheet"),
    ("SP-118", "Gasket", "3.70 crowns", "see fault list"),
    ("SP-122", "Tall chimney", "17.20 crowns", "Pell"),
    ("SP-125", "Short chimney", "11.60 crowns", "Corrie and Ferry"),
    ("SP-131", "Red sleeve", "36.40 crowns", "see lamp sheet"),
    ("SP-140", "Tin mirror", "14.90 crowns", "see catalogue"),
    ("SP-152", "Gimbal ring", "58.30 crowns", "see lamp sheet"),
    ("SP-204", "Coil spring", "7.30 crowns", "see lamp sheet"),
    ("SP-210", "Leather strap", "8.60 crowns", "Ferry"),
    ("SP-300", "Summer Oil, bottle", "9.40 crowns", "all but marine lamps"),
    ("SP-301", "Winter Oil, bottle", "8.20 crowns", "all but marine lamps"),
    ("SP-305", "Marine Oil, bottle", "13.50 crowns", "marine lamps"),
    ("SP-310", "Snip wick scissors", "12.70 crowns", "any wick"),
]

# id, customer, product, quantity, status, updated_at
ORDERS: list[tuple[int, str, str, int, str, str]] = [
    (5001, "Gullhithe Rowing Club", "Corrie", 12, "delivered", "2025-01-08T10:12:00"),
    (5002, "Bakery Anders Molt", "Hush", 3, "waiting for springs", "2025-01-08T11:40:00"),
    (5003, "Fallowmere Bat Society", "Daybreak", 7, "shipped", "2025-01-09T08:55:00"),
    (5004, "Ludo Garsten", "Pell", 1, "in the engraving room", "2025-01-09T14:31:00"),
    (5005, "Harbour of Port Sillan", "Mouse", 1, "deposit paid", "2025-01-10T09:05:00"),
    (5006, "Inn of the Two Herons", "Sill", 9, "packed", "2025-01-10T15:47:00"),
    (5007, "Elspet Corm", "Titan", 2, "returned unlit", "2025-01-11T07:58:00"),
    (5008, "Cressing Holt School", "Nib", 24, "shipped", "2025-01-11T12:20:00"),
    (5009, "Ferry Company of Dunlow", "Tarn", 5, "held at the Harbour Shed", "2025-01-13T08:02:00"),
    (5010, "Tilda Wranmoor", "Oxbow", 1, "cancelled by the customer", "2025-01-13T16:10:00"),
    (5011, "Mossgate Allotments", "Gannet", 15, "delivered", "2025-01-14T09:44:00"),
    (5012, "Postmen of Lintock", "Titan", 30, "packed", "2025-01-14T10:01:00"),
    (5013, "Night Clinic Ravel Bay", "Daybreak", 4, "lost at sea", "2025-01-15T13:36:00"),
    (5014, "Joss Quillan", "Ferry", 1, "delivered", "2025-01-15T14:15:00"),
    (5015, "Stables at Withen Fell", "Hush", 6, "shipped", "2025-01-16T11:27:00"),
    (5016, "Hobbin Cross Library", "Pell", 18, "waiting for walnut", "2025-01-16T17:09:00"),
    (5017, "Marnie Tolv", "Sill", 2, "delivered", "2025-01-17T08:33:00"),
    (5018, "Arrowdale Shepherds", "Corrie", 20, "packed", "2025-01-17T15:52:00"),
]

# id, product, site, units, shelf, updated_at
STOCK: list[tuple[int, str, str, int, str, str]] = [
    (1, "Titan", "Haddle Quay", 64, "H-03", "2025-01-17T18:00:00"),
    (2, "Nib", "Haddle Quay", 19, "H-05", "2025-01-17T18:00:00"),
    (3, "Ferry", "Haddle Quay", 27, "H-08", "2025-01-17T18:00:00"),
    (4, "Sill", "Haddle Quay", 33, "H-11", "2025-01-17T18:00:00"),
    (5, "Corrie", "Haddle Quay", 45, "H-14", "2025-01-17T18:00:00"),
    (6, "Pell", "Haddle Quay", 8, "H-20", "2025-01-17T18:00:00"),
    (7, "Hush", "Haddle Quay", 6, "H-22", "2025-01-17T18:00:00"),
    (8, "Oxbow", "Haddle Quay", 11, "H-27", "2025-01-17T18:00:00"),
    (9, "Titan", "Skelm", 418, "S-31", "2025-01-16T16:45:00"),
    (10, "Corrie", "Skelm", 236, "S-36", "2025-01-16T16:45:00"),
    (11, "Gannet", "Skelm", 97, "S-40", "2025-01-16T16:45:00"),
    (12, "Daybreak", "Skelm", 53, "S-44", "2025-01-16T16:45:00"),
    (13, "Tarn", "Skelm", 22, "S-49", "2025-01-16T16:45:00"),
    (14, "Sill", "Gullhithe", 74, "G-02", "2025-01-15T12:30:00"),
]


def write_pdf(path: Path, blocks: list[Block]) -> None:
    """Write a PDF with plain left-aligned text."""
    pdf = FPDF(format="A5")
    pdf.set_creation_date(CREATED)
    pdf.set_producer("bakeoff demo build")
    pdf.set_title(str(blocks[0][1]))
    pdf.set_margin(16)
    pdf.add_page()
    for kind, content in blocks:
        if kind == "page":
            pdf.add_page()
            continue
        style, size, gap = {"h1": ("B", 16, 4), "h2": ("B", 12, 2)}.get(kind, ("", 10, 4))
        pdf.set_font("Helvetica", style, size)
        pdf.multi_cell(0, size * 0.55, str(content), align="L", new_x="LMARGIN", new_y="NEXT")
        pdf.ln(gap)
    pdf.output(str(path))


def write_docx(path: Path, blocks: list[Block]) -> None:
    """Write a DOCX with headings, paragraphs and tables."""
    document = Document()
    properties = document.core_properties
    properties.author = "Vessary Lampworks"
    properties.title = str(blocks[0][1])
    properties.created = properties.modified = CREATED.replace(tzinfo=None)
    for kind, content in blocks:
        if isinstance(content, list):
            table = document.add_table(rows=0, cols=len(content[0]))
            table.style = "Table Grid"
            for row in content:
                for cell, value in zip(table.add_row().cells, row, strict=True):
                    cell.text = value
        elif kind == "p":
            document.add_paragraph(content)
        else:
            document.add_heading(content, level=1 if kind == "h1" else 2)
    document.save(str(path))
    stamp_archive(path)


def write_prices(path: Path) -> None:
    """Write the price list: one sheet of lamps, one of spare parts and oils."""
    book = Workbook()
    book.properties.creator = "Vessary Lampworks"
    book.properties.created = book.properties.modified = CREATED.replace(tzinfo=None)
    lamps = book.active
    assert lamps is not None
    lamps.title = "Lamps"
    lamps.append(["Lamp", "Shop price", "Trade price", "Lamps per crate", "Note"])
    for name, shop, trade, crate, note in LAMPS:
        unit = "lamp" if crate == 1 else "lamps"
        lamps.append([name, f"{shop:,} crowns", f"{trade:,} crowns", f"{crate} {unit}", note])
    spares = book.create_sheet("Spares and oils")
    spares.append(["Part code", "Part", "Price", "Fits"])
    for part in SPARES:
        spares.append(list(part))
    for sheet, widths in ((lamps, (12, 14, 14, 16, 34)), (spares, (12, 24, 16, 24))):
        for letter, width in zip("ABCDE", widths, strict=False):
            sheet.column_dimensions[letter].width = width
        sheet.freeze_panes = "A2"
    book.save(path)
    stamp_archive(path)


def write_shop(path: Path) -> None:
    """Write the SQLite database with the tables orders and stock."""
    prices = {name: shop for name, shop, _trade, _crate, _note in LAMPS}
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    try:
        connection.execute(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT NOT NULL, product TEXT NOT NULL, "
            "quantity INTEGER NOT NULL, total TEXT NOT NULL, status TEXT NOT NULL, updated_at TEXT NOT NULL)"
        )
        connection.execute(
            "CREATE TABLE stock (id INTEGER PRIMARY KEY, product TEXT NOT NULL, site TEXT NOT NULL, "
            "units INTEGER NOT NULL, shelf TEXT NOT NULL, updated_at TEXT NOT NULL)"
        )
        connection.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (number, customer, product, quantity, f"{quantity * prices[product]:,} crowns", status, at)
                for number, customer, product, quantity, status, at in ORDERS
            ],
        )
        connection.executemany("INSERT INTO stock VALUES (?, ?, ?, ?, ?, ?)", STOCK)
        connection.commit()
    finally:
        connection.close()


def stamp_archive(path: Path) -> None:
    """Rewrite a zip archive with one fixed date on every member.

    openpyxl puts the hour of saving into docProps/core.xml; that is replaced by the fixed date too.
    """
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            if name == "docProps/core.xml":
                content = fix_modified(content)
            archive.writestr(zipfile.ZipInfo(name, ZIP_DATE), content, zipfile.ZIP_DEFLATED)


def fix_modified(core: bytes) -> bytes:
    """Put the fixed date between the tags of dcterms:modified."""
    start = core.find(b"<dcterms:modified")
    begin = core.find(b">", start) + 1
    end = core.find(b"</dcterms:modified>")
    if start < 0 or end < begin:
        return core
    return core[:begin] + CREATED.strftime("%Y-%m-%dT%H:%M:%SZ").encode() + core[end:]


def main() -> None:
    """Write all binary files."""
    for folder in ("company", "people", "policies", "products", "support"):
        (DOCUMENTS / folder).mkdir(parents=True, exist_ok=True)
    write_pdf(DOCUMENTS / "products" / "catalogue.pdf", CATALOGUE)
    write_pdf(DOCUMENTS / "support" / "wick_care.pdf", WICK_CARE)
    write_pdf(DOCUMENTS / "company" / "history.pdf", HISTORY)
    write_docx(DOCUMENTS / "policies" / "expenses.docx", EXPENSES)
    write_docx(DOCUMENTS / "products" / "tarn.docx", TARN)
    write_docx(DOCUMENTS / "people" / "training.docx", TRAINING)
    write_prices(DOCUMENTS / "products" / "prices.xlsx")
    write_shop(DEMO / "shop.db")


if __name__ == "__main__":
    main()
