"""Outlook messages: who, when and about what, then the text."""

from __future__ import annotations

from pathlib import Path

from oxmsg import Message

from bakeoff.corpus.loaders import Loaded, Outline
from bakeoff.corpus.loaders.html import visible

SUFFIXES = (".msg",)
VERSION = 1


def load(path: Path) -> Loaded:
    """The plain text where there is one, else the HTML; attachments are named and not read."""
    message = Message.load(str(path))
    outline = Outline(message.subject or "")
    headers = {
        "From": message.sender,
        "To": ", ".join(f"{person.name} <{person.email_address}>" for person in message.recipients),
        "Date": message.sent_date,
        "Subject": message.subject,
    }
    for name, value in headers.items():
        if value:
            outline.add(f"{name}: {value}")
    outline.add(message.body or visible(message.html_body or "").text)
    for attachment in message.attachments:
        outline.skip(f"the attachment {attachment.file_name}")
    return outline.loaded()
