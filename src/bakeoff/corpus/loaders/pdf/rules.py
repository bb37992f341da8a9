"""The straight lines that a PDF page draws, as PDFium knows them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pypdfium2.raw as pdfium

from bakeoff.corpus.loaders.pdf.grids import TOUCH, Floats

OBJECTS = 20_000
"""On a page; one with more, or with longer paths, is a drawing, and its lines are not looked at."""
SEGMENTS = 20_000
SEGMENTS_OF_FILE = 500_000
"""They take 3 s; the tables of later pages are read as text, so that an atlas is read at all."""
NESTED = 4

Lines = tuple[Floats, Floats]
"""Horizontal and vertical ones: (position, start, end) each."""
Point = tuple[float, float]
Matrix = tuple[float, float, float, float, float, float]
"""x' = ax + cy + e, y' = bx + dy + f."""


def upright(page: Any) -> Matrix:
    """Turns the page as it is shown."""
    cosine, sine = ((1, 0), (0, -1), (-1, 0), (0, 1))[page.get_rotation() // 90]
    return cosine, sine, -sine, cosine, 0, 0


def rules(page: Any, most: int = SEGMENTS) -> tuple[Lines, Lines, int]:
    """What is drawn as lines, the edges of coloured areas, and how many segments of paths that took."""
    drawn: list[tuple[Point, Point]] = []
    edges: list[tuple[Point, Point]] = []
    filled, stroked = ctypes.c_int(), ctypes.c_int()
    used = 0
    for path, matrix in _paths(page):
        used += pdfium.FPDFPath_CountSegments(path)
        if used > most:
            return _straight([]), _straight([]), most
        pdfium.FPDFPath_GetDrawMode(path, filled, stroked)
        if not filled.value and not stroked.value:
            continue
        for points in _outlines(path, matrix):
            (x0, x1), (y0, y1) = ((min(places), max(places)) for places in zip(*points, strict=True))
            if y1 - y0 <= TOUCH:  # a line, or an area as thin as one
                drawn.append(((x0, (y0 + y1) / 2), (x1, (y0 + y1) / 2)))
            elif x1 - x0 <= TOUCH:
                drawn.append((((x0 + x1) / 2, y0), ((x0 + x1) / 2, y1)))
            elif stroked.value:
                drawn += pairwise(points)
            elif not _white(path):
                edges += pairwise(points)
    return _straight(drawn), _straight(edges), used


def _paths(page: Any) -> Iterator[tuple[Any, Matrix]]:
    """Paths, also those inside forms, each with the matrix that brings it onto the page."""
    forms = [(page.raw, pdfium.FPDFPage_CountObjects, pdfium.FPDFPage_GetObject, upright(page), 0)]
    kind_of, left = pdfium.FPDFPageObj_GetType, OBJECTS
    for holder, count, get, matrix, depth in forms:
        number = count(holder)
        left -= number
        for index in range(number if left >= 0 else 0):
            thing = get(holder, index)
            kind = kind_of(thing)
            if kind == pdfium.FPDF_PAGEOBJ_PATH:
                yield thing, _times(thing, matrix)
            elif kind == pdfium.FPDF_PAGEOBJ_FORM and depth < NESTED:
                inside = pdfium.FPDFFormObj_CountObjects, pdfium.FPDFFormObj_GetObject
                forms.append((thing, *inside, _times(thing, matrix), depth + 1))


def _times(thing: Any, outer: Matrix) -> Matrix:
    """The matrix of `thing`, and after it `outer`."""
    own = pdfium.FS_MATRIX()
    pdfium.FPDFPageObj_GetMatrix(thing, own)
    a, b, c, d, e, f = outer
    first = own.a * a + own.b * c, own.a * b + own.b * d, own.c * a + own.d * c, own.c * b + own.d * d
    return *first, own.e * a + own.f * c + e, own.e * b + own.f * d + f


def _outlines(path: Any, matrix: Matrix) -> Iterator[list[Point]]:
    """The corners of each outline of `path`; of a curve the points that shape it."""
    outlines: list[list[Point]] = []
    x, y = ctypes.c_float(), ctypes.c_float()
    a, b, c, d, e, f = matrix
    for number in range(pdfium.FPDFPath_CountSegments(path)):
        segment = pdfium.FPDFPath_GetPathSegment(path, number)
        pdfium.FPDFPathSegment_GetPoint(segment, x, y)
        if pdfium.FPDFPathSegment_GetType(segment) == pdfium.FPDF_SEGMENT_MOVETO or not outlines:
            outlines.append([])
        outlines[-1].append((x.value * a + y.value * c + e, x.value * b + y.value * d + f))
        if pdfium.FPDFPathSegment_GetClose(segment):
            outlines[-1].append(outlines[-1][0])
    return (outline for outline in outlines if len(outline) > 1)


def _white(path: Any) -> bool:
    """An area without colour is a background rather than a cell."""
    red, green, blue, alpha = (ctypes.c_uint() for _ in range(4))
    pdfium.FPDFPageObj_GetFillColor(path, red, green, blue, alpha)
    return min(red.value, green.value, blue.value) >= 250 or not alpha.value


def _straight(pieces: list[tuple[Point, Point]]) -> Lines:
    """The level and the upright ones."""
    ((xa, ya), (xb, yb)) = np.array(pieces, float).reshape(-1, 2, 2).transpose(1, 2, 0)
    level, steep = np.abs(ya - yb) < 1, np.abs(xa - xb) < 1
    across = np.column_stack([(ya + yb) / 2, np.minimum(xa, xb), np.maximum(xa, xb)])
    up = np.column_stack([(xa + xb) / 2, np.minimum(ya, yb), np.maximum(ya, yb)])
    return across[level & ~steep], up[steep & ~level]
