"""Cut documents into passages by structure, with exact offsets."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import cast

from bakeoff.types import Chunk, Document

VERSION = 1

Sections = Sequence[tuple[int, str]]
Span = tuple[int, int]


def chunk(document: Document, sections: Sections, count: Callable[[str], int], size: int) -> list[Chunk]:
    """Chunks of at most `size` tokens by `count`, in order; none crosses a section unless it holds whole ones.

    `text == document.text[start:end]` for each, without outer white space.
    """
    counted = lru_cache(maxsize=None)(count)
    pages = document.metadata.get("pages") or ()
    title = str(document.metadata.get("title") or "")
    starts = [start for start, _ in sections]
    chunks = []
    for start, end in _merged(document.text, _blocks(document.text, sections, counted, size), counted, size):
        place = bisect.bisect_right(starts, start)
        path = sections[place - 1][1] if place else ""
        header = path if not title or path.startswith(title) else f"{title} > {path}" if path else title
        page = bisect.bisect_right(pages, start) if isinstance(pages, list | tuple) and pages else None
        chunks.append(Chunk(f"{document.id}#{start}", document.id, document.text[start:end], start, end, page, header))
    return chunks


def header_and_text(chunk: Chunk, count: Callable[[str], int], window: int) -> str:
    """What is embedded: the section path above the text; left out where both would not fit the window."""
    whole = f"{chunk.section}\n{chunk.text}" if chunk.section else chunk.text
    return whole if count(whole) <= window else chunk.text


def _blocks(text: str, sections: Sections, count: Callable[[str], int], size: int) -> Iterator[Span]:
    """Sections, and where one is too long its paragraphs, lines, or what semchunk makes of a line."""
    edges = sorted({0, len(text), *(start for start, _ in sections)})
    for start, end in pairwise(edges):
        for span in _trimmed(text, [(start, end)]):
            yield from _divide(text, span, count, size, (r"\n\s*\n", r"\n"))


def _divide(text: str, span: Span, count: Callable[[str], int], size: int, separators: Sequence[str]) -> Iterator[Span]:
    start, end = span
    if count(text[start:end]) <= size:
        yield span
    elif separators:
        cuts = [match.start() + start for match in re.finditer(separators[0], text[start:end])]
        parts = list(_trimmed(text, zip([start, *cuts], [*cuts, end], strict=True)))
        divided = [piece for part in parts for piece in _divide(text, part, count, size, separators[1:])]
        yield from _merged(text, divided, count, size)
    else:
        from semchunk.semchunk import chunk as split

        offsets = cast(list[Span], split(text[start:end], size, count, memoize=False, offsets=True)[1])
        yield from _trimmed(text, [(start + first, start + last) for first, last in offsets])


def _merged(text: str, spans: Iterator[Span] | Sequence[Span], count: Callable[[str], int], size: int) -> list[Span]:
    """Neighbours put together while they fit, so that a heading or a short row is not a passage by itself."""
    merged: list[Span] = []
    for start, end in spans:
        if merged and count(text[merged[-1][0] : end]) <= size:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def _trimmed(text: str, spans: Iterator[Span] | Sequence[Span]) -> Iterator[Span]:
    for start, end in spans:
        piece = text[start:end]
        if kept := piece.strip():
            first = start + len(piece) - len(piece.lstrip())
            yield first, first + len(kept)
