"""PDF text with pages."""

from __future__ import annotations

import re
from pathlib import Path

import pypdfium2

from bakeoff.corpus.loaders import Loaded

SUFFIXES = (".pdf",)
VERSION = 2


def load(path: Path) -> Loaded:
    """Pages in order; lines that the layout broke are joined again. Where PDFium refuses a file, pypdf tries."""
    try:
        title, texts = _by_pdfium(path)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise ValueError("it is protected by a password; save it without") from error
        title, texts = _by_pypdf(path, error)
    texts = [_joined(text) for text in texts]
    pages, offset = [], 0
    for text in texts:
        pages.append(offset)
        offset += len(text) + 2
    text = "\n\n".join(texts)
    empty = [number for number, text in enumerate(texts, start=1) if not text]
    unread = [f"no text on page {', '.join(map(str, empty))}; if scanned, run text recognition first"] if empty else []
    return Loaded(text if text.strip() else "", title, tuple(pages), unread=tuple(unread))


def _by_pdfium(path: Path) -> tuple[str, list[str]]:
    texts = []
    with pypdfium2.PdfDocument(path) as document:
        title = str(document.get_metadata_value("Title") or "").strip()
        for page in document:
            words = page.get_textpage()
            texts.append(words.get_text_range(errors="replace"))
            words.close()
            page.close()
    return title, texts


def _by_pypdf(path: Path, refused: Exception) -> tuple[str, list[str]]:
    import logging

    import pypdf

    logging.disable()  # what is wrong with the file is one line of ours
    try:
        reader = pypdf.PdfReader(path)
        title = str((reader.metadata and reader.metadata.title) or "").strip()
        return title, [page.extract_text() for page in reader.pages]
    except Exception as error:  # pypdf raises anything on a broken file
        raise ValueError(f"not a readable PDF ({refused}); open and save it again") from error


def _joined(text: str) -> str:
    """Undo hyphens at line ends and the breaks of wrapped lines; short lines, as in lists and tables, stay."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    # pdfium writes U+FFFE or U+00AD for the hyphen that the layout put in.
    text = re.sub(r"(?<=\w)[\ufffe\u00ad]\n?(?=\w)", "", text)
    text = re.sub(r"(?<=[a-z])-\n(?=[a-z])", "", text)
    lines = [line.strip() for line in text.split("\n")]
    full = 0.6 * max(map(len, lines), default=0)
    joined = ""
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        wrapped = len(line) >= full and line and after and not line.endswith((".", ":", "?", "!"))
        joined += line + (" " if wrapped else "\n")
    return joined.strip()
