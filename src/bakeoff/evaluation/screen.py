"""What could be gained at most, before anything is trained: by retrieval, by better retrieval, by form, by reading.

The base model is asked the same questions four times: with nothing, with examples, with what the project retrieves, and
with the passage that holds the answer and nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bakeoff.errors import ConfigError, DataError
from bakeoff.evaluation import compare, folder, gold, stats
from bakeoff.evaluation.comparison import RIGHT, Comparison
from bakeoff.evaluation.gold import Given, Located
from bakeoff.evaluation.metrics import Scoring, scoring
from bakeoff.evaluation.sharing import Work
from bakeoff.evaluation.stats import Floats, Interval
from bakeoff.systems import RAG, Prompt
from bakeoff.types import Answer, Example, Generator, Hit, Retriever, System

LEAST = 10
"""Questions below which every interval says "anything"."""
CLOSED, SHOTS, RETRIEVAL, ORACLE = "closed-book", "few-shot", "retrieval", "oracle"
STRICT = "exact"
"""The metric of an answer in the very form of the reference."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Questions that can be screened."""

    examples: tuple[Example, ...]
    passages: dict[str, tuple[Hit, ...]]
    """Question -> the passages that hold its answer."""
    left_out: int
    """Questions looked at without finding such a passage."""


@dataclass(frozen=True, slots=True)
class Gain:
    """What one kind of work could add, as a share of all questions."""

    by: str
    means: str
    """The difference that was measured."""
    interval: Interval
    next: str
    """What to do, with the command."""
    bound: bool = True
    """Whether it is the most that this work could add, rather than what it did add."""


@dataclass(frozen=True, slots=True)
class Screening:
    """What was measured; `str()` is the whole page."""

    n: int
    left_out: int
    right: dict[str, Interval]
    """System -> share of the questions answered right."""
    strict: dict[str, Interval]
    """System -> share answered in the very words of a reference."""
    gains: tuple[Gain, ...]
    """The largest first; what is not shown to be above 0 comes last."""

    @property
    def first(self) -> str:
        """What to try first, in words with the command."""
        gain = self.gains[0]
        if gain.interval.low > 0:
            return f"{gain.by}, {'at most ' if gain.bound else ''}{_points(gain.interval)} points: {gain.next}"
        return f"nothing is shown to gain; ask more: bakeoff screen --sample {10 * self.n}"

    def __str__(self) -> str:
        lines = [f"{self.n} questions that are not for testing{self._out()}; percent with 95% intervals", ""]
        lines += [f"  {'base model with':<16}  {'right':>20}  {'word for word':>20}"]
        lines += [
            f"  {name:<16}  {_rate(rate):>20}  {_rate(self.strict[name]):>20}" for name, rate in self.right.items()
        ]
        lines += ["", "could be gained (the largest first; upper bounds, but for what is measured):"]
        lines += [f"  {gain.by:<16}  {_points(gain.interval):>22}  {gain.means}" for gain in self.gains]
        return "\n".join([*lines, "", f"try first: {self.first}"])

    def _out(self) -> str:
        return f" ({self.left_out} left out: no passage was found that holds their answer)" if self.left_out else ""


def sample(examples: Sequence[Example], corpus: Located, count: int, seed: int) -> Sample:
    """At most `count` of `examples`, drawn at random, whose answer stands in a passage of `corpus`.

    Raises `DataError` where there are fewer than `LEAST`, `ConfigError` where fewer are wanted.
    """
    if count < LEAST:
        raise ConfigError(f"a sample of {count} shows nothing; take at least {LEAST}: bakeoff screen --sample 100")
    order = [example for example in examples if example.answerable]
    random.Random(seed).shuffle(order)
    chosen: list[Example] = []
    passages: dict[str, tuple[Hit, ...]] = {}
    looked = 0
    for example in order:
        if len(chosen) == count:
            break
        looked += 1
        found = gold.find(example, corpus)
        if found.whole:
            chosen.append(example)
            passages[example.question] = found.hits
    if len(chosen) < LEAST:
        raise DataError(
            f"only {len(chosen)} of {looked} questions that are not for testing have an answer that is found in the "
            f"documents, and {LEAST} are needed; add `evidence` to more questions, or run `bakeoff ingest`"
        )
    return Sample(tuple(chosen), passages, looked - len(chosen))


