"""The scorecard: one row of cells per system, shared by the page and the Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from bakeoff.evaluation.comparison import Comparison, Difference, Row
from bakeoff.evaluation.freshness import Freshness
from bakeoff.evaluation.money import Bill, dollars
from bakeoff.evaluation.recommend import Recommendation
from bakeoff.evaluation.report import numbers
from bakeoff.evaluation.stats import Interval
from bakeoff.evaluation.study import Canary
from bakeoff.types import Trial

LEAST = 1e-4
"""Dollars of one change below which digits say nothing."""
LEAVES, WEIGHTS, DELETE = "data leave this host", "data in the weights", "data can be deleted"


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


def columns(comparison: Comparison, recommendation: Recommendation) -> list[Column]:
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
        *([Column("Latency", "inside the limit")] if recommendation.max_p95_seconds else []),
        Column("Per question", "tokens in + out", first=True),
        Column("Per question", "cost"),
        Column("Dollars", "for 1,000 questions", first=True),
        Column("Dollars", "for 1,000 right answers"),
        Column("Dollars", "to follow a change"),
        Column("Built in", "hours", first=True),
        *(
            [
                Column("Learning", "curve", first=True),
                Column("Forgetting", "general questions, change", first=True),
                Column("Forgetting", "general texts, nats more"),
            ]
            if comparison.machine.get("studies")
            else []
        ),
        *[Column("Privacy", title, first=title == LEAVES) for title in (LEAVES, WEIGHTS, DELETE)],
        Column("Memory", "peak", first=True),
    ]


def cells(
    comparison: Comparison, recommendation: Recommendation, bill: Bill, row: Row, trials: Sequence[Trial]
) -> list[Cell]:
    """The figures of one system, in the order of `columns`."""
    limit, studies = recommendation.max_p95_seconds, comparison.machine.get("studies", {})
    settings = comparison.run.get("settings", {}).get(row.system, {})
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
        Cell(numbers.seconds(row.p50.estimate), f"of {row.p50.n} made alone" if row.p50.n < row.n else ""),
        Cell(numbers.seconds(row.p95.estimate)),
        *([_limit(row.p95.estimate, limit)] if limit else []),
        Cell(f"{numbers.count(row.cost.fresh + row.cost.cached)} + {numbers.count(row.cost.output)}"),
        Cell(numbers.count(row.cost.computed)),
        _dollars(bill),
        Cell(dollars(None if bill.per_right is None else 1000 * bill.per_right)),
        _refresh(bill),
        _hours(comparison.machine.get("build_seconds", {}).get(row.system), settings),
        *([_curve(studies.get(row.system)), *_forgot(studies.get(row.system))] if studies else []),
        *_privacy(settings, studies.get(row.system), comparison.machine.get("store", "")),
        Cell(numbers.NONE if peak is None else f"{peak:,.0f} MB"),
    ]


def _limit(seconds: float, limit: float) -> Cell:
    return Cell("yes" if seconds <= limit else "no", f"at most {limit:g} s", bad=seconds > limit)


def _dollars(bill: Bill) -> Cell:
    low, high = (dollars(1000 * end) for end in bill.band)
    return Cell(dollars(1000 * bill.question), f"[{low}, {high}]" if low != high else "")


def _refresh(bill: Bill) -> Cell:
    """Of one document: indexing it again, or training again; of a system that cannot, nothing."""
    if bill.refresh_by == "nothing" or bill.refresh_seconds is None or bill.refresh is None:
        return Cell(numbers.NONE, "it cannot" if bill.refresh_by == "nothing" else "not measured")
    shown = f"under ${LEAST:g}" if 0 < bill.refresh < LEAST else dollars(bill.refresh)
    return Cell(shown, f"{numbers.seconds(bill.refresh_seconds)} of {bill.refresh_by}")


def _hours(trained: float | None, settings: Mapping[str, Any]) -> Cell:
    """Of training; 0 for what is not trained."""
    if trained is None:
        return Cell(numbers.NONE if settings.get("tuned") else "0")
    return Cell(f"{trained / 3600:.2g}", numbers.seconds(trained))


def _curve(study: Mapping[str, Any] | None) -> Cell:
    """What `study.learning` says first; bad news if it overfitted or learnt by heart."""
    said = (study or {}).get("learning", "")
    short = re.split(r"[:;,.] |\.$", said)[0].removeprefix("It ")
    return Cell(short or numbers.NONE, bad=short.startswith(("overfitted", "learns the lessons by heart")))


def _forgot(study: Mapping[str, Any] | None) -> list[Cell]:
    """Points of general questions, and nats a token of general texts, where more is worse; bad news if it is sure."""
    if study is None:
        return [Cell(numbers.NONE), Cell(numbers.NONE)]
    known, loss = (Interval(**study[name]) for name in ("knowledge_change", "text_loss_change"))
    return [
        Cell(
            numbers.percent(known.estimate, sign=True), numbers.span(known.low, known.high, sign=True), known.high < 0
        ),
        Cell(f"{loss.estimate:+.3f}", f"[{loss.low:+.3f}, {loss.high:+.3f}]", bad=loss.low > 0),
    ]


def _privacy(settings: Mapping[str, Any], study: Mapping[str, Any] | None, store: str) -> list[Cell]:
    """Whether questions and passages go to another host, whether data stand in the weights, how they are removed.

    `store`: the host that holds the index.
    """
    if "base" not in settings:
        return [Cell(numbers.NONE)] * 3
    base = urlsplit(settings["base"]).hostname if settings["base"].startswith(("http://", "https://")) else None
    hosts = [host for host in (base, store if "corpus" in settings else "") if host and not _is_here(host)]
    leaves = Cell("yes", ", ".join(hosts), bad=True) if hosts else Cell("no")
    if settings.get("tuned"):
        canaries = [Canary(**one) for one in (study or {}).get("canaries", ())]
        learnt = sum(one.memorised for one in canaries)
        memorised = f"memorised {learnt} of {len(canaries)} planted secrets" if canaries else ""
        return [leaves, Cell("yes", memorised, bad=learnt > 0), Cell("by training again")]
    return [leaves, Cell("no"), Cell("yes", "bakeoff forget" if "corpus" in settings else "nothing is kept")]


def _is_here(host: str) -> bool:
    """Whether it is this machine by its name or address."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def _fresh(found: Freshness | None) -> list[Cell]:
    """Stale answers and seconds until an answer knows; without documents, the training that it takes, or never."""
    if found is None:
        return [Cell(numbers.NONE), Cell(numbers.NONE)]
    stale = interval(found.stale("edit")) if found.turns else Cell(numbers.NONE, "not measured")
    took = found.seconds()
    if found.way != "index":
        way = f"{numbers.seconds(found.retraining)} of training" if found.way == "retrain" else "never"
        return [stale, Cell(way)]
    if took is None:
        return [stale, Cell(numbers.NONE, "no answer did")]
    return [stale, Cell(numbers.seconds(took.estimate), f"[{numbers.seconds(took.low)}, {numbers.seconds(took.high)}]")]


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
