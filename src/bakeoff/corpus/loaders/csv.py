"""CSV and TSV: a line a row, each cell with its header."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from bakeoff.corpus.loaders import Loaded, Outline, table
from bakeoff.corpus.loaders.text import read

SUFFIXES = (".csv", ".tsv")
VERSION = 1


def load(path: Path) -> Loaded:
    """The delimiter is guessed from the first lines."""
    text = read(path)
    try:
        dialect: type[csv.Dialect] | str = csv.Sniffer().sniff(text[:4096], delimiters=",;\t|")
    except csv.Error:
        dialect = "excel-tab" if path.suffix.lower() == ".tsv" else "excel"
    outline = Outline(path.stem)
    try:
        table(outline, list(csv.reader(io.StringIO(text), dialect)))
    except csv.Error as error:
        raise ValueError(f"not a readable table ({error}); save it as CSV again") from error
    return outline.loaded()
