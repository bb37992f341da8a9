"""What the page says, from top to bottom, ready to be set; the template adds only form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bakeoff.evaluation.report import numbers
from bakeoff.evaluation.report.explorer import explorer
from bakeoff.evaluation.report.plots import Axis, Scatter, quality_axis, scatter
from bakeoff.evaluation.report.scorecard import Cell, Column, cells, columns, interval

if TYPE_CHECKING:
    from bakeoff.evaluation.compare import Comparison, Row
    from bakeoff.evaluation.recommend import Recommendation

MEANINGS = {
    "CLEAR": (3, "the data settle it"),
    "LEAN": (2, "more likely than not; more questions would firm it up"),
    "UNDECIDED": (1, "the data do not settle it"),
}
"""Confidence -> (marks of the meter, words)."""


@dataclass(frozen=True, slots=True)
class Line:
    """A system."""

    name: str
    tag: str
    """What stands beside its name: `recommended` or `baseline`."""
    in_best_set: bool
    at: tuple[float, float, float] | None
    """Positions of estimate, low and high on the quality axis, from 0 to 1."""
    quality: Cell
    difference: Cell
    cells: list[Cell]
    """In the order of the scorecard's columns."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A kind of question; `cells` holds text and depth of colour from 0 to 9, in the order of the lines."""

    kind: str
    n: int
    cells: list[tuple[str, int | None]]


@dataclass(frozen=True, slots=True)
class Page:
    """The whole report."""

    verdict: str
    confidence: str
    sureness: int
    """Marks of the confidence meter, 1 to 3."""
    meaning: str
    reasons: Sequence[str]
    flips: Sequence[str]
    scope: str
    """What was asked, in a few words."""
    primary: str
    baseline: str
    lines: list[Line]
    axis: Axis
    baseline_at: float | None
    scatter: Scatter
    columns: list[Column]
    slices: list[Slice]
    provenance: list[tuple[str, str]]
    explorer: dict[str, Any]
