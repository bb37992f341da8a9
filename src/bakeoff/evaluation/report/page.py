"""What the report says, from top to bottom, in words and positions; the templates add only form."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bakeoff.evaluation.comparison import RIGHT, Comparison, Row
from bakeoff.evaluation.costs import CACHED, OUTPUT
from bakeoff.evaluation.diagnosis import CAUSES, Diagnosis
from bakeoff.evaluation.history import headline
from bakeoff.evaluation.money import Accounts, dollars
from bakeoff.evaluation.race import LOW
from bakeoff.evaluation.recommend import Recommendation
from bakeoff.evaluation.report import numbers
from bakeoff.evaluation.report.explorer import Again, explorer
from bakeoff.evaluation.report.plots import Axis, Scatter, quality_axis, scatter
from bakeoff.evaluation.report.scorecard import Cell, Column, cells, columns, difference, interval
from bakeoff.evaluation.report.whatif import what_if
from bakeoff.evaluation.stats import Interval
from bakeoff.evaluation.text import hand_checks
from bakeoff.types import Trial

SURENESS = {"UNDECIDED": 1, "LEAN": 2, "CLEAR": 3}
"""Marks of the confidence meter."""


FLAGS = {1: "▲", 0: "", -1: "▼"}
"""Of a slice in which a system is better, or worse, than the one it is held against."""


@dataclass(frozen=True, slots=True)
class Line:
    """A system."""

    name: str
    tags: list[str]
    """What stands beside its name: `recommended`, `baseline`."""
    in_best_set: bool
    at: tuple[float, float, float] | None
    """Positions of estimate, low and high on the quality axis, from 0 to 1; None where nothing was scored."""
    quality: Cell
    difference: Cell
    cells: list[Cell]
    """In the order of the page's columns."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A kind of question; `cells` holds text, depth of colour from 0 to 9, and a flag, in the order of the lines."""

    kind: str
    n: int
    cells: list[tuple[str, int | None, str]]


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a stacked bar, from 0 to 1; `shade` tells neighbours of one group apart."""

    cause: str
    group: str
    says: str
    observed: str
    binding: str
    start: float
    width: float
    shade: int


@dataclass(frozen=True, slots=True)
class Why:
    """Why the wrong answers of one system are wrong."""

    system: str
    wrong: str
    """How many are, in words."""
    verdict: str
    parts: list[Part]
    """Ingredients first, so that they stand together in the bar."""
    gains: list[tuple[str, str]]
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Page:
    """The whole report."""

    verdict: str
    confidence: str
    sureness: int
    meaning: str
    reasons: tuple[str, ...]
    flips: tuple[str, ...]
    scope: str
    """What was asked, in a few words."""
    primary: str
    baseline: str
    baseline_at: float | None
    lines: list[Line]
    """Best first."""
    axis: Axis
    scatter: Scatter
    effort: str
    """What its horizontal axis shows."""
    legend: str
    """How to read the scorecard."""
    columns: list[Column]
    slices: list[Slice]
    flagged: str
    """What the flags mean."""
    whys: list[Why]
    unread: str
    """Which documents are not in the index."""
    failures: tuple[str, ...]
    provenance: list[tuple[str, str]]
    prices: list[str]
    """What each price is and where it comes from, and what the evaluation itself took."""
    data: dict[str, Any]
    """What the scripts show and compute from."""


def page(comparison: Comparison, recommendation: Recommendation, accounts: Accounts, again: Again) -> Page:
    """Everything that is shown, in the order in which it is shown."""
    rows = comparison.table()
    primary, baseline = comparison.primary, comparison.baseline or comparison.systems[0]
    scored = {row.system: score for row in rows if (score := row.metrics[primary])}
    against = recommendation.system or rows[0].system
    axis = quality_axis(value for score in scored.values() for value in (score.low, score.high))
    heads = columns(comparison, recommendation)
    metered = all(bill.question > 0 for bill in accounts.bills.values())
    return Page(
        verdict=headline(recommendation),
        confidence=recommendation.confidence,
        sureness=SURENESS[recommendation.confidence],
        meaning=_meaning(recommendation),
        reasons=tuple(recommendation.reasons),
        flips=tuple(recommendation.flips_if),
        scope=_scope(comparison),
        primary=primary,
        baseline=baseline,
        baseline_at=axis.at(scored[baseline].estimate) if baseline in scored else None,
        lines=list(_lines(comparison, rows, recommendation, accounts, baseline, axis)),
        axis=axis,
        scatter=scatter(
            [
                (row.system, _effort(row, accounts, metered), score.estimate, score.low, score.high, row.p95.estimate)
                for row in rows
                if (score := scored.get(row.system))
            ]
        ),
        effort="dollars for 1,000 questions" if metered else "median seconds per answer",
        legend=_legend(comparison),
        columns=heads,
        slices=_slices(comparison, rows, against),
        flagged=_flagged(comparison, against),
        whys=[_why(comparison.diagnoses[row.system]) for row in rows if row.system in comparison.diagnoses],
        unread=comparison.unread,
        failures=comparison.failures,
        provenance=_provenance(comparison),
        prices=_prices(accounts),
        data={
            **explorer(comparison, [row.system for row in rows], _pair(rows, recommendation, baseline), again),
            "what_if": what_if(comparison, recommendation, accounts),
        },
    )


def _effort(row: Row, accounts: Accounts, metered: bool) -> float:
    """Dollars for a thousand questions; median seconds where a system does not say what its answers took."""
    return 1000 * accounts.bills[row.system].question if metered else row.p50.estimate


def _meaning(recommendation: Recommendation) -> str:
    if recommendation.confidence == "CLEAR":
        return "these questions settle it"
    if recommendation.more_questions is None:
        return "more questions like these are unlikely to settle it"
    # An undecided verdict has named the two already.
    named = recommendation.confidence == "LEAN" and recommendation.between
    rivals = f" between {' and '.join(recommendation.between)}" if named else ""
    return f"about {recommendation.more_questions:,} more questions would settle it{rivals}"


def _scope(comparison: Comparison) -> str:
    groups = {example.group for example in comparison.examples.values() if example.group}
    clusters = f" in {len(groups)} groups" if groups else ""
    gone = len(comparison.systems) - len(comparison.running)
    raced = f", {gone} of them out of the race early: {LOW}" if gone else ""
    return f"{len(comparison.examples)} questions{clusters}, {len(comparison.systems)} systems{raced}"


def _lines(
    comparison: Comparison,
    rows: list[Row],
    recommendation: Recommendation,
    accounts: Accounts,
    baseline: str,
    axis: Axis,
) -> Iterator[Line]:
    trials: dict[str, list[Trial]] = defaultdict(list)
    for trial in comparison.trials:
        trials[trial.system].append(trial)
    for row in rows:
        score = row.metrics[comparison.primary]
        yield Line(
            name=row.system,
            tags=[
                *(
                    tag
                    for tag, name in (("recommended", recommendation.system), ("baseline", baseline))
                    if name == row.system
                ),
                *([f"out after {row.n}"] if row.system not in comparison.running else []),
            ],
            in_best_set=row.in_best_set,
            at=(axis.at(score.estimate), axis.at(score.low), axis.at(score.high)) if score else None,
            quality=interval(score),
            difference=Cell("baseline") if row.system == baseline else difference(row.to_baseline),
            cells=cells(comparison, recommendation, accounts.bills[row.system], row, trials[row.system]),
        )


def _legend(comparison: Comparison) -> str:
    noise, race = comparison.noise(), comparison.race
    return (
        f"Scores in percent with 95% intervals; an answer is right from {numbers.percent(RIGHT)} {comparison.primary}. "
        f"Cost is computed, in prompt tokens: a cached one counts {CACHED:g}, a generated one {OUTPUT:g}. "
        "Seconds and memory are measured; the peak is that of the process while a system answered, all models loaded. "
        "What a checkpoint forgot is the change in right answers to general questions, and in nats a token of general "
        "texts; memorised are secrets that were planted among its lessons."
        + (f" By hand: {hand_checks(comparison, checked)}." if (checked := comparison.hand_checked()) else "")
        + (f" This was a race - {race}." if race else "")
        + (f" By chance alone: {noise}." if noise else "")
        + "".join(f" {one[0].upper()}{one[1:]}." for one in comparison.opinions())
    )


def _slices(comparison: Comparison, rows: list[Row], against: str) -> list[Slice]:
    flags = comparison.flagged(against)
    return [
        Slice(
            kind=kind,
            n=sum(example.kind == kind for example in comparison.examples.values()),
            cells=[(*_heat(scores.get(row.system)), FLAGS[flags.get((kind, row.system), 0)]) for row in rows],
        )
        for kind, scores in comparison.by_kind().items()
    ]


def _flagged(comparison: Comparison, against: str) -> str:
    looks = len(comparison.by_kind()) * (len(comparison.running) - 1)
    return (
        f"▲ better, ▼ worse than {against} on the same questions: shown only where it holds among all {looks} looks, "
        "of those flagged 5% by chance (Benjamini-Hochberg)."
    )


def _why(found: Diagnosis) -> Why:
    order = {"ingredients": 0, "recipe": 1, "neither": 2}
    names = sorted(dict.fromkeys([*found.causes, *found.binding]), key=lambda name: order[CAUSES[name].group])
    total = sum(interval.estimate for interval in found.causes.values())
    parts, start, shades = [], 0.0, dict.fromkeys(order, 0)
    for name in names:
        group, observed = CAUSES[name].group, found.causes.get(name)
        width = observed.estimate / total if observed else 0.0
        shown, binds = (_words(interval) for interval in (observed, found.binding.get(name)))
        parts.append(Part(name, group, CAUSES[name].says, shown, binds, start, width, shades[group] % 4))
        start, shades[group] = start + width, shades[group] + 1
    return Why(
        found.system,
        f"{len(found.findings)} of {found.n} answers are wrong",
        found.verdict,
        parts,
        [(name, _words(interval, sign=True)) for name, interval in found.headroom.items()],
        [
            *([f"unsure: {_words(found.unsure)} of the wrong answers"] if found.unsure else []),
            *(
                [f"declines once the passage is taken away: {_words(found.refuses_without)}"]
                if found.refuses_without
                else []
            ),
            *([f"right from memory: {_words(found.from_memory)} of its right answers"] if found.from_memory else []),
            *([f"next: {found.next}"] if found.next else []),
        ],
    )


def _words(value: Interval | None, sign: bool = False) -> str:
    if value is None:
        return numbers.NONE
    return f"{numbers.percent(value.estimate, sign)} {numbers.span(value.low, value.high, sign)}"


def _heat(score: Interval | None) -> tuple[str, int | None]:
    if score is None:
        return numbers.NONE, None
    return numbers.percent(score.estimate), min(9, int(10 * score.estimate))


def _pair(rows: list[Row], recommendation: Recommendation, baseline: str) -> tuple[str, str]:
    """What to look at first: the two it is between, or else the recommended or top system against another."""
    if len(recommendation.between) == 2:
        return recommendation.between[0], recommendation.between[1]
    systems = [row.system for row in rows]
    first = recommendation.system or systems[0]
    others = [name for name in (baseline, *systems) if name != first]
    return first, others[0] if others else first


def _prices(accounts: Accounts) -> list[str]:
    book, notes = accounts.book, []
    if len(book.models) < len(accounts.bills):
        whose = "given" if book.hour_said else "assumed"
        notes.append(
            f"An hour of the machine: {dollars(book.hour)} ({whose}), with work in {100 * book.utilisation:g}% of the "
            "time (assumed; the interval is from always to a tenth). Seconds are measured."
        )
    notes += [
        f"{system}: {dollars(one.input)} for a million tokens, {dollars(one.cached)} cached, {dollars(one.output)} "
        f"written ({one.source}). Tokens are measured."
        for system, one in book.models.items()
    ]
    notes += [
        f"{system}: {why}. Its seconds are priced as those of your machine." for system, why in book.unknown.items()
    ]
    notes.append("All dollars are computed, from what was measured at these prices; what the sliders set is assumed.")
    took = dollars(accounts.evaluation())
    notes.append(f"The answers of this evaluation took {took} (computed); that is no part of what a system costs.")
    return notes


def _provenance(comparison: Comparison) -> list[tuple[str, str]]:
    """`run.toml` and the machine, one line a fact; peak memory stands in the scorecard."""
    facts = []
    for key, value in (*comparison.run.items(), *comparison.machine.items()):
        if key == "settings":
            facts += [(f"settings of {system}", _flat(options)) for system, options in value.items() if options]
        elif key not in ("peak_mb", "studies", "unread"):
            facts.append((key, _flat(value)))
    versions = ", ".join(f"{metric} {version}" for metric, version in comparison.versions.items())
    first = [("decided by", comparison.primary), ("versions of the metrics", versions)]
    return [*first, ("to do it again", _command(comparison)), *facts]


def _command(comparison: Comparison) -> str:
    """That asks the same questions in the same way, as a shell reads it."""
    words = ["bakeoff", "compare", *comparison.systems]
    if (run := comparison.run.get("run", "latest")) != "latest":
        words += ["--run", run]
    if (asked := len(comparison.examples)) < comparison.machine.get("split", {}).get("test", 0):
        words += ["--limit", str(asked)]
    words += ["--again"] if comparison.second else []
    words += ["--race"] if comparison.race else []
    return shlex.join(words)


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {_flat(item)}" for key, item in value.items())
    return ", ".join(map(_flat, value)) if isinstance(value, list | tuple) else str(value)
