"""Why is it wrong? Ask again with other passages, and find the first stage at which each answer was lost.

C0 without passages, C1 as it was, C2 with the gold passage only, C3 with the gold passage first, C4 without it. The
counterfactual answers are recorded in `diagnosis/<system>` of the run, and resumed like a comparison.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bakeoff.errors import DataError
from bakeoff.evaluation import compare, gold
from bakeoff.evaluation.causes import (
    BASE,
    CLOSED,
    GOLD_FIRST,
    GOLD_ONLY,
    GOLD_REMOVED,
    TRAINING,
    Case,
    finding,
    learnt,
    refused,
    stage,
    taught,
)
from bakeoff.evaluation.comparison import Comparison
from bakeoff.evaluation.diagnosis import Diagnosis, diagnosis
from bakeoff.evaluation.gold import Given, Gold, Located
from bakeoff.evaluation.metrics import Scoring
from bakeoff.evaluation.sharing import Work
from bakeoff.systems import RAG
from bakeoff.types import Answer, Example, Hit, Question, Retriever, System

CONTROLS = 0.2
"""Share of the right answers that is looked at too."""
CANDIDATES = 50
FOUND, SELECTED = "candidates", "selected"
Progress = Callable[[int, int, str], None]


def diagnose(
    system: RAG,
    closed: System,
    comparison: Comparison,
    corpus: Located,
    metric: str | Scoring,
    *,
    out: Path,
    evidence: Mapping[str, Example] | None = None,
    settings: Mapping[str, Any] | None = None,
    fresh: bool = False,
    work: Work | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Diagnose the answers that `system` gave in `comparison`; `closed` is its model without passages.

    `metric` is the plug-in that decides, `out` where the further answers are kept, `settings` what the system's answers
    depend on. `evidence` holds the examples as their author wrote them: those of the run lack the evidence that the
    corpus did not hold.
    """
    trials = {trial.example_id: trial for trial in comparison.trials if trial.system == system.name}
    asked, fingerprint = _asked(comparison, system.name), comparison.run.get("examples", "")
    examples = [_with_evidence(example, evidence or {}) for example in _chosen(comparison, system.name, asked)]
    golds = {example.id: gold.find(example, corpus) for example in examples if example.answerable}
    known = [(example, golds[example.id]) for example in examples if example.id in golds]

    def given(passages: Callable[[Gold, Sequence[Hit]], Sequence[Hit]], name: str) -> System:
        found = {example.question: passages(one, trials[example.id].answer.hits) for example, one in known if one.whole}
        return system.over(partial(_given, found), name=name, unlimited=True)

    by_question = {example.question: one for example, one in known}
    systems: list[System] = [
        _named(closed, CLOSED),
        given(lambda one, hits: one.hits, GOLD_ONLY),
        given(_gold_first, GOLD_FIRST),
        given(lambda one, hits: [hit for hit in hits if not one.holds(hit)], GOLD_REMOVED),
        _Ranks(FOUND, system, by_question, CANDIDATES),
        _Ranks(SELECTED, system, by_question, 0),
    ]
    if not examples:
        return diagnosis(system.name, (), asked, memory={}, declined={}, examples=fingerprint)
    again = _ask(systems, examples, metric, out, settings, fresh, work, progress)
    findings, memory, declined = [], {}, {}
    for example in examples:
        trial = trials[example.id]
        case = Case(
            example,
            golds.get(example.id, Gold((), ())),
            trial.answer,
            comparison.scores.get((system.name, example.id), {}).get(comparison.primary),
            {name: again[name, example.id] for name in (CLOSED, GOLD_ONLY, GOLD_FIRST, GOLD_REMOVED)},
            again[FOUND, example.id][0].hits,
            again[SELECTED, example.id][0].hits,
        )
        packed = case.gold.whole and case.gold.shown_by(trial.answer.hits)
        if packed:
            declined[example.id] = refused(case.runs[GOLD_REMOVED][0])
        if comparison.verdict(trial) == "right":
            if example.answerable and case.gold.whole:
                memory[example.id] = not packed and case.right(CLOSED)
        else:
            findings.append(finding(case, "error" if trial.error else stage(case)))
    return diagnosis(system.name, findings, asked, memory=memory, declined=declined, examples=fingerprint)


