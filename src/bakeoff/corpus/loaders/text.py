"""Plain text in any encoding."""

from __future__ import annotations

import codecs
from pathlib import Path

from bakeoff.corpus.loaders import Loaded

SUFFIXES = (".txt", ".text", ".log", ".rst")
VERSION = 1


def load(path: Path) -> Loaded:
    """The text as it is, line ends made equal."""
    return Loaded(read(path))


def read(path: Path) -> str:
    """Decode by byte-order mark, else UTF-8, else Windows-1252, which maps nearly every byte."""
    data = path.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16", errors="replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")
