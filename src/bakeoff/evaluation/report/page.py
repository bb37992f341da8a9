"""What the report says, from top to bottom, in words and positions; the templates add only form."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bakeoff.evaluation.comparison import RIGHT, Comparison, Row
from bakeoff.evaluation.costs import CACHED, OUTPUT
from bakeoff.evaluation.diagnosis import CAUSES, Diagnosis
from bakeoff.evaluation.recommend import Recommendation
from bakeoff.evaluation.report import numbers
from bakeoff.evaluation.report.explorer import explorer
from bakeoff.evaluation.report.plots import Axis, Scatter, quality_axis, scatter
from bakeoff.evaluation.report.scorecard import Cell, Column, cells, columns, difference, interval
from bakeoff.evaluation.stats import Interval
from bakeoff.evaluation.text import hand_checks
from bakeoff.types import Trial

SURENESS = {"UNDECIDED": 1, "LEAN": 2, "CLEAR": 3}
"""Marks of the confidence meter."""


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
    """A kind of question; `cells` holds text and depth of colour from 0 to 9, in the order of the lines."""

    kind: str
    n: int
    cells: list[tuple[str, int | None]]


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
    legend: str
    """How to read the scorecard."""
    groups: list[tuple[str, int]]
    """Heading and width of each group of columns."""
    columns: list[Column]
    slices: list[Slice]
    whys: list[Why]
    failures: tuple[str, ...]
    provenance: list[tuple[str, str]]
    explorer: dict[str, Any]


def page(comparison: Comparison, recommendation: Recommendation) -> Page:
    """Everything that is shown, in the order in which it is shown."""
    rows = comparison.table()
    primary, baseline = comparison.primary, comparison.baseline or comparison.systems[0]
    scored = {row.system: score for row in rows if (score := row.metrics[primary])}
    axis = quality_axis(value for score in scored.values() for value in (score.low, score.high))
    heads = columns(comparison)
    return Page(
        verdict=_verdict(recommendation),
        confidence=recommendation.confidence,
        sureness=SURENESS[recommendation.confidence],
        meaning=_meaning(recommendation),
        reasons=tuple(recommendation.reasons),
        flips=tuple(recommendation.flips_if),
        scope=_scope(comparison),
        primary=primary,
        baseline=baseline,
        baseline_at=axis.at(scored[baseline].estimate) if baseline in scored else None,
        lines=list(_lines(comparison, rows, recommendation.system, baseline, axis)),
        axis=axis,
        scatter=scatter(
            [
                (row.system, row.p50.estimate, score.estimate, score.low, score.high)
                for row in rows
                if (score := scored.get(row.system))
            ]
        ),
        legend=_legend(comparison),
        groups=_groups(heads),
        columns=heads,
        slices=_slices(comparison, rows),
        whys=[_why(comparison.diagnoses[row.system]) for row in rows if row.system in comparison.diagnoses],
        failures=comparison.failures,
        provenance=_provenance(comparison),
        explorer=explorer(comparison, [row.system for row in rows], _pair(rows, recommendation, baseline)),
    )


def _verdict(recommendation: Recommendation) -> str:
    names = " and ".join(recommendation.between)
    return {
        "CLEAR": f"Ship {recommendation.system}.",
        "LEAN": f"Lean towards {recommendation.system}.",
        "UNDECIDED": f"Undecided between {names}." if names else "Undecided.",
    }[recommendation.confidence]


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
    raced = f", {gone} of them out of the race early" if gone else ""
    return f"{len(comparison.examples)} questions{clusters}, {len(comparison.systems)} systems{raced}"


def _lines(
    comparison: Comparison, rows: list[Row], recommended: str | None, baseline: str, axis: Axis
) -> Iterator[Line]:
    trials: dict[str, list[Trial]] = defaultdict(list)
    for trial in comparison.trials:
        trials[trial.system].append(trial)
    for row in rows:
        score = row.metrics[comparison.primary]
        yield Line(
            name=row.system,
            tags=[
                *(tag for tag, name in (("recommended", recommended), ("baseline", baseline)) if name == row.system),
                *([f"out after {row.n}"] if row.system not in comparison.running else []),
            ],
            in_best_set=row.in_best_set,
            at=(axis.at(score.estimate), axis.at(score.low), axis.at(score.high)) if score else None,
            quality=interval(score),
            difference=Cell("baseline") if row.system == baseline else difference(row.to_baseline),
            cells=cells(comparison, row, trials[row.system]),
        )


def _legend(comparison: Comparison) -> str:
    noise, race = comparison.noise(), comparison.race
    return (
        f"Scores in percent with 95% intervals; an answer is right from {numbers.percent(RIGHT)} {comparison.primary}. "
        f"Cost is computed, in prompt tokens: a cached one counts {CACHED:g}, a generated one {OUTPUT:g}. "
        "Seconds and memory are measured; the peak is that of the process while a system answered, all models loaded."
        + (f" By hand: {hand_checks(comparison, checked)}." if (checked := comparison.hand_checked()) else "")
        + "".join(f" {one}." for one in comparison.break_evens())
        + (f" This was a race - {race}." if race else "")
        + (f" By chance alone: {noise}." if noise else "")
        + "".join(f" {one[0].upper()}{one[1:]}." for one in comparison.opinions())
    )


def _groups(heads: list[Column]) -> list[tuple[str, int]]:
    widths: dict[str, int] = defaultdict(int)
    for column in heads:
        widths[column.group] += 1
    return list(widths.items())


def _slices(comparison: Comparison, rows: list[Row]) -> list[Slice]:
    return [
        Slice(
            kind=kind,
            n=sum(example.kind == kind for example in comparison.examples.values()),
            cells=[_heat(scores.get(row.system)) for row in rows],
        )
        for kind, scores in comparison.by_kind().items()
    ]


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


def _provenance(comparison: Comparison) -> list[tuple[str, str]]:
    """`run.toml` and the machine, one line a fact; peak memory stands in the scorecard."""
    facts = []
    for key, value in (*comparison.run.items(), *comparison.machine.items()):
        if key == "settings":
            facts += [(f"settings of {system}", _flat(options)) for system, options in value.items() if options]
        elif key != "peak_mb":
            facts.append((key, _flat(value)))
    return [("decided by", comparison.primary), *facts]


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {_flat(item)}" for key, item in value.items())
    return ", ".join(map(_flat, value)) if isinstance(value, list | tuple) else str(value)
