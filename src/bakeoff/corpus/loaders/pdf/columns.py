"""Tables that have lines between their rows only: their columns are where the text leaves room from top to bottom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, takewhile

import numpy as np

from bakeoff.corpus.loaders.pdf.grids import BOXES, TOUCH, Floats, Grid, Numbers, connected, joined

LINES = 3
"""Above and below the headers, and below the rows; fewer lines of one width are no table."""
MOST = 1_000
"""On a page; more are a drawing."""
ROOM = 1.2
"""Times the height of letters: a space between words is half as wide, one between columns twice."""

Spans = list[tuple[float, float]]
"""From the left: where the stretches of one line of text begin and end."""


def stacks(across: Floats, found: Sequence[Grid]) -> list[Floats]:
    """Lines of one width above each other that no table has yet."""
    free = [line for line in joined(across)[: MOST + 1] if not any(_within(line, grid) for grid in found)]
    lines, stacks = np.array(free).reshape(-1, 3), []
    while LINES <= len(lines) <= MOST:
        alike = (np.abs(lines[:, 1:] - lines[0, 1:]) <= TOUCH).all(axis=1)
        if alike.sum() >= LINES:
            stacks.append(lines[alike])
        lines = lines[~alike]
    return stacks


def columns(lines: Floats, boxes: Floats) -> Grid | None:
    """The table between `lines` (position, start, end) of characters (left, bottom, right, top), if there is one."""
    ys, start, end = np.sort(lines[:, 0])[::-1], float(lines[:, 1].min()), float(lines[:, 2].max())
    left, bottom, right, top = boxes
    height = float(np.median(-np.diff(ys)))
    beside = (left < right) & (bottom < top) & (start <= left) & (right <= end)
    beside &= (ys[-1] - height < bottom) & (top < ys[0] + height)
    if not beside.any():
        return None
    room = ROOM * float(np.median((top - bottom)[beside]))
    texts = list(_texts(boxes[:, beside], room))
    inside = [spans for y, spans in texts if ys[-1] < y < ys[0]]
    gaps = list(_gaps(inside, room))
    if not gaps or len(ys) * len(gaps) > BOXES // 4 or sum(len(spans) > 1 for spans in inside) < len(inside) / 3:
        return None
    # The lines above the headers and below the last row are often left out.
    if len(ys) > LINES:
        above = _rows_outside([text for text in reversed(texts) if text[0] > ys[0]], gaps)
        below = _rows_outside([text for text in texts if text[0] < ys[-1]], gaps)
        ys = np.array([*(y + room for y in above), *ys, *(y - room for y in below)])
    return Grid(np.array([start, *gaps, end]), ys, _cells(ys, gaps, texts))


def _rows_outside(texts: Sequence[tuple[float, Spans]], gaps: Sequence[float]) -> list[float]:
    """The height of the outermost line of text that goes on with the columns, if there is one."""
    fitting = takewhile(lambda text: not _over(text[1], gaps), texts)
    return [y for y, spans in fitting if len(spans) > 1][-1:]


def _cells(ys: Floats, gaps: Sequence[float], texts: Sequence[tuple[float, Spans]]) -> Numbers:
    """Numbers of cells: two are one where most lines of text in their row reach over what parts them."""
    cells = np.arange((len(ys) - 1) * (len(gaps) + 1)).reshape(len(ys) - 1, -1)
    ones: list[int] = []
    for row, (above, below) in enumerate(pairwise(ys)):
        over = [gap for y, spans in texts if below < y < above for gap in _over(spans, gaps)]
        here = sum(below < y < above for y, _ in texts)
        ones += [cells[row, number] for number, gap in enumerate(gaps) if 2 * over.count(gap) > here]
    merged = np.array(ones, int)
    return connected(cells.size, merged, merged + 1).reshape(cells.shape)


def _over(spans: Spans, gaps: Sequence[float]) -> list[float]:
    """The gaps that some stretch of text reaches over."""
    return [gap for gap in gaps if any(first < gap < last for first, last in spans)]


def _within(line: Floats, grid: Grid) -> bool:
    y, start, end = line
    return bool(grid.ys[-1] - TOUCH <= y <= grid.ys[0] + TOUCH and start < grid.xs[-1] and grid.xs[0] < end)


def _texts(boxes: Floats, room: float) -> Iterator[tuple[float, Spans]]:
    """Lines of text, each with its height on the page."""
    left, bottom, right, top = boxes
    middle = (bottom + top) / 2
    order = np.argsort(-middle)
    for line in np.split(order, np.flatnonzero(-np.diff(middle[order]) > room / 3) + 1):
        spans: Spans = []
        for first, last in sorted(zip(left[line].tolist(), right[line].tolist(), strict=True)):
            if spans and first - spans[-1][1] < room:
                spans[-1] = spans[-1][0], max(spans[-1][1], last)
            else:
                spans.append((first, last))
        yield float(middle[line].mean()), spans


def _gaps(texts: Sequence[Spans], room: float) -> Iterator[float]:
    """Where next to nothing stands in any line: a header over many columns, the name of a group of rows."""
    allowed = len(texts) // 8 or len(texts) > 3
    edges = sorted((x, step) for spans in texts for span in spans for x, step in zip(span, (1, -1), strict=True))
    standing, since = 0, None
    for x, step in edges:
        before, standing = standing, standing + step
        if before > allowed >= standing:
            since = x
        elif standing > allowed >= before:
            if since is not None and x - since >= room:
                yield (since + x) / 2
            since = None
