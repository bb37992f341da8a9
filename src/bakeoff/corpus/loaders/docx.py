"""Word documents: paragraphs, headings as sections, tables row by row."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import docx
from docx.opc.exceptions import PackageNotFoundError
from docx.oxml.ns import qn
from docx.table import Table

from bakeoff.corpus.loaders import Loaded, Outline, table

SUFFIXES = (".docx",)
VERSION = 2


def load(path: Path) -> Loaded:
    """Body in document order, changes that are tracked as if accepted; headers, footers and comments are not read."""
    try:
        document = docx.Document(str(path))
    except (PackageNotFoundError, KeyError, ValueError) as error:
        raise ValueError("not a readable DOCX (or protected by a password); open and save it again") from error
    _settle(document.element.body)
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


def _settle(body: Any) -> None:
    """Take out what was deleted or moved away, and the frames around what was inserted or filled into a form."""
    for gone in list(body.iter(qn("w:del"), qn("w:moveFrom"))):
        gone.getparent().remove(gone)
    for frame in list(body.iter(qn("w:sdt"), qn("w:ins"), qn("w:moveTo"))):
        parent, content = frame.getparent(), frame.find(qn("w:sdtContent")) if frame.tag == qn("w:sdt") else frame
        for child in list(content) if content is not None else ():
            frame.addprevious(child)
        parent.remove(frame)
