"""A comparison as plain text of fixed width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from bakeoff.evaluation.checks import agreement
from bakeoff.evaluation.stats import Interval, detectable_difference

if TYPE_CHECKING:
    from bakeoff.evaluation.comparison import Comparison, Difference, Row


def table(comparison: Comparison, *, timings: bool) -> str:
    """The deciding metric first, then the others, then what could not be scored."""
    rows = comparison.table()
    # Where every score is 0 or 1, the share of right answers says the same again.
    graded = any(row.right != row.metrics[comparison.primary] for row in rows)
    titles = ["  system", comparison.primary, *(["right"] if graded else []), f"to {rows[0].system}", "n", "errors"]
    titles += ["cost", "p50", "p95"] if timings else []
    cells = [[*_quality(row, graded), *(_effort(row) if timings else [])] for row in rows]
    blocks = ["\n".join(_columns([titles, *cells]))]
    if comparison.metrics[1:]:
        others = [[f"  {row.system}", *(score(row.metrics[name]) for name in comparison.metrics[1:])] for row in rows]
        blocks.append("\n".join(_columns([["  system", *comparison.metrics[1:]], *others])))
    blocks.append("\n".join(_notes(comparison, rows, timings)))
    return "\n\n".join(blocks)


def hand_checks(comparison: Comparison, checked: Mapping[str, Interval]) -> str:
    """What people said, in a line."""
    same, n = agreement(comparison, comparison.checks)
    shares = ", ".join(f"{system} {score(interval)}" for system, interval in checked.items())
    return f"right by {n} hand checks, narrowed by the metric (PPI++): {shares}; it agrees with {same} of them"


def seconds(value: float) -> str:
    """38 ms, 1.24 s."""
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.0f} ms"


def _quality(row: Row, graded: bool) -> list[str]:
    star = "*" if row.in_best_set else " "
    scores = [score(next(iter(row.metrics.values()))), *([score(row.right)] if graded else [])]
    return [f"{star} {row.system}", *scores, _difference(row.to_top), str(row.n), str(row.errors)]


def _effort(row: Row) -> list[str]:
    return [f"{row.cost.computed:.0f}", seconds(row.p50.estimate), seconds(row.p95.estimate)]


def _notes(comparison: Comparison, rows: Sequence[Row], timings: bool) -> Iterator[str]:
    n = len(comparison.scored(comparison.running, comparison.primary))
    yield "scores in percent with 95% intervals; * may be the best (best set, 95%); p adjusted by Holm"
    if n:
        points = 100 * detectable_difference(n)
        whom = "all systems" if comparison.running == comparison.systems else "all that ran to the end"
        shown = f"many can show differences from about {points:.0f} points" if points <= 100 else "few can show nothing"
        yield f"{n} questions scored for {whom}; so {shown}"
    if comparison.race:
        yield str(comparison.race)
    if checked := comparison.hand_checked():
        yield hand_checks(comparison, checked)
    yield from comparison.opinions()
    if noise := comparison.noise():
        yield str(noise)
    if timings:
        alone = min((row.p50.n for row in rows if row.p50.n < row.n), default=0)
        on = f" on {alone} answers made one at a time" if alone else ""
        yield "cost: computed, prompt-token equivalents a question (fresh + 0.1 cached + 5 output)"
        yield f"seconds: measured{on}"
        yield from map(str, comparison.break_evens())
    for row in rows:
        if row.errors:
            first = next(trial.error for trial in comparison.trials if trial.system == row.system and trial.error)
            yield f"{row.errors} of {row.n} answers of {row.system} failed, the first: {first}"
    if comparison.unread:
        yield comparison.unread
    if comparison.failures:
        yield f"{len(comparison.failures)} scores could not be computed, the first: {comparison.failures[0]}"


def score(interval: Interval | None) -> str:
    """71.2 [63.0, 78.2], in percent."""
    if interval is None:
        return "-"
    return f"{_percent(interval.estimate)} [{_percent(interval.low)}, {_percent(interval.high)}]"


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return "-"
    estimate, low, high = (
        _percent(x, "+") for x in (difference.interval.estimate, difference.interval.low, difference.interval.high)
    )
    return f"{estimate} [{low}, {high}] {f'p={difference.p:.3f}' if difference.p >= 0.001 else 'p<0.001'}"


def _percent(share: float, sign: str = "") -> str:
    # Adding 0.0 turns the rounded -0.0 into 0.0.
    return f"{round(100 * share, 1) + 0.0:{sign}.1f}"


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """First column to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        yield "  ".join(cells).rstrip()
