"""Plain text in any encoding."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from bakeoff.corpus.loaders import Loaded
from bakeoff.errors import DataError

SUFFIXES = (".txt", ".text", ".log", ".org", ".adoc", ".tex")
VERSION = 4

SAMPLE = 1 << 20
"""Bytes that an encoding is guessed from."""
ENCODINGS = (
    "cp1252",
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1254",
    "koi8_r",
    "shift_jis",
    "euc_jp",
    "gb18030",
    "big5",
    "euc_kr",
    "utf_16_le",
    "utf_16_be",
)
"""What files without a mark are written in; the library's full list finds Mac Icelandic in short German texts."""

BINARY = {
    b"\x89PNG": "a picture (PNG)",
    b"\xff\xd8\xff": "a picture (JPEG)",
    b"GIF8": "a picture (GIF)",
    b"\x7fELF": "a program (ELF)",
    b"MZ\x90": "a program (Windows)",
    b"PK\x03\x04": "an archive (ZIP)",
    b"\x1f\x8b": "an archive (gzip)",
    b"%PDF-": "a PDF",
    b"SQLite format 3": "a database (SQLite)",
}
"""How files begin that are often named wrongly."""


_CHARSET = re.compile(rb"<[^>]*(?:charset|encoding)\s*=\s*[\"']?([A-Za-z0-9_.:-]+)")


def load(path: Path) -> Loaded:
    """The text as it is, line ends made equal."""
    return Loaded(read(path))


def read(path: Path) -> str:
    """Decode by byte-order mark, else as UTF-8, else by what charset-normalizer makes of the bytes.

    Raises `DataError` for what is no text whatever its name says: a picture, a program, an archive.
    """
    data = path.read_bytes()
    if kind := next((kind for start, kind in BINARY.items() if data.startswith(start)), ""):
        raise DataError(f"no text but {kind}; give it its right name, or remove it")
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        text = data.decode("utf-32", errors="replace")
    elif data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16", errors="replace")
    else:
        try:
            text = data.decode(_wide(data) or "utf-8-sig")
        except UnicodeDecodeError:
            text = _declared(data) or _guessed(data)
    if _unreadable(text):
        raise DataError("no text but control characters; give it its right name, or remove it")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _wide(data: bytes) -> str:
    """UTF-16 without a mark, whose Latin letters, spaces and line ends are valid UTF-8 with a NUL each; else "".

    A NUL here and there is no sign of it, nor are runs of them: those of UTF-16 stand all on one side.
    """
    high, low = data[::2].count(0), data[1::2].count(0)
    if len(data) % 2 or max(high, low) * 20 <= len(data) or max(high, low) < 10 * min(high, low):
        return ""
    return "utf-16-be" if high > low else "utf-16-le"


def _unreadable(text: str) -> bool:
    """Whether one in twenty is a control character, which no writing has; logs end in zeros that were never written."""
    head = text[:4096]
    return sum(one < " " and one not in "\0\n\r\t\f\x1b" for one in head) * 20 > len(head)


def _declared(data: bytes) -> str:
    """As the file itself says, in the first lines of HTML or XML; "" where it says nothing, or nothing true."""
    found = _CHARSET.search(data[:1024])
    try:
        return data.decode(found[1].decode("ascii")) if found else ""
    except (LookupError, ValueError):
        return ""


def _guessed(data: bytes) -> str:
    """Windows-1252 unless another encoding reads clearly better: short Western texts fit several."""
    from charset_normalizer import from_bytes

    found = list(from_bytes(data[:SAMPLE], cp_isolation=[*ENCODINGS]))
    western = [match for match in found if "cp1252" in match.could_be_from_charset]
    best = western[0] if western and western[0].chaos <= found[0].chaos else found[0] if found else None
    return data.decode("cp1252" if best is None or best in western else best.encoding, errors="replace")
