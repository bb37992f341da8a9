"""Word documents: paragraphs, headings as sections, tables row by row."""

from __future__ import annotations

import re
from pathlib import Path

import docx
from docx.opc.exceptions import PackageNotFoundError
from docx.table import Table

from bakeoff.corpus.loaders import Loaded, Outline, table

SUFFIXES = (".docx",)
VERSION = 1


def load(path: Path) -> Loaded:
    """Body in document order; headers, footers and comments are not read."""
    try:
        document = docx.Document(str(path))
    except (PackageNotFoundError, KeyError, ValueError) as error:
        raise ValueError("not a readable DOCX (or protected by a password); open and save it again") from error
    outline = Outline(document.core_properties.title or "")
    for item in document.iter_inner_content():
        if isinstance(item, Table):
            table(outline, [[cell.text for cell in line.cells] for line in item.rows])
            continue
        style = (item.style.name if item.style else "") or ""
        level = 1 if style == "Title" else int(found[1]) if (found := re.fullmatch(r"Heading (\d)", style)) else 0
        if level and item.text.strip():
            outline.heading(level, item.text.strip())
        else:
            outline.add(item.text)
    return outline.loaded()
