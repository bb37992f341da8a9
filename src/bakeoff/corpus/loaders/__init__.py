"""File formats, one file each: `SUFFIXES`, `VERSION` and `load(path) -> Loaded`.

A loader runs in a process with limits (`corpus/parsing.py`), so it need not fear its input.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a loader read from one file."""

    text: str
    title: str = ""
    pages: tuple[int, ...] = ()
    """Offset at which each page starts."""
    sections: tuple[tuple[int, str], ...] = ()
    """(offset, heading path) in order, as in (120, "Travel policy > Hotels")."""


class Outline:
    """Builds text piece by piece and remembers where sections and pages start."""

    def __init__(self, title: str = "") -> None:
        self.title = title
        self._parts: list[str] = []
        self._length = 0
        self._path: list[tuple[int, str]] = []
        self._sections: list[tuple[int, str]] = []
        self._pages: list[int] = []

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

    def add(self, text: str) -> None:
        """A paragraph or a row."""
        if text := text.strip():
            self._parts.append(text)
            self._length += len(text) + 1

    def loaded(self) -> Loaded:
        """What was built."""
        return Loaded("\n".join(self._parts), self.title, tuple(self._pages), tuple(self._sections))


def row(headers: list[str], cells: list[str]) -> str:
    """A table row that a model can read by itself: `Lamp: Titan; Price: 40 crowns`."""
    pairs = [(header, cell) for header, cell in zip(headers, cells, strict=False) if cell.strip()]
    return "; ".join(f"{header}: {cell}" if header else cell for header, cell in pairs)


def table(outline: Outline, rows: list[list[str]]) -> None:
    """Add a table whose first row that is filled holds the headers."""
    filled = [[" ".join(cell.split()) for cell in cells] for cells in rows if any(cell.strip() for cell in cells)]
    if len(filled) == 1:
        outline.add("; ".join(cell for cell in filled[0] if cell))
    for cells in filled[1:]:
        outline.add(row(filled[0], cells))
