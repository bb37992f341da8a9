"""Spreadsheets (Excel and OpenDocument): a section a sheet, a line a row, values as they are shown."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from python_calamine import CalamineError, PasswordError, load_workbook

from bakeoff.corpus.loaders import Loaded, Outline, table

SUFFIXES = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
VERSION = 3


def load(path: Path) -> Loaded:
    """Formulas as their last computed values; hidden sheets too."""
    try:
        book = load_workbook(path)
        sheets = [(name, book.get_sheet_by_name(name)) for name in book.sheet_names]
    except PasswordError as error:
        raise ValueError("it is protected by a password; save it without") from error
    except CalamineError as error:
        raise ValueError(f"not a readable spreadsheet ({error}); open and save it again") from error
    outline = Outline(path.stem)
    for name, sheet in sheets:
        outline.section(1, name)
        first = sheet.start[1] if sheet.start else 0
        span = _letters(first), _letters(first + sheet.width - 1)
        rows = [[_shown(value) for value in values] for values in sheet.iter_rows()]
        table(outline, rows, [f"{name}!{span[0]}{row}:{span[1]}{row}" for row in range(1, len(rows) + 1)])
    return outline.loaded()


def _letters(column: int) -> str:
    """0 -> A, 25 -> Z, 26 -> AA."""
    letters = ""
    column += 1
    while column > 0:
        column, place = divmod(column - 1, 26)
        letters = chr(ord("A") + place) + letters
    return letters


def _shown(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value)
