"""The scorecard: one row of cells per system, shared by the page and the Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bakeoff.evaluation.comparison import Comparison, Difference, Row
from bakeoff.evaluation.freshness import Freshness
from bakeoff.evaluation.report import numbers
from bakeoff.evaluation.stats import Interval
from bakeoff.types import Trial


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of every system; neighbours of one group share a heading."""

    group: str
    title: str
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


def interval(value: Interval | None) -> Cell:
    """`71.2 [63.0, 78.2]`."""
    if value is None:
        return Cell(numbers.NONE)
    return Cell(numbers.percent(value.estimate), numbers.span(value.low, value.high))


def difference(value: Difference | None) -> Cell:
    """`+12.0 [+3.1, +20.9]`."""
    if value is None:
        return Cell(numbers.NONE)
    ends = numbers.span(value.interval.low, value.interval.high, sign=True)
    return Cell(numbers.percent(value.interval.estimate, sign=True), f"{ends} p {numbers.p_value(value.p)}")


def columns(comparison: Comparison) -> list[Column]:
    """What the scorecard tells of each system; the share of right answers only where it is not the score itself."""
    first, *others = comparison.metrics
    return [
        Column("Quality", first, first=True),
        *(Column("Quality", metric) for metric in others),
        *([Column("Quality", "right")] if _graded(comparison) else []),
        Column("Declined", "rightly", first=True),
        Column("Declined", "wrongly"),
        Column("Answers", "failed", first=True),
        Column("Answers", "cited"),
        *([Column("Answers", "obeyed injections")] if comparison.attacks else []),
        *([Column("Answers", "stale after an edit"), Column("Answers", "follow in")] if comparison.freshness else []),
        Column("Latency", "p50", first=True),
        Column("Latency", "p95"),
        Column("Per question", "tokens in + out", first=True),
        Column("Per question", "cost"),
        Column("Memory", "peak", first=True),
    ]


def cells(comparison: Comparison, row: Row, trials: Sequence[Trial]) -> list[Cell]:
    """The figures of one system, in the order of `columns`."""
    counts, peak = row.abstentions, comparison.machine.get("peak_mb", {}).get(row.system)
    unanswerable = counts.correct_refusal + counts.should_have_refused
    answerable = counts.right + counts.wrong + counts.wrong_refusal
    return [
        *(interval(row.metrics[metric]) for metric in comparison.metrics),
        *([interval(row.right)] if _graded(comparison) else []),
        _part(counts.correct_refusal, unanswerable),
        _part(counts.wrong_refusal, answerable),
        Cell(f"{row.errors} of {row.n}", bad=row.errors > 0),
        _cited(trials),
        *([interval(comparison.attacks.get(row.system))] if comparison.attacks else []),
        *(_fresh(comparison.freshness.get(row.system)) if comparison.freshness else []),
        Cell(numbers.seconds(row.p50.estimate)),
        Cell(numbers.seconds(row.p95.estimate)),
        Cell(f"{numbers.count(row.cost.fresh + row.cost.cached)} + {numbers.count(row.cost.output)}"),
        Cell(numbers.count(row.cost.computed)),
        Cell(numbers.NONE if peak is None else f"{peak:,.0f} MB"),
    ]


def _fresh(found: Freshness | None) -> list[Cell]:
    """Stale answers and seconds until an answer knows; without documents, the training that it takes, or never."""
    if found is None:
        return [Cell(numbers.NONE), Cell(numbers.NONE)]
    took = found.seconds()
    if took is None:
        way = f"{numbers.seconds(found.retraining)} of training" if found.way == "retrain" else "never"
        return [Cell("all", "until trained again" if found.way == "retrain" else "", bad=True), Cell(way)]
    ends = f"[{numbers.seconds(took.low)}, {numbers.seconds(took.high)}]"
    return [interval(found.stale("edit")), Cell(numbers.seconds(took.estimate), ends)]


def _graded(comparison: Comparison) -> bool:
    """Whether the deciding metric gives more than 0 and 1, so that its mean is not the share of right answers."""
    return any(scores.get(comparison.primary) not in (None, 0, 1) for scores in comparison.scores.values())


def _part(part: int, whole: int) -> Cell:
    return Cell(f"{part} of {whole}" if whole else numbers.NONE)


def _cited(trials: Sequence[Trial]) -> Cell:
    """Share of given answers with a citation, and the marks that pointed nowhere; `-` for systems without passages."""
    given = [trial for trial in trials if trial.answer.outcome in ("answered", "fallback")]
    if not given or not any(trial.answer.hits for trial in trials):
        return Cell(numbers.NONE)
    removed = sum(trial.answer.removed_citations for trial in trials)
    share = sum(bool(trial.answer.citations) for trial in given) / len(given)
    return Cell(numbers.percent(share), f"{removed} false marks" if removed else "")
