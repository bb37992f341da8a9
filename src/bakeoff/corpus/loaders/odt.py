"""OpenDocument text: headings as sections, tables row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from odfdo import Document

from bakeoff.corpus.loaders import Loaded, Outline, table

SUFFIXES = (".odt", ".ott", ".fodt")
VERSION = 2


def load(path: Path) -> Loaded:
    """Body in document order; comments and tracked deletions are not read."""
    document = Document(path)
    outline = Outline(document.meta.title or "")
    unsaid: list[Any] = document.body.xpath("//text:tracked-changes|//office:annotation|//office:annotation-end")
    for element in unsaid:
        element.delete()
    elements: list[Any] = document.body.xpath("//text:h|//text:p[not(ancestor::table:table)]|//table:table")
    for element in elements:
        if element.tag == "table:table":
            table(outline, [[_words(cell) for cell in row.get_cells()] for row in element.get_rows()])
        elif element.tag == "text:h":
            outline.heading(int(element.get_attribute_string("text:outline-level") or 1), _words(element))
        else:
            outline.add(_words(element))
    return outline.loaded()


def _words(element: Any) -> str:
    return " ".join(element.inner_text.split())
