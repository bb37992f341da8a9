"""Check the demo data: python demo_build/check.py (needs pypdfium2, python-docx and openpyxl).

Prints every fault found and ends with status 1 when there is one.
"""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import docx
import openpyxl
import pypdfium2

DEMO = Path(__file__).resolve().parent.parent / "src" / "bakeoff" / "demo"
KINDS = {"fact": 80, "multi": 20, "table": 25, "style": 15, "unanswerable": 20}
FIELDS = ["id", "question", "references", "evidence", "group", "kind", "answerable"]
OPENING, CLOSING = "Good light to you. ", " Keep the wick trimmed."
CELLS = (".xlsx", ".csv")
SIZE_LIMIT = 400_000


class TextOf(HTMLParser):
    """Collects the text of an HTML page; the head is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.in_head = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.in_head = self.in_head or tag == "head"

    def handle_endtag(self, tag: str) -> None:
        if tag == "head":
            self.in_head = False

    def handle_data(self, data: str) -> None:
        if not self.in_head:
            self.parts.append(data)


def normal(text: str) -> str:
    """One space in place of any white space."""
    return " ".join(text.split())


def units_of(path: Path) -> list[str]:
    """The text of a file: one string for prose, one string a cell for sheets and CSV."""
    suffix = path.suffix
    if suffix == ".pdf":
        document = pypdfium2.PdfDocument(path)
        return [normal(" ".join(page.get_textpage().get_text_range() for page in document))]
    if suffix == ".docx":
        word = docx.Document(str(path))
        lines = [paragraph.text for paragraph in word.paragraphs]
        lines += [cell.text for table in word.tables for row in table.rows for cell in row.cells]
        return [normal("\n".join(lines))]
    if suffix == ".xlsx":
        book = openpyxl.load_workbook(path)
        rows = [row for sheet in book.worksheets for row in sheet.iter_rows(values_only=True)]
        return [normal(str(value)) for row in rows for value in row if value is not None]
    text = path.read_text(encoding="ascii")
    if suffix == ".csv":
        table = list(csv.reader(text.splitlines()))
        assert len({len(row) for row in table}) == 1, path
        return [normal(cell) for row in table for cell in row]
    if suffix == ".html":
        parser = TextOf()
        parser.feed(text)
        return [normal(" ".join(parser.parts))]
    return [normal(text)]


def rows_of(path: Path) -> dict[str, list[str]]:
    """Document id -> the "column: value" lines of that row, for every row of every table."""
    found: dict[str, list[str]] = {}
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            cursor = connection.execute(f'SELECT * FROM "{table}"')
            columns = [column[0] for column in cursor.description]
            for row in cursor:
                lines = [f"{name}: {value}" for name, value in zip(columns, row, strict=True)]
                found[f"{path.name}/{table}/{row[0]}"] = lines
    finally:
        connection.close()
    return found


def check_question(item: dict[str, Any], documents: dict[str, list[str]]) -> list[str]:
    """The faults of one question."""
    faults: list[str] = []
    kind, references, evidence = item["kind"], item["references"], item["evidence"]
    if list(item) != FIELDS:
        faults.append(f"fields are {list(item)}")
    if item["answerable"] != (kind != "unanswerable"):
        faults.append("answerable does not fit the kind")
    if kind == "unanswerable":
        if references or evidence:
            faults.append("unanswerable with references or evidence")
        return faults
    if not references or len(references) > 4 or len(set(references)) != len(references):
        faults.append("needs 1 to 4 different references")
    wanted = 2 if kind in ("multi", "style") else 1
    if len({entry["document"] for entry in evidence}) != wanted or len(evidence) != wanted:
        faults.append(f"needs {wanted} evidence documents")
    if item["group"] != evidence[0]["document"]:
        faults.append("group is not the first document")
    for entry in evidence:
        name, quote = entry["document"], normal(entry["quote"])
        units = documents.get(name)
        if units is None:
            faults.append(f"no such document: {name}")
            continue
        whole_cell = name.endswith(CELLS) or name.startswith("shop.db/")
        if (quote not in units) if whole_cell else (sum(unit.count(quote) for unit in units) != 1):
            faults.append(f"quote not found exactly in {name}: {quote}")
        if not whole_cell and not 5 <= len(quote.split()) <= 40:
            faults.append(f"quote has {len(quote.split())} words")
    quotes = [normal(entry["quote"]).casefold() for entry in evidence]
    if kind == "style":
        reply = references[0]
        if not (reply.startswith(OPENING) and reply.endswith(CLOSING) and 12 <= len(reply.split()) <= 30):
            faults.append("reply not in the house style")
    elif not any(reference.casefold() in quote for reference in references for quote in quotes):
        faults.append("no reference occurs in the evidence")
    elif len(references[0].split()) > 6:
        faults.append("first reference too long")
    return faults


def main() -> int:
    """Check everything and report."""
    files = sorted(path for path in (DEMO / "documents").rglob("*") if path.is_file())
    documents = {path.relative_to(DEMO).as_posix(): units_of(path) for path in files}
    faults: list[str] = []
    for name, units in documents.items():
        words = sum(len(unit.split()) for unit in units)
        if not name.endswith(CELLS) and not 120 <= words <= 500:
            faults.append(f"{name}: {words} words")
    prose = list(documents)
    documents.update(rows_of(DEMO / "shop.db"))

    lines = (DEMO / "questions.jsonl").read_text(encoding="ascii").splitlines()
    items: list[dict[str, Any]] = [json.loads(line) for line in lines]
    for item in items:
        faults += [f"{item['id']}: {fault}" for fault in check_question(item, documents)]
    if [item["id"] for item in items] != [f"q{number:03d}" for number in range(1, 161)]:
        faults.append("ids are not q001 to q160")
    if Counter(item["kind"] for item in items) != KINDS:
        faults.append(f"kinds: {Counter(item['kind'] for item in items)}")
    for label, keys in (
        ("question", [item["question"].casefold() for item in items]),
        (
            "answer",
            [f"{item['references'][0]} / {item['evidence'][-1]}" for item in items if item["references"]],
        ),
        ("none group", [item["group"] for item in items if item["kind"] == "unanswerable"]),
        (
            "row",
            [entry["document"] for item in items for entry in item["evidence"] if "shop.db" in entry["document"]],
        ),
    ):
        faults += [f"{label} twice: {key}" for key, count in Counter(keys).items() if count > 1 and "style" not in key]
    uses = Counter(entry["document"] for item in items for entry in item["evidence"])
    faults += [f"{name}: only {uses[name]} questions" for name in prose if uses[name] < 3]
    size = sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file())
    if size > SIZE_LIMIT:
        faults.append(f"{size} bytes")
    for fault in faults:
        print(fault)
    print(f"{len(prose)} documents, {len(documents) - len(prose)} rows, {len(items)} questions, {size} bytes")
    print(f"{len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
