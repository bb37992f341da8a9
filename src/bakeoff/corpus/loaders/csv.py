"""CSV and TSV: a line a row, each cell with its header."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from bakeoff.corpus.loaders import Loaded, Outline, table
from bakeoff.corpus.loaders.text import read

SUFFIXES = (".csv", ".tsv")
VERSION = 4

CELL_CHARACTERS = 1 << 26
"""More than a text may have; the module's own limit is 131,072, less than a page of HTML in a cell."""


def load(path: Path) -> Loaded:
    """The delimiter is guessed from the first lines."""
    text = read(path)
    try:
        dialect = csv.Sniffer().sniff(text[:4096], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel_tab if path.suffix.lower() == ".tsv" else csv.excel
    dialect.quotechar = '"'  # where the first lines hold no quote, the sniffer takes an apostrophe for one
    dialect.doublequote = True  # the sniffer says no where the first lines hold no quote in quotes
    outline = Outline(path.stem)
    csv.field_size_limit(CELL_CHARACTERS)
    try:
        rows = csv.reader(io.StringIO(text), dialect)
        lines = [(cells, f"line {rows.line_num}") for cells in rows]
        table(outline, [cells for cells, _ in lines], [place for _, place in lines])
    except csv.Error as error:
        raise ValueError(f"not a readable table ({error}); save it as CSV again") from error
    return outline.loaded()
