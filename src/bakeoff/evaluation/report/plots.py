"""Geometry of the two plots: numbers in, coordinates out; the template draws them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

WIDTH, HEIGHT = 480, 320
"""Of the scatter plot, in user units, which are pixels on a wide screen."""
LEFT, RIGHT, TOP, BOTTOM = 46, 16, 14, 44
"""Its margins."""
LETTER = 6.4
"""Mean width of a letter of the 12-pixel labels; wide enough for every system font tried."""
SMALLEST, LARGEST = 4.0, 9.0
"""Radii of the dots."""

Anchor = Literal["start", "end"]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale with its ticks."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    """Position from 0 to 1, and label."""
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Position of `value`, from 0 at the low end to 1 at the high end."""
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = math.log10(max(value, low)), math.log10(low), math.log10(high)
        return min(1.0, max(0.0, (value - low) / (high - low)))


def quality_axis(values: Iterable[float]) -> Axis:
    """A linear axis over shares from 0 to 1, in round steps; it need not start at 0, since dots carry no area."""
    values = list(values) or [0.0, 1.0]
    step = next(step for step in (0.05, 0.1, 0.2) if max(values) - min(values) <= 6 * step or step == 0.2)
    low = max(0.0, math.floor(min(values) / step + 1e-9) * step)
    high = min(1.0, math.ceil(max(values) / step - 1e-9) * step)
    if high - low < step:
        low, high = max(0.0, low - step), min(1.0, high + step)
    count = round((high - low) / step)
    ticks = tuple((i / count, f"{100 * (low + i * step):.0f}") for i in range(count + 1))
    return Axis(low, high, ticks)


def log_axis(values: Iterable[float]) -> Axis:
    """A logarithmic axis with a margin around the values, ticked at 1, 2 and 5 of each decade, or sparser."""
    values = [max(value, 1e-4) for value in values] or [1.0]
    low, high = min(values) / 1.6, max(values) * 1.6
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    digits = (1, 2, 5) if high / low < 300 else (1,)
    span = math.log10(high / low)
    marks = [digit * 10.0**decade for decade in decades for digit in digits]
    ticks = tuple((math.log10(mark / low) / span, f"{mark:g}") for mark in marks if low <= mark <= high)
    return Axis(low, high, ticks, logarithmic=True)


@dataclass(frozen=True, slots=True)
class Point:
    """A system in the plane of quality and cost, in user units."""

    name: str
    x: float
    y: float
    y_low: float
    y_high: float
    radius: float
    on_frontier: bool
    label: str
    label_x: float
    label_y: float
    anchor: Anchor
    leader: bool
    """Whether the label stands so far off that a line must join it to its dot."""


@dataclass(frozen=True, slots=True)
class Scatter:
    """Quality against cost."""

    x_axis: Axis
    y_axis: Axis
    points: tuple[Point, ...]
    frontier: str
    """SVG points of the steps below which every system is dominated."""


def x_of(position: float) -> float:
    """User units of a position on the x axis."""
    return round(LEFT + position * (WIDTH - LEFT - RIGHT), 1)


def y_of(position: float) -> float:
    """User units of a position on the y axis, which grows upwards."""
    return round(HEIGHT - BOTTOM - position * (HEIGHT - TOP - BOTTOM), 1)


def scatter(systems: Sequence[tuple[str, float, float, float, float, float]]) -> Scatter:
    """Place (name, cost, quality, low, high, size) of each system; labels avoid dots, bars and one another.

    The area of a dot grows with its size, up to that of the largest.
    """
    x_axis = log_axis(cost for _, cost, *_ in systems)
    y_axis = quality_axis(value for _, _, *values, _ in systems for value in values)
    bars = [
        (x_of(x_axis.at(cost)), y_of(y_axis.at(quality)), y_of(y_axis.at(low)), y_of(y_axis.at(high)))
        for _, cost, quality, low, high, _ in systems
    ]
    largest = max((size for *_, size in systems), default=0.0) or 1.0
    radii = [round(max(SMALLEST, LARGEST * math.sqrt(size / largest)), 1) for *_, size in systems]
    best = frontier([(cost, quality) for _, cost, quality, *_ in systems])
    taken: list[Box] = [(x - r - 2, y - r - 2, x + r + 2, y + r + 2) for (x, y, *_), r in zip(bars, radii, strict=True)]
    taken += [(x - 2, y_high, x + 2, y_low) for x, _, y_low, y_high in bars]
    points = []
    for i, (name, *_) in enumerate(systems):
        x, y, y_low, y_high = bars[i]
        text = name if len(name) <= 22 else name[:21] + "…"
        label_x, label_y, anchor, leader = _place(x, y, radii[i] + 4, len(text) * LETTER, taken)
        points.append(Point(name, x, y, y_low, y_high, radii[i], i in best, text, label_x, label_y, anchor, leader))
    return Scatter(x_axis, y_axis, tuple(points), _steps(sorted((bars[i][0], bars[i][1]) for i in best)))


def frontier(systems: Sequence[tuple[float, float]]) -> set[int]:
    """Indices of the (cost, quality) pairs that no other pair beats on one side without losing on the other."""
    return {
        i
        for i, (cost, quality) in enumerate(systems)
        if not any(c <= cost and q >= quality and (c, q) != (cost, quality) for c, q in systems)
    }


def _steps(corners: Sequence[tuple[float, float]]) -> str:
    """A staircase through `corners`, left to right, from the bottom of the plot to its right edge."""
    if not corners:
        return ""
    path = [(corners[0][0], y_of(0))]
    for x, y in corners:
        path += [(x, path[-1][1]), (x, y)]
    path.append((x_of(1), path[-1][1]))
    return " ".join(f"{x:g},{y:g}" for x, y in path)


def _place(x: float, y: float, gap: float, width: float, taken: list[Box]) -> tuple[float, float, Anchor, bool]:
    """Where the label of the dot at (x, y) overlaps least, as in the last fields of `Point`; its box joins `taken`."""
    sides: tuple[tuple[Anchor, float, float], ...] = (("start", x + gap, x + gap), ("end", x - gap - width, x - gap))
    candidates = []
    for rank, offset in enumerate((0, -14, 14, -28, 28, -44, 44, -60, 60)):
        for anchor, left, edge in sides:
            box = (left, y + offset - 8, left + width, y + offset + 8)
            cost = 0.5 * rank + sum(_overlap(box, other) for other in taken) + 100 * _outside(box)
            place = (round(edge, 1), round(y + offset + 4, 1), anchor, abs(offset) > 14)
            candidates.append((cost, box, place))
    _, box, place = min(candidates, key=lambda candidate: candidate[0])
    taken.append(box)
    return place


def _overlap(a: Box, b: Box) -> float:
    """Shared area."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _outside(box: Box) -> float:
    """How far `box` leaves the frame."""
    return max(0, LEFT - box[0]) + max(0, TOP - 6 - box[1]) + max(0, box[2] - WIDTH) + max(0, box[3] - y_of(0))
