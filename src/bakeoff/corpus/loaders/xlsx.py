"""Excel workbooks: a section a sheet, a line a row, values as they are shown."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from bakeoff.corpus.loaders import Loaded, Outline, table

SUFFIXES = (".xlsx", ".xlsm")
VERSION = 1


def load(path: Path) -> Loaded:
    """Formulas as their last computed values."""
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (BadZipFile, InvalidFileException, KeyError, ValueError) as error:
        raise ValueError("not a readable XLSX (or protected by a password); open and save it again") from error
    outline = Outline(path.stem)
    for sheet in book.worksheets:
        outline.section(1, sheet.title)
        table(outline, [[_shown(value) for value in values] for values in sheet.iter_rows(values_only=True)])
    book.close()
    return outline.loaded()


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value)
