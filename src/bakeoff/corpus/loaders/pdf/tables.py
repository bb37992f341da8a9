"""The text of a PDF page, that of its tables in the cells that its lines draw."""

from __future__ import annotations

import ctypes
from itertools import groupby
from typing import Any

import numpy as np
import pypdfium2.raw as pdfium

from bakeoff.corpus.loaders.pdf.columns import columns, stacks
from bakeoff.corpus.loaders.pdf.grids import BOXES, Floats, Grid, grids
from bakeoff.corpus.loaders.pdf.rows import LONG, Cell, Stretch, Table, table
from bakeoff.corpus.loaders.pdf.rules import SEGMENTS, SEGMENTS_OF_FILE, Matrix, rules, upright
from bakeoff.corpus.loaders.pdf.wrapping import joined, unbroken

CHARACTERS = 50_000
"""Of a page; the tables of one with more are read as text."""


class Reader:
    """Reads the pages of one file, one after the other: a table may go on overleaf."""

    def __init__(self) -> None:
        self._left = SEGMENTS_OF_FILE
        self._before: Table | None = None

    def text(self, page: Any, words: Any) -> str:
        """What stands on the page, the rows of its tables a line each."""
        parts: list[str] = []
        last = None
        for piece in self.pieces(page, words):
            if isinstance(piece, Table):
                parts += piece.lines()
                last = piece
            elif text := joined(piece):
                parts.append(text)
                last = last if len(text) < LONG else None  # only the foot of a page may stand between
        self._before = last
        return "\n".join(parts)

    def pieces(self, page: Any, words: Any) -> list[str | Table]:
        """The text in its order, and the tables where they stand."""
        drawn, edges, used = rules(page, min(SEGMENTS, self._left))
        self._left -= used
        found = grids(*drawn) or grids(*(np.concatenate(both) for both in zip(drawn, edges, strict=True)))
        rows_only = stacks(drawn[0], found)
        count = words.count_chars()
        if not (found or rows_only) or not 0 < count <= CHARACTERS:
            return [_read(words, range(count))]
        boxes = _boxes(words, upright(page))
        found += [grid for lines in rows_only if (grid := columns(lines, boxes)) is not None]
        runs = _runs(boxes, found)
        tables: dict[int, Table | None] = {-1: None}
        for number, grid in enumerate(found):
            inside = [(place % BOXES, text) for place, text in runs if place // BOXES == number]
            # Only the head of a page may stand between the two parts of a table.
            goes_on = bool(inside) and inside[0][1].start < LONG and not any(tables.values())
            tables[number] = table(grid, _cells(words, boxes, inside), self._before if goes_on else None)
        in_order: list[str | Table] = []
        for here, group in groupby(runs, lambda run: tables[run[0] // BOXES]):
            stretch = [characters for _, characters in group]
            if here is None:
                in_order.append(_read(words, range(stretch[0].start, stretch[-1].stop)))
            elif here not in in_order:
                in_order.append(here)
        return in_order


def _runs(boxes: Floats, found: list[Grid]) -> list[tuple[int, range]]:
    """Characters that stand together, with where: the grid's number times `BOXES` plus the cell; or -1."""
    left, bottom, right, top = boxes
    count = len(left)
    middles = np.column_stack([(left + right) / 2, (bottom + top) / 2])
    where = np.full(count, -1)
    # The widest first, so that a table in a cell of another keeps its text.
    for number in sorted(range(len(found)), key=lambda number: -float(np.ptp(found[number].xs))):
        cells = found[number].at(middles)
        where[cells >= 0] = number * BOXES + cells[cells >= 0]
    # White space stands nowhere, and a word may reach over a line: they go with what is before them.
    inked = (left < right) & (bottom < top)
    gap = np.maximum(left[1:] - right[:-1], left[:-1] - right[1:])
    level = (bottom[1:] < top[:-1]) & (bottom[:-1] < top[1:])
    placed = inked.copy()
    placed[1:] &= ~(inked[:-1] & level & (gap < (top - bottom)[1:] / 4))
    where = where[np.maximum.accumulate(np.where(placed, np.arange(count), 0))]
    starts = [0, *(np.flatnonzero(np.diff(where)) + 1).tolist()]
    return [(int(where[start]), range(start, end)) for start, end in zip(starts, [*starts[1:], count], strict=True)]


def _boxes(words: Any, turn: Matrix) -> Floats:
    """Left, bottom, right and top of each character, as it is shown."""
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    edges: list[float] = []
    for number in range(words.count_chars()):
        pdfium.FPDFText_GetCharBox(words, number, left, right, bottom, top)
        edges += (left.value, bottom.value, right.value, top.value)
    a, b, c, d, _, _ = turn
    x, y = np.array(edges).reshape(-1, 2, 2).transpose(2, 0, 1)
    corners = np.stack([x * a + y * c, x * b + y * d], axis=2)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).T


def _cells(words: Any, boxes: Floats, runs: list[tuple[int, range]]) -> dict[int, Cell]:
    cells: dict[int, Cell] = {}
    filled = ((number, here, text) for number, here in runs if (text := _read(words, here)).strip())
    for number, group in groupby(filled, lambda run: run[0]):
        stretch = list(group)
        start, stop = stretch[0][1].start, stretch[-1][1].stop
        text = " ".join(unbroken("\n".join(text for _, _, text in stretch)).split())
        cell = cells.setdefault(number, Cell([], _look(words, start)))
        _, bottom, _, top = boxes[:, start:stop]
        inked = bottom < top
        low, high = bottom.min(where=inked, initial=np.inf), top.max(where=inked, initial=-np.inf)
        cell.stretches.append(Stretch(start, text, float(low), float(high)))
    return cells


def _read(words: Any, characters: range) -> str:
    return str(words.get_text_range(characters.start, len(characters), errors="replace"))


def _look(words: Any, character: int) -> tuple[object, ...]:
    name, flags = ctypes.create_string_buffer(128), ctypes.c_int()
    colour = [ctypes.c_uint() for _ in range(4)]
    pdfium.FPDFText_GetFontInfo(words, character, name, len(name), flags)
    pdfium.FPDFText_GetFillColor(words, character, *colour)
    return name.value, round(pdfium.FPDFText_GetFontSize(words, character)), *(part.value for part in colour)
