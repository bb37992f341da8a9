"""PDF text with pages."""

from __future__ import annotations

import re
from pathlib import Path

import pypdfium2

from bakeoff.corpus.loaders import Loaded

SUFFIXES = (".pdf",)
VERSION = 1


def load(path: Path) -> Loaded:
    """Pages in order; lines that the layout broke are joined again."""
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise ValueError("it is protected by a password; save it without") from error
        raise ValueError(f"not a readable PDF ({error}); open and save it again") from error
    with document:
        title = str(document.get_metadata_value("Title") or "").strip()
        texts = []
        for page in document:
            words = page.get_textpage()
            texts.append(_joined(words.get_text_range(errors="replace")))
            words.close()
            page.close()
    pages, offset = [], 0
    for text in texts:
        pages.append(offset)
        offset += len(text) + 2
    text = "\n\n".join(texts)
    return Loaded(text if text.strip() else "", title, tuple(pages))


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