def screen(
    generator: Generator,
    rag: RAG,
    shots: Sequence[Example],
    sample: Sample,
    metrics: Sequence[str | Scoring],
    *,
    out: Path,
    seed: int = 0,
    settings: folder.Settings | None = None,
    fresh: bool = False,
    work: Work | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Screening:
    """Ask, record in `out` and judge; a second call goes on where the first stopped.

    `rag` retrieves as the project does; `shots` must not be in the sample. The first of `metrics` says what is right.
    """
    systems: list[System] = [
        Prompt(generator, name=CLOSED),
        Prompt(generator, shots=shots, name=SHOTS),
        rag.over(_as_is, name=RETRIEVAL),
        rag.over(partial(_given, sample.passages), name=ORACLE),
    ]
    wanted = tuple(dict.fromkeys([*metrics, STRICT]))
    deciding = scoring(wanted[0])
    # A judge costs an answer of its own, and can score without passages.
    if not deciding.model and all(deciding.score(one, Answer("so")) is None for one in sample.examples):
        raise DataError(_unscored(deciding.name))
    comparison = compare.compare(
        systems,
        sample.examples,
        wanted,
        out=out,
        seed=seed,
        settings=settings,
        fresh=fresh,
        work=work,
        timed=compare.FEW_TIMED,
        progress=progress,
    )
    return judge(comparison, sample.left_out)


def _unscored(metric: str) -> str:
    return (
        f"a screening needs a metric that scores answers without passages, and {metric} scored no question for all "
        'four; put another first in [compare] metrics, as in ["recall"]'
    )


def judge(comparison: Comparison, left_out: int = 0) -> Screening:
    """The bounds that the four systems of a screening show; loads no model."""
    ids = comparison.scored(comparison.systems, comparison.primary)
    if not ids:
        raise DataError(_unscored(comparison.primary))
    groups = comparison.groups(ids)

    def lenient(system: str) -> Floats:
        return np.asarray(comparison.values(system, comparison.primary, ids) >= RIGHT, dtype=float)

    def strict(system: str) -> Floats:
        # What is right by another metric may differ from the reference in form only, never the other way round.
        return np.asarray(lenient(system) * (comparison.values(system, STRICT, ids) == 1), dtype=float)

    def gap(a: Floats, b: Floats) -> Interval:
        return stats.paired_difference(a, b, groups)

    names = (CLOSED, SHOTS, RETRIEVAL, ORACLE)
    best = max(names[:3], key=lambda name: lenient(name).mean())
    read = stats.score_interval(1 - lenient(ORACLE), groups)
    gains = [
        Gain(
            "retrieval",
            f"{ORACLE} - {CLOSED}",
            gap(lenient(ORACLE), lenient(CLOSED)),
            'let a system read the documents, [systems.rag] with type = "rag": bakeoff compare',
        ),
        Gain(
            "better retrieval",
            f"{ORACLE} - {RETRIEVAL}",
            gap(lenient(ORACLE), lenient(RETRIEVAL)),
            'find the right passages more often: bakeoff fit, then retriever = "reranked" or a larger k',
        ),
        Gain(
            "examples",
            f"{SHOTS} - {CLOSED} (measured)",
            gap(lenient(SHOTS), lenient(CLOSED)),
            "show the model some answers, [systems.few-shot] with shots = 4: bakeoff compare",
            bound=False,
        ),
        Gain(
            "form",
            f"right - word for word, of {best}",
            gap(lenient(best), strict(best)),
            "the answers are right but not in your words; if that matters, show examples or tune: bakeoff tune",
        ),
        Gain(
            "reading",
            f"100 - {ORACLE}",
            read,
            'with the right passage alone it still answers wrongly: tune it to read (lesson = "rag"), '
            "or take a larger base: bakeoff tune",
        ),
    ]
    return Screening(
        len(ids),
        left_out,
        {name: stats.score_interval(lenient(name), groups) for name in names},
        {name: stats.score_interval(strict(name), groups) for name in names},
        tuple(sorted(gains, key=lambda gain: (gain.interval.low <= 0, -gain.interval.estimate))),
    )


def _as_is(retriever: Retriever) -> Retriever:
    return retriever


def _given(passages: dict[str, tuple[Hit, ...]], _: Retriever) -> Retriever:
    return Given(passages)


def _rate(interval: Interval) -> str:
    return f"{100 * interval.estimate:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _points(interval: Interval) -> str:
    return f"{100 * interval.estimate:+.1f} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