def diagnose_closed(
    system: System,
    base: System | None,
    reader: Callable[[Mapping[str, Sequence[Hit]]], System],
    comparison: Comparison,
    corpus: Located,
    trained_on: Sequence[Example],
    metric: str | Scoring,
    *,
    out: Path,
    settings: Mapping[str, Any] | None = None,
    fresh: bool = False,
    work: Work | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """As `diagnose`, for a system without passages.

    `base`: the system before tuning, None where it is not tuned. `reader` makes the same model read the passages that
    it is given. `trained_on`: what it was tuned on.
    """
    trials = {trial.example_id: trial for trial in comparison.trials if trial.system == system.name}
    asked, fingerprint = _asked(comparison, system.name), comparison.run.get("examples", "")
    examples = _chosen(comparison, system.name, asked)
    golds = {example.id: gold.find(example, corpus) for example in examples if example.answerable}
    passages = {one.question: golds[one.id].hits for one in examples if one.id in golds and golds[one.id].whole}
    lessons = {example.id: taught(example, trained_on) for example in examples}
    asked_as = {example.question: lesson.question for example in examples if (lesson := lessons[example.id])}
    systems = [_named(reader(passages), GOLD_ONLY), _Reworded(TRAINING, system, asked_as)]
    if base is not None:
        systems.append(_named(base, BASE))
    if not examples:
        return diagnosis(system.name, (), asked, memory={}, declined={}, examples=fingerprint)
    again = _ask(systems, examples, metric, out, settings, fresh, work, progress)
    findings = []
    for example in examples:
        trial, lesson = trials[example.id], lessons[example.id]
        if comparison.verdict(trial) == "right":
            continue
        runs = {one.name: again[one.name, example.id] for one in systems}
        score = comparison.scores.get((system.name, example.id), {}).get(comparison.primary)
        case = Case(example, golds.get(example.id, Gold((), ())), trial.answer, score, runs, (), ())
        cause = "error" if trial.error else learnt(case, lesson)
        findings.append(finding(case, cause))
    return diagnosis(system.name, findings, asked, memory={}, declined={}, examples=fingerprint)


# ---------------------------------------------------------------- asking


class _Ranks:
    """Not a contestant: answers with the gold passages among the first `depth`, 0 for as many as are read."""

    def __init__(self, name: str, system: RAG, golds: Mapping[str, Gold], depth: int) -> None:
        self.name = name
        self._system = system
        self._golds = golds
        self._depth = depth

    def answer(self, question: Question | str) -> Answer:
        question = Question.of(question)
        found = self._golds.get(question.text)
        if found is None or not found.whole:
            return Answer("")
        ranked = enumerate(self._system.retrieve(question, self._depth), start=1)
        held = [Hit(hit.chunk, 1 / rank) for rank, hit in ranked if found.holds(hit)]
        return Answer(f"{len(held)} of {self._depth or 'those that are read'}", hits=tuple(held))


class _Reworded:
    """Asks a system in other words."""

    def __init__(self, name: str, system: System, words: Mapping[str, str]) -> None:
        self.name = name
        self._system = system
        self._words = words

    def answer(self, question: Question | str) -> Answer:
        question = Question.of(question)
        return self._system.answer(self._words.get(question.text, question.text))


def _ask(
    systems: Sequence[System],
    examples: Sequence[Example],
    metric: str | Scoring,
    out: Path,
    settings: Mapping[str, Any] | None,
    fresh: bool,
    work: Work | None,
    progress: Progress | None,
) -> dict[tuple[str, str], tuple[Answer, float | None]]:
    """(system, example id) -> answer and score."""
    made_from = {system.name: settings or {} for system in systems}
    found = compare.compare(
        systems,
        examples,
        [metric],
        out=out,
        settings=made_from,
        fresh=fresh,
        work=work,
        timed=compare.FEW_TIMED,
        progress=progress,
    )
    return {
        (trial.system, trial.example_id): (
            trial.answer,
            found.scores.get((trial.system, trial.example_id), {}).get(found.primary),
        )
        for trial in found.trials
    }


def _asked(comparison: Comparison, system: str) -> dict[str, str]:
    """Id -> cluster of every question that was scored, or raised."""
    ids = [trial.example_id for trial in comparison.trials if trial.system == system]
    scored = [id for id in ids if comparison.scores.get((system, id), {}).get(comparison.primary) is not None]
    if not scored:
        raise DataError(f"no answer of {system!r} was scored in this run; run `bakeoff compare {system}` first")
    return dict(zip(scored, comparison.groups(scored), strict=True))


def _chosen(comparison: Comparison, system: str, asked: Mapping[str, str]) -> list[Example]:
    """Those answered wrongly, and a random part of the others."""
    verdicts = {trial.example_id: comparison.verdict(trial) for trial in comparison.trials if trial.system == system}
    wrong = [id for id in asked if verdicts[id] != "right"]
    right = [id for id in asked if verdicts[id] == "right"]
    controls = random.Random(comparison.seed).sample(right, round(CONTROLS * len(right)))
    return [comparison.examples[id] for id in sorted({*wrong, *controls})]


def _with_evidence(example: Example, written: Mapping[str, Example]) -> Example:
    return replace(example, evidence=written[example.id].evidence) if example.id in written else example


def _given(passages: Mapping[str, Sequence[Hit]], _: Retriever) -> Retriever:
    return Given(passages)


def _gold_first(one: Gold, hits: Sequence[Hit]) -> Sequence[Hit]:
    """As many passages as there were, the gold ones in front."""
    others = [hit for hit in hits if not one.holds(hit)]
    return [*one.hits, *others][: max(len(hits), len(one.hits))]


def _named(system: System, name: str) -> System:
    return _Reworded(name, system, {})
