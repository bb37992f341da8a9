"""PDF text with pages: ruled tables row by row, scanned pages recognised where the machine has tesseract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pypdfium2

from bakeoff.corpus.loaders import Loaded
from bakeoff.corpus.loaders.pdf.scans import FILE_SECONDS, PAGE_SECONDS, Recogniser, Unrecognised, setting
from bakeoff.corpus.loaders.pdf.tables import Reader
from bakeoff.corpus.loaders.pdf.wrapping import joined

SUFFIXES = (".pdf",)
VERSION = f"3 {setting()}".strip()
"""Changes with what is recognised, so that scans are read once tesseract is there."""
SECONDS = 60.0 + FILE_SECONDS + PAGE_SECONDS if setting() else 60.0
"""For one file by the clock."""


@dataclass(frozen=True, slots=True)
class _Page:
    text: str
    recognised: bool = False
    unread: str = ""
    """Why there is no text."""


def load(path: Path) -> Loaded:
    """Pages in order; lines that the layout broke are joined again. Where PDFium refuses a file, pypdf tries."""
    try:
        title, pages = _by_pdfium(path)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise ValueError("it is protected by a password; save it without") from error
        title, pages = _by_pypdf(path, error)
    starts = list(accumulate((len(page.text) + 2 for page in pages[:-1]), initial=0)) if pages else []
    text = "\n\n".join(page.text for page in pages)
    reasons: dict[str, list[int]] = {}
    for number, page in enumerate(pages, start=1):
        if page.unread:
            reasons.setdefault(page.unread, []).append(number)
    return Loaded(
        text if text.strip() else "",
        title,
        tuple(starts),
        places=_places(pages, starts),
        unread=tuple(f"page {_spans(numbers)}: {reason}" for reason, numbers in reasons.items()),
    )


def _places(pages: Sequence[_Page], starts: Sequence[int]) -> tuple[tuple[int, str], ...]:
    """Said only where a page was recognised, for then an answer from it may have misread letters."""
    if not any(page.recognised for page in pages):
        return ()
    names = (f"page {number}{', recognised' * page.recognised}" for number, page in enumerate(pages, start=1))
    return tuple(zip(starts, names, strict=True))


def _spans(numbers: Sequence[int]) -> str:
    """[1, 2, 3, 7] -> 1-3, 7."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    return ", ".join("-".join(map(str, span)) for span in spans)


def _by_pdfium(path: Path) -> tuple[str, list[_Page]]:
    pages: list[_Page] = []
    reader, recogniser = Reader(), Recogniser()
    with pypdfium2.PdfDocument(path) as document:
        title = str(document.get_metadata_value("Title") or "").strip()
        for page in document:
            words = page.get_textpage()
            text = reader.text(page, words)
            words.close()
            pages.append(_Page(text) if text else _scan(page, recogniser))
            page.close()
    return title, pages


def _scan(page: Any, recogniser: Recogniser) -> _Page:
    try:
        text = joined(recogniser.read(page))
    except Unrecognised as error:
        return _Page("", unread=str(error))
    return _Page(text, recognised=bool(text))


def _by_pypdf(path: Path, refused: Exception) -> tuple[str, list[_Page]]:
    import logging

    import pypdf

    logging.disable()  # what is wrong with the file is one line of ours
    try:
        reader = pypdf.PdfReader(path)
        title = str((reader.metadata and reader.metadata.title) or "").strip()
        texts = [joined(page.extract_text()) for page in reader.pages]
    except Exception as error:  # pypdf raises anything on a broken file
        raise ValueError(f"not a readable PDF ({refused}); open and save it again") from error
    return title, [
        _Page(text, unread="" if text else "no text; if it is a scan, print it to a new PDF") for text in texts
    ]
