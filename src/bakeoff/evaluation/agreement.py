"""How well a metric agrees with people, on answers that people have called right or wrong.

A labelled file is JSONL, JSON or CSV with a row an answer: `question`, `answer`, `right` (or `label`: yes or no), and
as the metric wants them `references`, `context` (passages the answer was given), `system`, `group`. The files of
EVOUNA, BEGIN and HaluEval (its general part) are read as they were published, known by their columns.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, rankdata, t

from bakeoff.errors import BakeoffError, DataError
from bakeoff.evaluation.metrics import Scoring, scoring
from bakeoff.evaluation.stats import LEVEL, Floats, Interval, score_interval, wilson
from bakeoff.examples.files import Row, read
from bakeoff.types import Answer, Chunk, Example, Hit

if TYPE_CHECKING:
    from bakeoff.evaluation.comparison import Comparison

Bools = NDArray[np.bool_]
Progress = Callable[[int, int, str], None]

COLUMNS = ("question", "references", "facts", "answer", "context", "right", "label", "system", "group")
SAMPLE = '{"question": "Who may travel first class?", "references": ["nobody"], "answer": "No one", "right": 1}'
YES = {"1", "1.0", "yes", "y", "true", "right", "correct"}
NO = {"0", "0.0", "no", "n", "false", "wrong", "incorrect"}
RIGHT = 0.5
"""As in `comparison`: from here on an answer counts as right."""
FEWEST_SYSTEMS = 3
"""Below it a rank correlation says next to nothing."""
DRAWS = 1_000
FILE = "agreement.json"
"""In a run's folder: what its hand checks say."""
FEW = 50
"""Labelled answers below which nothing should be chosen by what they show."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """An answer and what a person thought of it."""

    example: Example
    answer: Answer
    right: bool
    system: str = ""

    @property
    def group(self) -> str:
        """Cluster: answers to one question, or on one document, are not independent."""
        return self.example.group or self.example.question


@dataclass(frozen=True, slots=True)
class Agreement:
    """One metric beside people."""

    metric: str
    version: int
    n: int
    """Answers that it scored."""
    unscored: int
    failed: int
    """Of `unscored`, those on which it raised, as a judge whose reply could not be read."""
    reason: str
    """Why the first of these failed."""
    auc: Interval | None
    """Chance that a right answer has the higher score than a wrong one; None where all are right, or all wrong."""
    accuracy: Interval
    """Share of answers that it calls as people do, right from 0.5 on."""
    tuned: Interval
    """The same at the threshold that is best on the other half of the questions: what choosing one is worth."""
    thresholds: tuple[float, float]
    """Those two."""
    kappa: float
    verbosity: Interval | None
    """How much more it favours long answers than people do: its share of right ones less theirs, among the longer half
    less the same among the shorter; 0 is even-handed."""
    tau: Interval | None
    """Kendall's rank correlation of the systems' mean scores with their shares of right answers; `n` systems."""


@dataclass(frozen=True, slots=True)
class Validation:
    """All metrics beside the same people."""

    metrics: tuple[Agreement, ...]
    """Best AUC first."""
    n: int
    right: int
    """Answers that people called right."""
    unused: tuple[str, ...] = ()
    """Columns of the file that were left aside."""

    def __str__(self) -> str:
        lines = [f"{self.n:,} answers, of which people call {self.right:,} right"]
        if self.unused:
            lines.append(f"not used: {', '.join(self.unused)}")
        lines.append(table(self.metrics))
        lines += [f"{one.metric} failed on {one.failed:,}: {one.reason}" for one in self.metrics if one.failed]
        if self.right in (0, self.n):
            lines.append("all of one kind: no metric can be told from another; label some of the other kind")
        elif self.n < FEW:
            lines.append(f"so few answers show little: label {FEW} or more before anything is chosen by this")
        return "\n".join(lines)


def read_labelled(path: Path) -> tuple[list[Labelled], list[str]]:
    """The rows of a labelled file, and its columns that are not used; raises `DataError` with line and cure."""
    if not path.is_file():
        raise DataError(f"there is no file {path} of labelled answers; make one, an object a line: {SAMPLE}")
    rows = list(read(str(path)))
    if not rows:
        raise DataError(f"{path} holds no labelled answers; add at least one line like {SAMPLE}")
    columns = {column for row in rows for column in row.values}
    for needed, labelled in PUBLISHED:
        if columns.issuperset(needed):
            return [one for row in rows for one in labelled(row)], []
    return [_labelled(row) for row in rows], sorted(columns - set(COLUMNS))


def hand_checked(comparison: Comparison) -> list[Labelled]:
    """The answers of a run that somebody has checked by hand."""
    answers = {(trial.system, trial.example_id): trial.answer for trial in comparison.trials}
    return [
        Labelled(comparison.examples[id], answers[system, id], bool(right), system)
        for (system, id), right in comparison.checks.items()
        if (system, id) in answers
    ]


def validate(
    rows: Sequence[Labelled],
    metrics: Sequence[str | Scoring],
    unused: Sequence[str] = (),
    progress: Progress | None = None,
) -> Validation:
    """Hold `metrics` against the labels; one that can score none of `rows` is left out.

    Raises `DataError` where that goes for all of them.
    """
    found = []
    for number, metric in enumerate(map(scoring, metrics)):
        if progress:
            progress(number, len(metrics), f"scoring: {metric.name}")
        if one := agreement(rows, metric):
            found.append(one)
    if not found:
        raise DataError("no metric can score these answers: give each row references, or context for support")
    found.sort(key=lambda one: -(one.auc.estimate if one.auc else 0.0))
    return Validation(tuple(found), len(rows), sum(row.right for row in rows), tuple(unused))


def agreement(rows: Sequence[Labelled], metric: str | Scoring) -> Agreement | None:
    """How `metric` and people agree on `rows`; None where it could score none of them."""
    metric = scoring(metric)
    values, faults = [], []
    for row in rows:
        try:
            values.append(metric.score(row.example, row.answer))
        except BakeoffError:  # a judge that does not answer
            raise
        except Exception as problem:  # a metric that fails has not scored, as in a run
            values.append(None)
            faults.append(f"{type(problem).__name__}: {problem}")
    scored = [place for place, value in enumerate(values) if value is not None]
    if not scored:
        return None
    kept = [rows[place] for place in scored]
    scores = np.array([values[place] for place in scored], dtype=float)
    right = np.array([row.right for row in kept], dtype=bool)
    groups = [row.group for row in kept]
    called = scores >= RIGHT
    tuned, thresholds = _at_best_threshold(scores, right, groups)
    names = sorted({row.system for row in kept} - {""})
    return Agreement(
        metric=metric.name,
        version=metric.version,
        n=len(kept),
        unscored=len(rows) - len(kept),
        failed=len(faults),
        reason=faults[0] if faults else "",
        auc=auc(scores, right, groups),
        accuracy=score_interval(called == right, groups),
        tuned=tuned,
        thresholds=thresholds,
        kappa=_kappa(called, right),
        verbosity=_verbosity(called, right, np.array([len(row.answer.text) for row in kept]), groups),
        tau=_tau(scores, right, groups, [row.system for row in kept], names),
    )


def auc(scores: Floats, right: Bools, groups: Sequence[str]) -> Interval | None:
    """Area under the ROC curve with DeLong's interval, on the logit scale; `groups` are clusters (Obuchowski 1997).

    Where every right answer scores higher than every wrong one nothing varies, and Wilson's interval of the fewer ones
    stands in. None where one kind is missing.
    """
    yes, no = scores[right], scores[~right]
    if not (len(yes) and len(no)):
        return None
    ranks = rankdata(scores)
    # How often each right answer beats a wrong one, and each wrong one is beaten: DeLong's structural components.
    beats = (ranks[right] - rankdata(yes)) / len(no)
    beaten = 1 - (ranks[~right] - rankdata(no)) / len(yes)
    area = float(beats.mean())
    influence = np.empty(len(scores))
    influence[right] = (beats - area) / len(yes)
    influence[~right] = (beaten - area) / len(no)
    error, clusters = _error(influence, groups)
    if clusters < 2:
        return Interval(area, 0.0, 1.0, len(scores))
    if area in (0.0, 1.0) or error == 0:
        ends = wilson(area * min(len(yes), len(no)), min(len(yes), len(no)))
        return Interval(area, ends.low, ends.high, len(scores))
    centre = math.log(area / (1 - area))
    half = float(t.ppf(1 - LEVEL / 2, clusters - 1)) * error / (area * (1 - area))
    low, high = (1 / (1 + math.exp(-(centre + sign * half))) for sign in (-1, 1))
    return Interval(area, low, high, len(scores))


def best_threshold(scores: Floats, right: Bools) -> float:
    """The score from which on to call answers right, so that most are called as people do; of equals, nearest 0.5."""
    values = np.unique(scores)
    candidates = np.array([RIGHT, *(values[1:] + values[:-1]) / 2])
    yes, no = np.sort(scores[right]), np.sort(scores[~right])
    agreed = len(yes) - np.searchsorted(yes, candidates) + np.searchsorted(no, candidates)
    ties = candidates[agreed == agreed.max()]
    return float(ties[np.argmin(np.abs(ties - RIGHT))])


def _at_best_threshold(scores: Floats, right: Bools, groups: Sequence[str]) -> tuple[Interval, tuple[float, float]]:
    """Accuracy of each half of the questions at the threshold that is best on the other."""
    second = np.array([hashlib.sha256(group.encode()).digest()[0] % 2 == 1 for group in groups])
    chosen = [best_threshold(scores[half], right[half]) if half.any() else RIGHT for half in (second, ~second)]
    called = scores >= np.where(second, chosen[1], chosen[0])
    return score_interval(called == right, groups), (chosen[0], chosen[1])


def _verbosity(called: Bools, right: Bools, lengths: NDArray[np.int_], groups: Sequence[str]) -> Interval | None:
    favour = called.astype(float) - right.astype(float)
    long = lengths > np.median(lengths)
    if not (long.any() and (~long).any()):
        return None
    means = [float(favour[half].mean()) for half in (long, ~long)]
    influence = np.where(long, (favour - means[0]) / long.sum(), -(favour - means[1]) / (~long).sum())
    error, clusters = _error(influence, groups)
    half = float(t.ppf(1 - LEVEL / 2, clusters - 1)) * error if clusters > 1 else math.inf
    gap = means[0] - means[1]
    return Interval(gap, gap - half, gap + half, len(favour)).clip(-2, 2)


def _error(influence: Floats, groups: Sequence[str]) -> tuple[float, int]:
    """Standard error of a sum whose terms are dependent within clusters, and the number of clusters."""
    _, cluster = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(cluster, weights=influence)
    return math.sqrt(float(np.sum(sums**2)) * len(sums) / max(len(sums) - 1, 1)), len(sums)


def _kappa(called: Bools, right: Bools) -> float:
    chance = called.mean() * right.mean() + (1 - called.mean()) * (1 - right.mean())
    return float(((called == right).mean() - chance) / (1 - chance)) if chance < 1 else 0.0


def _tau(
    scores: Floats, right: Bools, groups: Sequence[str], systems: Sequence[str], names: Sequence[str]
) -> Interval | None:
    """With the percentile interval of drawing the questions again: two systems that people barely tell apart swap."""
    if len(names) < FEWEST_SYSTEMS:
        return None
    _, cluster = np.unique(np.asarray(groups), return_inverse=True)
    of = np.array([names.index(system) if system in names else -1 for system in systems])
    weights = np.random.default_rng(0).multinomial(clusters := cluster.max() + 1, [1 / clusters] * clusters, DRAWS)
    ranked = []
    for values in (np.ones(len(scores)), scores, right.astype(float)):
        sums = np.array([np.bincount(cluster[of == n], values[of == n], clusters) for n in range(len(names))]).T
        ranked.append(np.vstack([sums.sum(axis=0), weights @ sums]))
    asked, scored, called = ranked
    whole = (asked > 0).all(axis=1)
    taus = [
        kendalltau(a, b).statistic for a, b in zip(*((x[whole] / asked[whole]) for x in (scored, called)), strict=True)
    ]
    known = [float(tau) for tau in taus if math.isfinite(tau)]
    if not (known and math.isfinite(taus[0])):
        return None
    low, high = np.quantile(known, (LEVEL / 2, 1 - LEVEL / 2))
    return Interval(float(taus[0]), float(low), float(high), len(names))


# ---------------------------------------------------------------- rows


def _labelled(row: Row) -> Labelled:
    values = row.values
    for name in ("question", "answer"):
        if not isinstance(values.get(name), str):
            raise DataError(f"{row.where}: {name!r} is missing or no text; a row looks like {SAMPLE}")
    right = _verdict(row, values)
    example = Example(
        row.where,
        values["question"],
        _texts(row, values, "references"),
        group=str(values.get("group") or ""),
        facts=_texts(row, values, "facts"),
    )
    answer = answered(values["answer"], _texts(row, values, "context"))
    return Labelled(example, answer, right, str(values.get("system") or ""))


def answered(text: str, context: Sequence[str]) -> Answer:
    """An answer as if `context` had stood in its prompt."""
    hits = (Hit(Chunk(f"context#{n}", "context", passage, 0, len(passage)), 1.0) for n, passage in enumerate(context))
    return Answer(text, hits=tuple(hits))


def _evouna(row: Row) -> Iterator[Labelled]:
    """The answers of several systems to one question, whose right answers stand between slashes."""
    values = row.values
    if values["improper"]:  # without a right answer
        return
    example = Example(row.where, values["question"], tuple(values["golden_answer"].split("/")))
    for column, answer in values.items():
        if column.startswith("answer_") and answer is not None:
            system = column.removeprefix("answer_")
            yield Labelled(example, Answer(answer), bool(values[f"judge_{system}"]), system)


def _begin(row: Row) -> Iterator[Labelled]:
    """A reply in a dialogue; right: fully attributable to the knowledge that it was given."""
    values = row.values
    knowledge = values["knowledge"]
    yield Labelled(
        Example(row.where, values.get("message", ""), group=knowledge),
        answered(values["response"], [knowledge]),
        values["begin_label"] == "Fully attributable",
        values["model_name"],
    )


def _halueval(row: Row) -> Iterator[Labelled]:
    """A reply to any request; right: no hallucination found."""
    values = row.values
    yield Labelled(
        Example(row.where, values["user_query"]), Answer(values["chatgpt_response"]), values["hallucination"] == "no"
    )


PUBLISHED = (
    (("question", "golden_answer", "improper"), _evouna),
    (("knowledge", "response", "begin_label"), _begin),
    (("user_query", "chatgpt_response", "hallucination"), _halueval),
)
"""Columns by which a published file is known, and what reads its rows."""


def _verdict(row: Row, values: Mapping[str, Any]) -> bool:
    said = str(values["right"] if "right" in values else values.get("label", "")).strip().lower()
    if said not in YES | NO:
        raise DataError(f"{row.where}: right is {said!r}; write 1 or 0, or yes or no")
    return said in YES


def _texts(row: Row, values: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = values.get(name) or ()
    if isinstance(found, str):
        return (found,)
    if not (isinstance(found, list | tuple) and all(isinstance(text, str) for text in found)):
        raise DataError(f"{row.where}: {name!r} must be text, or a list of texts")
    return tuple(found)


# ---------------------------------------------------------------- as text


def table(found: Sequence[Agreement]) -> str:
    """A line a metric, percent where a share is meant."""
    head = (
        "metric",
        "n",
        "not scored",
        "AUC",
        "agrees at 0.5",
        "best threshold",
        "favours long",
        "ranks systems",
    )
    rows = [
        (
            one.metric,
            f"{one.n:,}",
            f"{one.unscored:,}",
            _range(one.auc) if one.auc else "-",
            _range(one.accuracy),
            f"{_range(one.tuned)} (from {' or '.join(dict.fromkeys(f'{at:.2f}' for at in one.thresholds))})",
            _signed(one.verbosity) if one.verbosity else "-",
            _tau_text(one.tau) if one.tau else "-",
        )
        for one in found
    ]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in (head, *rows)]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _range(interval: Interval) -> str:
    return f"{100 * interval.estimate:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _signed(interval: Interval) -> str:
    return f"{100 * interval.estimate:+.0f} [{100 * interval.low:+.0f}, {100 * interval.high:+.0f}]"


def _tau_text(tau: Interval) -> str:
    return f"tau {tau.estimate:+.2f} [{tau.low:+.2f}, {tau.high:+.2f}] of {tau.n}"
