"""Find the tables that ruled lines make: pure geometry, in points, x to the right and y upwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOUCH = 3.0
"""Lines that are no further apart are one line, or meet; the smallest print has its lines 6 points apart."""
LINES = 1_000
"""In one direction on a page; more are a drawing."""
BOXES = 10_000
"""Rows times columns of a table."""

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows and columns, and in `cells[row, column]` a number, the same one over all that a cell spans."""

    xs: Floats
    """Borders of columns, from the left."""
    ys: Floats
    """Borders of rows, from the top."""
    cells: Numbers

    def at(self, points: Floats) -> Numbers:
        """The cell in which each point (x, y) lies, -1 outside."""
        columns = np.searchsorted(self.xs, points[:, 0]) - 1
        rows = np.searchsorted(-self.ys, -points[:, 1]) - 1
        inside = (columns >= 0) & (columns < len(self.xs) - 1) & (rows >= 0) & (rows < len(self.ys) - 1)
        return np.where(inside, self.cells[rows * inside, columns * inside], -1)


def grids(horizontal: Floats, vertical: Floats) -> list[Grid]:
    """The tables of at least two columns among lines (position, start, end)."""
    horizontal, vertical = joined(horizontal), joined(vertical)
    if not 0 < len(horizontal) <= LINES or not 0 < len(vertical) <= LINES:
        return []
    found = [_grid(across, up) for across, up in _crossing(horizontal, vertical)]
    return [grid for grid in found if grid is not None]


def joined(lines: Floats) -> Floats:
    """Lines in one place as one, and the pieces of a line as one."""
    if not len(lines):
        return lines
    lines = lines[np.argsort(lines[:, 0])]
    group = np.cumsum(np.diff(lines[:, 0], prepend=lines[0, 0]) > TOUCH)
    place = (np.bincount(group, lines[:, 0]) / np.bincount(group))[group]
    order = np.lexsort((lines[:, 1], group))
    joined: list[list[float]] = []
    for position, start, end in np.column_stack([place, lines[:, 1:]])[order].tolist():
        if joined and position == joined[-1][0] and start <= joined[-1][2] + TOUCH:
            joined[-1][2] = max(joined[-1][2], end)
        else:
            joined.append([position, start, end])
    return np.array(joined)


def _crossing(horizontal: Floats, vertical: Floats) -> Iterator[tuple[Floats, Floats]]:
    """The lines of each set that hangs together, horizontal and vertical."""
    (y, x0, x1), (x, y0, y1) = horizontal.T[:, :, None], vertical.T[:, None, :]
    across, up = np.nonzero((x0 <= x + TOUCH) & (x <= x1 + TOUCH) & (y0 <= y + TOUCH) & (y <= y1 + TOUCH))
    sets = connected(len(horizontal) + len(vertical), across, up + len(horizontal))
    for number in np.unique(sets[across]):
        yield horizontal[sets[: len(horizontal)] == number], vertical[sets[len(horizontal) :] == number]


def connected(count: int, ones: Numbers, others: Numbers) -> Numbers:
    """For each of `count` things the first of those it hangs together with. scipy's takes 0.3 s to import."""
    sets = np.arange(count)
    while True:
        least = np.minimum(sets[ones], sets[others])
        before = sets.copy()
        np.minimum.at(sets, ones, least)
        np.minimum.at(sets, others, least)
        sets = sets[sets]
        if (sets == before).all():
            return sets


def _grid(horizontal: Floats, vertical: Floats) -> Grid | None:
    # The outer borders are often left out: then the ends of the lines stand for them.
    xs = _places([*vertical[:, 0], horizontal[:, 1].min(), horizontal[:, 2].max()])
    ys = _places([*horizontal[:, 0], vertical[:, 1].min(), vertical[:, 2].max()])[::-1]
    rows, columns = len(ys) - 1, len(xs) - 1
    if rows < 1 or columns < 2 or rows * columns > BOXES:
        return None
    walls = _drawn(vertical, xs[1:-1], (ys[:-1] + ys[1:]) / 2).T
    floors = _drawn(horizontal, ys[1:-1], (xs[:-1] + xs[1:]) / 2)
    boxes = np.arange(rows * columns).reshape(rows, columns)
    ones = np.concatenate([boxes[:, :-1][~walls], boxes[:-1][~floors]])
    others = np.concatenate([boxes[:, 1:][~walls], boxes[1:][~floors]])
    return Grid(xs, ys, connected(boxes.size, ones, others).reshape(boxes.shape))


def _places(positions: list[float]) -> Floats:
    places = np.sort(positions)
    return places[np.diff(places, prepend=-np.inf) > TOUCH]


def _drawn(lines: Floats, places: Floats, middles: Floats) -> NDArray[np.bool_]:
    """Whether a line runs in each place past each middle."""
    place, start, end = lines.T[:, :, None]
    near = np.abs(place - places) <= TOUCH
    past = (start <= middles) & (middles <= end)
    return np.asarray(near.T.astype(np.float32) @ past.astype(np.float32) > 0)
