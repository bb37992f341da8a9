"""E-mail messages: who, when and about what, then the text."""

from __future__ import annotations

import codecs
from email import policy
from email.message import EmailMessage, MIMEPart
from email.parser import BytesParser
from pathlib import Path

from bakeoff.corpus.loaders import Loaded, Outline
from bakeoff.corpus.loaders.html import visible
from bakeoff.corpus.loaders.text import read

SUFFIXES = (".eml", ".mht", ".mhtml")
VERSION = 3

HEADERS = ("From", "To", "Cc", "Date", "Subject")


def load(path: Path) -> Loaded:
    """The plain text where there is one, else the HTML; attachments are named and not read."""
    data = path.read_bytes()
    if data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data = read(path).encode()
    message = BytesParser(policy=policy.default).parsebytes(data)
    assert isinstance(message, EmailMessage)
    outline = Outline(_header(message, "Subject"))
    for name in HEADERS:
        if value := _header(message, name):
            outline.add(f"{name}: {value}")
    if not outline.title and not message.keys():
        raise ValueError("not a readable e-mail; export it again as EML")
    body = message.get_body(("plain", "html"))
    if body is not None:
        text = _content(body)
        if not text.strip() and (page := message.get_body(("html",))) is not None:
            body, text = page, _content(page)
        outline.add(visible(text).text if body.get_content_subtype() == "html" else text)
    for part in message.iter_attachments():
        outline.skip(f"the attachment {part.get_filename() or part.get_content_type()}")
    return outline.loaded()


def _header(message: EmailMessage, name: str) -> str:
    try:
        return " ".join(str(message.get(name, "")).split())
    except (ValueError, IndexError, AttributeError):  # the library's own parser of addresses and dates gives up
        return ""


def _content(part: MIMEPart) -> str:
    try:
        return str(part.get_content())
    except (LookupError, KeyError):  # an unknown character set
        data = part.get_payload(decode=True)
        return data.decode("utf-8", "replace") if isinstance(data, bytes) else ""
