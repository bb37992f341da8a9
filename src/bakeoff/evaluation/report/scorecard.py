"""The scorecard: one row of cells per system, shared by the page and the Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bakeoff.evaluation.report import numbers
from bakeoff.types import Trial

if TYPE_CHECKING:
    from bakeoff.evaluation.compare import Comparison, Row
    from bakeoff.evaluation.stats import Interval


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of every system; neighbours of one group share a heading."""

    group: str
    title: str
    unit: str = ""
    first: bool = False
    """Whether it opens its group."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure, what stands small below it, and whether it is bad news."""

    text: str
    detail: str = ""
    bad: bool = False

    def __str__(self) -> str:
        return f"{self.text} {self.detail}".strip()


def interval(value: Interval | None, sign: bool = False) -> Cell:
    """`71.2 [63.0, 78.2]`."""
    if value is None:
        return Cell(numbers.NONE)
    return Cell(numbers.percent(value.estimate, sign), numbers.span(value.low, value.high, sign))


def columns(comparison: Comparison) -> list[Column]:
    """What the scorecard tells of each system."""
    return [
        Column("Quality", "right", "% [95%]", first=True),
        *(Column("Quality", metric, "mean [95%]") for metric in comparison.metrics),
        Column("Behaviour", "rightly declined", "of unanswerable", first=True),
        Column("Behaviour", "wrongly declined", "of answerable"),
        Column("Behaviour", "failed", "of all"),
        Column("Behaviour", "cited", "% of answers"),
        Column("Latency", "p50", first=True),
        Column("Latency", "p95"),
        Column("Cost per question", "prompt", "tokens", first=True),
        Column("Cost per question", "output", "tokens"),
        Column("Cost per question", "together", "prompt-token equivalents"),
        Column("Cost per question", "memory", "peak"),
    ]


def cells(comparison: Comparison, row: Row) -> list[Cell]:
    """The figures of one system, in the order of `columns`."""
    trials = [trial for trial in comparison.trials if trial.system == row.system]
    return [
        interval(row.accuracy),
        *(interval(row.metrics[metric]) for metric in comparison.metrics),
        *_declined(comparison, trials),
        Cell(f"{row.errors}", bad=row.errors > 0),
        _cited(trials),
        Cell(numbers.seconds(row.p50)),
        Cell(numbers.seconds(row.p95)),
        Cell(numbers.count(row.prompt_tokens)),
        Cell(numbers.count(row.output_tokens)),
        Cell(numbers.count(row.cost)),
        Cell(numbers.NONE),
    ]


def _declined(comparison: Comparison, trials: Sequence[Trial]) -> tuple[Cell, Cell]:
    """Right refusals of the unanswerable questions, and wrong ones of the answerable."""
    counts = []
    for answerable in (False, True):
        asked = [trial for trial in trials if comparison.examples[trial.example_id].answerable is answerable]
        declined = sum(trial.answer.outcome == "abstained" for trial in asked)
        counts.append(Cell(f"{declined} of {len(asked)}") if asked else Cell(numbers.NONE))
    return counts[0], counts[1]


def _cited(trials: Sequence[Trial]) -> Cell:
    """Share of given answers with a citation; `-` for a system that never shows passages."""
    if not any(trial.answer.hits for trial in trials):
        return Cell(numbers.NONE)
    given = [trial for trial in trials if trial.answer.outcome in ("answered", "fallback")]
    removed = sum(trial.answer.removed_citations for trial in trials)
    share = sum(bool(trial.answer.citations) for trial in given) / len(given) if given else None
    return Cell(numbers.percent(share), f"{removed} false marks" if removed else "", bad=False)
