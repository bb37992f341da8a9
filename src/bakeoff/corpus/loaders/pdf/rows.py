"""Rows and headers of a table, once its cells and their text are known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bakeoff.corpus.loaders import row
from bakeoff.corpus.loaders.pdf.grids import TOUCH, Floats, Grid

LONG = 300
"""Characters from which on a cell is framed text rather than a value."""
HEADER_ROWS = 3
HEADER_LENGTH = 80

Row = list[tuple[int, str]]
"""(column, text) of each cell, from the left."""


@dataclass(frozen=True, slots=True, order=True)
class Stretch:
    """Of text in a cell, which the file writes without a word elsewhere between."""

    start: int
    """Its place in the file."""
    text: str
    bottom: float
    top: float


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in it."""

    stretches: list[Stretch]
    look: tuple[object, ...]
    """Font, size and colour of the first letter."""

    def __str__(self) -> str:
        return " ".join(stretch.text for stretch in self.stretches)


Cells = Mapping[int, Cell]
"""Those that hold text, by their number in the grid."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows that read by themselves once their headers are known."""

    borders: Floats
    """Of the columns, as they are shown."""
    headers: list[str]
    """Of each column; none where they are not known."""
    rows: list[Row]

    def lines(self) -> list[str]:
        """A line a row, as in other formats; without headers `label: value` where the row reads so."""
        return [self._line(cells) for cells in self.rows]

    def _line(self, cells: Row) -> str:
        texts = [text for _, text in cells]
        if self.headers and len(cells) > 1:
            return row([self.headers[column] for column, _ in cells], texts)
        if len(cells) == 2 == len(self.borders) - 1 and all(texts):
            return f"{texts[0].rstrip(':')}: {texts[1]}"
        after = [*texts[1:], ""]
        ends = (" " if text.endswith(":") and next else "; " for text, next in zip(texts, after, strict=True))
        return "".join(text + end for text, end in zip(texts, ends, strict=True) if text).rstrip("; ")


def table(grid: Grid, cells: Cells, before: Table | None = None) -> Table | None:
    """What stands in `grid`; without headers of its own it goes on with those of `before`, if its columns are the same.

    None where the lines frame text rather than hold rows: the page then reads better as it is.
    """
    if _frames(grid, cells):
        return None
    top, depth = _header(grid, cells)
    headers = [_heading(column, cells) for column in grid.cells[top : top + depth].T.tolist()] if depth else []
    titles = [line for number in range(top) for line in _rows(grid, number, cells)]
    rows = [line for number in range(top + depth, len(grid.cells)) for line in _rows(grid, number, cells)]
    goes_on = before is not None and not headers and _same(before.borders, grid.xs)
    filled = sum(sum(bool(text) for _, text in line) > 1 for line in rows)
    if filled + (bool(headers) or goes_on) < 2:
        return None
    if {*headers} - {headers[column] for line in rows for column, text in line if text and headers} - {""}:
        titles.append([(0, "; ".join(filter(None, dict.fromkeys(headers))))])  # or a header without values is lost
    return Table(grid.xs, before.headers if before is not None and goes_on else headers, titles + rows)


def _frames(grid: Grid, cells: Cells) -> bool:
    """Whether the text runs across tall cells line by line, or stands in cells like a page in its margins."""
    shown = [set(line) & set(cells) for line in grid.cells.tolist()]
    tall = set[int]().union(*(line & after for line, after in pairwise(shown)))
    lengths = [len(str(cell)) for cell in cells.values()]
    long = sum(length for length in lengths if length > LONG)
    return any(len(cells[number].stretches) > 1 for number in tall) or 2 * long > sum(lengths)


def _same(borders: Floats, others: Floats) -> bool:
    return len(borders) == len(others) and bool(np.abs(borders - others).max() <= TOUCH)


def _rows(grid: Grid, number: int, cells: Cells) -> Iterator[Row]:
    """The rows of a line of cells: more than one where the text goes back and forth between cells."""
    line = grid.cells[number].tolist()
    columns = {cell: line.index(cell) for cell in dict.fromkeys(line)}
    starting = set(line) - set(grid.cells[number - 1].tolist() if number else ())
    if not starting & set(cells):
        return
    # A short value that spans rows belongs to each of them, a long one to the first.
    here = {
        cell: cells[cell] for cell in columns if cell in cells and (cell in starting or len(str(cells[cell])) <= LONG)
    }
    if sum(len(cell.stretches) > 1 for cell in here.values()) < 2:
        yield [(column, str(here.get(cell, ""))) for cell, column in columns.items()]
        return
    for part in _parts(here):
        yield [(column, part.get(cell, "")) for cell, column in columns.items()]


def _parts(cells: Cells) -> Iterator[dict[int, str]]:
    """Cell -> text of each row, in the order of the file: a row ends where a cell comes again, or below all of it.

    A cell that is empty in a row stays so: the value beside it belongs to another row.
    """
    part: dict[int, str] = {}
    low, high = math.inf, -math.inf
    for stretch, cell in sorted((stretch, number) for number in cells for stretch in cells[number].stretches):
        if part and (cell in part or stretch.top < low or stretch.bottom > high):
            yield part
            part, low, high = {}, math.inf, -math.inf
        part[cell] = stretch.text
        low, high = min(low, stretch.bottom), max(high, stretch.top)
    yield part


def _header(grid: Grid, cells: Cells) -> tuple[int, int]:
    """The first row of headers, after titles over the whole width, and their number: 0 where none are known.

    Headers look unlike the cells below them, have nothing above the first column, or are words above a column of
    numbers. Of the first column nothing is learnt: it often looks like a header all the way down.
    """
    lines, width = grid.cells.tolist(), len(grid.xs) - 1
    top = next((number for number, line in enumerate(lines) if len(set(line)) > 1), 0)
    beside = [[cells[cell] for cell in dict.fromkeys(line[1:]) if cell in cells and cell != line[0]] for line in lines]
    looks = Counter(cell.look for line in beside[top + 1 :] for cell in line)
    if not looks or not beside[top] or max(len(str(cell)) for cell in beside[top]) > HEADER_LENGTH:
        return top, 0
    usual = looks.most_common(1)[0][0]
    depth = 0
    for line in beside[top : top + HEADER_ROWS]:
        if not line or any(cell.look == usual for cell in line):
            break
        depth += 1
    crossed = lines[top][0] not in cells and len(beside[top]) == len(set(lines[top])) - 1 > 1
    same = len({cell.look for cell in beside[top]}) == 1
    if not depth and same and (crossed or any(_counts(grid, cells, top, column) for column in range(1, width))):
        depth = 1
    spanned = sum(bool(set(lines[top]) & set(line) & set(cells)) for line in lines[top : top + HEADER_ROWS])
    return top, max(depth, spanned) if depth else 0


def _counts(grid: Grid, cells: Cells, top: int, column: int) -> bool:
    """Whether words stand above at least two numbers, and nothing else."""
    head, *below = [str(cells.get(cell, "")) for cell in dict.fromkeys(grid.cells[top:, column].tolist())]
    filled = [text for text in below if text]
    return bool(head) and not any(map(str.isdigit, head)) and len(filled) > 1 and all(map(_is_number, filled))


def _is_number(text: str) -> bool:
    return 2 * sum(map(str.isdigit, text)) > len(text.replace(" ", ""))


def _heading(column: list[int], cells: Cells) -> str:
    """The header cells above a column, from the top, each once."""
    return " ".join(str(cells[cell]) for cell in dict.fromkeys(column) if cell in cells)
