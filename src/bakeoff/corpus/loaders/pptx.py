"""PowerPoint: a page a slide, text in reading order, tables row by row, notes last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pptx import Presentation
from pptx.exc import PythonPptxError
from pptx.shapes.picture import Picture

from bakeoff.corpus.loaders import Loaded, Outline, table

SUFFIXES = (".pptx", ".pptm", ".potx")
VERSION = 2


def load(path: Path) -> Loaded:
    """Pictures and charts are not read."""
    try:
        presentation = Presentation(str(path))
    except (PythonPptxError, KeyError, ValueError) as error:
        raise ValueError("not a readable PPTX (or protected by a password); open and save it again") from error
    outline = Outline(presentation.core_properties.title or "")
    for number, slide in enumerate(presentation.slides, start=1):
        outline.page()
        heading = slide.shapes.title
        outline.section(
            1, " ".join(heading.text.split()) if heading is not None and heading.text else f"Slide {number}"
        )
        for shape in _in_order(slide.shapes):
            if getattr(shape, "has_table", False):
                table(outline, [[cell.text for cell in row.cells] for row in shape.table.rows])
            elif shape.has_text_frame:
                outline.add("\n".join(paragraph.text for paragraph in shape.text_frame.paragraphs))
            elif getattr(shape, "has_chart", False) or isinstance(shape, Picture):
                outline.skip(f"slide {number}: a {'picture' if isinstance(shape, Picture) else 'chart'}")
        if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) is not None and notes.text.strip():
            outline.add(f"Notes: {notes.text}")
    return outline.loaded()


def _in_order(shapes: Any) -> Iterator[Any]:
    """Shapes from top to bottom and left to right, those in groups too."""
    for shape in sorted(shapes, key=lambda shape: (shape.top or 0, shape.left or 0)):
        if hasattr(shape, "shapes"):
            yield from _in_order(shape.shapes)
        else:
            yield shape
