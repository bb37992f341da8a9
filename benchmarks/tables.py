"""Rows of tables in PDF files: typeset from known tables in five styles, and the cost on pages of real reports.

    make bench-tables DATA=path/to/data

fpdf2 typesets the tables of TAT-QA's annual reports and pdfplumber reads them beside us; both live in `.venv-peers`.
Writes docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import pypdfium2
from results import machine, publish, table

from bakeoff.corpus.loaders import row as as_row
from bakeoff.corpus.loaders.pdf import load
from bakeoff.corpus.loaders.pdf.rows import Table
from bakeoff.corpus.loaders.pdf.tables import Reader
from bakeoff.corpus.loaders.pdf.wrapping import joined
from bakeoff.evaluation.stats import score_interval

PEERS = Path(".venv-peers/bin/python")
STYLES = {
    "all lines": {"borders_layout": "ALL"},
    "inner lines": {"borders_layout": "INTERNAL"},
    "every cell coloured": {"borders_layout": "NONE", "cell_fill_mode": "ALL", "gutter_width": 1, "gutter_height": 1},
    "lines between rows": {"borders_layout": "HORIZONTAL_LINES"},
    "no lines": {"borders_layout": "NONE"},
}
TYPESET = """
import json, sys
import fpdf
for path, options, rows in map(json.loads, sys.stdin):
    pdf = fpdf.FPDF()
    pdf.add_page()
    pdf.set_font("Helvetica", size=9)
    pdf.write(text="Selected figures of the company follow.\\n")
    fill = {"cell_fill_color": 200} if "cell_fill_mode" in options else {}
    with pdf.table(text_align="LEFT", **fill, **options) as table:
        for cells in rows:
            row = table.row()
            for cell in cells:
                row.cell(cell)
    pdf.write(text="No other figures are shown.")
    pdf.output(path)
"""
READ = """
import json, sys, time, pdfplumber
for line in sys.stdin:
    start, rows = time.process_time(), []
    with pdfplumber.open(line.strip()) as document:
        for page in document.pages:
            found = [row for table in page.extract_tables() for row in table]
            rows += [[" ".join((cell or "").split()) for cell in row] for row in found]
            page.extract_text()
            page.close()
    print(json.dumps([rows, time.process_time() - start]), flush=True)
"""


def main() -> None:
    """Both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with tatqa_dev and pdf_reports")
    data = parser.parse_args().data
    text = f"{typeset(data / 'tatqa_dev' / 'tatqa_dataset_dev.json')}\n\n{real(data / 'pdf_reports')}"
    publish("tables", f"{text}\n\n`make bench-tables DATA=...` on {machine()}.")
    print(text)


def typeset(path: Path) -> str:
    """The share of rows that come out on a line of their own, with all their cells in order."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    known = [[[printable(cell) for cell in row] for row in entry["table"]["table"]] for entry in entries]
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        for style, options in STYLES.items():
            paths = [str(Path(scratch) / f"{style}-{number}.pdf") for number in range(len(known))]
            peer(TYPESET, [json.dumps([path, options, rows]) for path, rows in zip(paths, known, strict=True)])
            hits: dict[str, list[bool]] = {"as text": [], "pdfplumber": [], "bakeoff": [], "with headers": []}
            groups: list[str] = []
            for number, (file, rows, theirs) in enumerate(zip(paths, known, peer(READ, paths), strict=True)):
                found = {"as text": as_text(file), "bakeoff": load(Path(file)).text.split("\n")}
                cut = [[cell for cell in row if cell] for row in json.loads(theirs)[0]]
                for row in rows[1:]:
                    cells = [cell for cell in row if cell]
                    if len(cells) > 1:
                        groups.append(str(number))
                        hits["as text"].append(any(alone(cells, line) for line in found["as text"]))
                        hits["pdfplumber"].append(cells in cut)
                        hits["bakeoff"].append(any(alone(cells, line) for line in found["bakeoff"]))
                        hits["with headers"].append(as_row(rows[0], row) in found["bakeoff"])
            shares = [score_interval(values, groups) for values in hits.values()]
            lines.append(
                [
                    style,
                    str(len(groups)),
                    *(f"{100 * s.estimate:.1f} [{100 * s.low:.1f}, {100 * s.high:.1f}]" for s in shares),
                ]
            )
    return table(["typeset with", "rows", *hits], lines)


def real(folder: Path) -> str:
    """Milliseconds of processor time a page."""
    paths = sorted(str(path) for path in folder.rglob("*.pdf"))
    counts, seconds = {True: 0, False: 0}, {True: [0.0, 0.0], False: [0.0, 0.0]}
    for path in paths:
        with pypdfium2.PdfDocument(path) as document:
            for number in range(len(document)):
                start = time.process_time()
                page = document[number]
                words = page.get_textpage()
                words.get_text_range(errors="replace")
                middle = time.process_time()
                has = any(isinstance(piece, Table) for piece in Reader().pieces(page, words))
                end = time.process_time()
                counts[has] += 1
                seconds[has][0] += middle - start
                seconds[has][1] += end - start
    theirs = 1000 * sum(json.loads(line)[1] for line in peer(READ, paths)) / sum(counts.values())
    rows = [
        [f"{what} tables", str(counts[has]), *(f"{1000 * spent / counts[has]:.1f}" for spent in seconds[has]), ""]
        for has, what in ((False, "without"), (True, "with"))
    ]
    every = [1000 * sum(spent) / sum(counts.values()) for spent in zip(*seconds.values(), strict=True)]
    rows.append(["all", str(sum(counts.values())), *(f"{spent:.1f}" for spent in every), f"{theirs:.1f}"])
    return table([f"pages of {len(paths)} reports", "n", "text alone, ms", "with tables, ms", "pdfplumber, ms"], rows)


def peer(script: str, lines: list[str]) -> list[str]:
    """The lines that `script` prints in the peers' environment."""
    done = subprocess.run(
        [PEERS, "-c", script], input="\n".join(lines), capture_output=True, text=True, check=True, encoding="utf-8"
    )
    return done.stdout.splitlines()


def printable(cell: str) -> str:
    """What Helvetica has letters for, in single spaces."""
    return " ".join(cell.encode("latin-1", "ignore").decode("latin-1").split())


def as_text(path: str) -> list[str]:
    """Lines as they came out before there were tables."""
    with pypdfium2.PdfDocument(path) as document:
        return [line for page in document for line in joined(page.get_textpage().get_text_range()).split("\n")]


def alone(cells: list[str], line: str) -> bool:
    """Whether `line` holds these cells in order, each with or without a header, and nothing else."""
    for cell in cells:
        before, found, line = line.partition(cell)
        header = before.strip("; ")
        if not found or (header and not header.endswith(":")):
            return False
    return not line


if __name__ == "__main__":
    main()
