"""look_up: the text of one document around some words, a section or an offset."""

from __future__ import annotations

import re

from bakeoff.systems.tools import Found, Refused, Tool
from bakeoff.types import Chunk, Document, Hit, Searchable

AROUND = 1000
"""Characters that are shown."""


def look_up(store: Searchable) -> Tool:
    """Reads what `store` shows; give it that of `corpus.readable_by(groups)` to keep access groups."""

    def use(wanted: str) -> Found:
        document, place = _document(store, wanted)
        chunks = store.chunks(document.id)
        middle = _offset(document, chunks, place)
        start, end = _window(document.text, middle)
        near = max((chunk for chunk in chunks if chunk.start <= middle), key=lambda chunk: chunk.start, default=None)
        page, section = (near.page, near.section) if near else (None, "")
        chunk = Chunk(f"{document.id}@{start}", document.id, document.text[start:end], start, end, page, section)
        return Found(hits=(Hit(chunk, 0.0),))

    return Tool(
        "look_up", "look_up[document, words] reads on in a document, where these words or this heading stand", use
    )


def _document(store: Searchable, wanted: str) -> tuple[Document, str]:
    """The document, and what is wanted of it; names may hold commas, so the longest one that exists is meant."""
    parts = wanted.split(",")
    for length in range(len(parts), 0, -1):
        document = store.document(",".join(parts[:length]).strip())
        if document is not None:
            return document, ",".join(parts[length:]).strip()
    raise Refused(f"there is no document {parts[0].strip()!r}; write its name as search shows it")


def _offset(document: Document, chunks: list[Chunk], place: str) -> int:
    if re.fullmatch(r"[0-9]{1,9}", place):
        return min(int(place), len(document.text))
    heading = place.casefold()
    for chunk in chunks:
        if heading and heading in [part.strip() for part in chunk.section.casefold().split(">")]:
            return chunk.start
    pattern = r"\s+".join(map(re.escape, place.split()))
    found = re.search(pattern, document.text, re.IGNORECASE)
    if found is None:
        raise Refused(f"{document.id} does not hold {place!r}; try fewer words")
    return found.start()


def _window(text: str, middle: int) -> tuple[int, int]:
    """A third before and the rest after, cut at white space where there is some."""
    start = max(0, min(middle - AROUND // 3, len(text) - AROUND))
    end = min(len(text), start + AROUND)
    if start and (space := re.search(r"\s", text[start:middle])):
        start += space.end()
    if end < len(text) and (cut := text.rfind(" ", middle, end)) > middle:
        end = cut
    return start, end
