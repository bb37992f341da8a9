"""File formats, one file each: `SUFFIXES`, `VERSION` and `load(path) -> Loaded`.

A loader runs in a process with limits (`corpus/parsing.py`), so it need not fear its input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a loader read from one file."""

    text: str
    title: str = ""
    pages: tuple[int, ...] = ()
    """Offset at which each page starts."""
    sections: tuple[tuple[int, str], ...] = ()
    """(offset, heading path) in order, as in (120, "Travel policy > Hotels")."""
    places: tuple[tuple[int, str], ...] = ()
    """(offset, where that is in the file) in order, as in (120, "Prices!A7:F7")."""
    unread: tuple[str, ...] = ()
    """What could not be read, in words, as in "page 3 holds no text"."""


class Outline:
    """Builds text piece by piece and remembers where sections and pages start."""

    def __init__(self, title: str = "") -> None:
        self.title = title
        self._parts: list[str] = []
        self._length = 0
        self._path: list[tuple[int, str]] = []
        self._sections: list[tuple[int, str]] = []
        self._pages: list[int] = []
        self._places: list[tuple[int, str]] = []
        self._unread: list[str] = []

    def heading(self, level: int, text: str) -> None:
        """A heading of level 1 to 6; deeper open headings are closed."""
        self.section(level, text)
        self.add(text)

    def section(self, level: int, text: str) -> None:
        """A section that starts here, without a line of its own."""
        self._path = [entry for entry in self._path if entry[0] < level] + [(level, text)]
        self._sections.append((self._length, " > ".join(text for _, text in self._path)))
        self.title = self.title or text

    def page(self) -> None:
        """A page starts here."""
        self._pages.append(self._length)

    def skip(self, what: str) -> None:
        """Something that is not read, in words."""
        self._unread.append(what)

    def add(self, text: str, place: str = "") -> None:
        """A paragraph, or a row and its `place` in the file."""
        if text := text.strip():
            if place:
                self._places.append((self._length, place))
            self._parts.append(text)
            self._length += len(text) + 1

    def loaded(self) -> Loaded:
        """What was built."""
        text = "\n".join(self._parts)
        found = (self._pages, self._sections, self._places, self._unread)
        return Loaded(text, self.title, *map(tuple, found))  # type: ignore[arg-type]


def row(headers: Sequence[str], cells: Sequence[str]) -> str:
    """A table row that a model can read by itself: `Lamp: Titan; Price: 40 crowns`."""
    named = headers[: len(cells)]  # cells beyond the last header have none
    pairs = [(header, cell) for header, cell in zip_longest(named, cells, fillvalue="") if cell.strip()]
    return "; ".join(f"{header}: {cell}" if header else cell for header, cell in pairs)


def _filled(cells: Sequence[str]) -> int:
    return sum(map(bool, cells))


def _heads(cells: Sequence[str]) -> bool:
    """Whether they may be headers: several, and no bare number."""
    return _filled(cells) > 1 and not any(cell and not cell.strip("0123456789.,%-+ ") for cell in cells)


def table(outline: Outline, rows: Sequence[Sequence[str]], places: Sequence[str] = ()) -> None:
    """Add a table whose first row that is filled holds the headers; `places` says where each row stands.

    A single cell above a row of several, none of them a number, is the table's title.
    """
    cleaned = [[" ".join(cell.split()) for cell in cells] for cells in rows]
    filled = [(cells, place) for cells, place in zip_longest(cleaned, places, fillvalue="") if any(cells)]
    if len(filled) > 2 and _filled(filled[0][0]) == 1 and _heads(filled[1][0]) and _filled(filled[2][0]) > 1:
        (title, place), *filled = filled
        outline.add("".join(title), place)
    if len(filled) == 1:
        outline.add("; ".join(cell for cell in filled[0][0] if cell), filled[0][1])
    for cells, place in filled[1:]:
        outline.add(row(filled[0][0], cells), place)
