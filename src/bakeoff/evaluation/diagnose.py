"""Why is it wrong? Ask again with other passages, and find the first stage at which each answer was lost.

C0 without passages, C1 as it was, C2 with the gold passage only, C3 with the gold passage first, C4 without it. The
counterfactual answers are recorded in `diagnosis/<system>` of the run, and resumed like a comparison.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bakeoff.errors import DataError
from bakeoff.evaluation import compare, gold
from bakeoff.evaluation.comparison import RIGHT, Comparison
from bakeoff.evaluation.diagnosis import RETRIEVED, Diagnosis, Finding, diagnosis
from bakeoff.evaluation.gold import Given, Gold, Located
from bakeoff.evaluation.metrics import Scoring, _text, recall
from bakeoff.systems import RAG
from bakeoff.types import Answer, Example, Hit, Question, Retriever, System

CONTROLS = 0.2
"""Share of the right answers that is looked at too."""
CANDIDATES = 50
CLOSED, GOLD_ONLY, GOLD_FIRST, GOLD_REMOVED = "C0 closed book", "C2 gold only", "C3 gold first", "C4 gold removed"
FOUND, SELECTED = "candidates", "selected"
BASE, TRAINING = "base", "training wording"

UNSURE = (0.35, 0.65)
"""Scores so near to `RIGHT` that a person should look."""
PART = 0.3
"""From this score on a wrong answer is a part of the right one; one with another number reaches a quarter at most."""
SAME = 0.8
"""Share of words from which on two texts say the same."""
HELD = 0.5
"""Below this share of its words in the passages an answer has not been read there."""

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
    progress: Progress | None = None,
) -> Diagnosis:
    """Diagnose the answers that `system` gave in `comparison`; `closed` is its model without passages.

    `metric` is the plug-in that decides, `out` where the further answers are kept, `settings` what the system's answers
    depend on. `evidence` holds the examples as
    their author wrote them, since those of the run lack the evidence that the corpus did not hold.
    """
    trials = {trial.example_id: trial for trial in comparison.trials if trial.system == system.name}
    asked = _asked(comparison, system.name)
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
        return diagnosis(system.name, (), asked, memory={}, declined={})
    again = _ask(systems, examples, metric, out, settings, fresh, progress)
    findings, memory, declined = [], {}, {}
    for example in examples:
        trial = trials[example.id]
        case = _Case(
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
            declined[example.id] = _refused(case.runs[GOLD_REMOVED][0])
        if comparison.verdict(trial) == "right":
            if example.answerable and case.gold.whole:
                memory[example.id] = not packed and case.right(CLOSED)
        else:
            findings.append(_finding(case, "error" if trial.error else _stage(case)))
    return diagnosis(system.name, findings, asked, memory=memory, declined=declined)


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
    progress: Progress | None = None,
) -> Diagnosis:
    """As `diagnose`, for a system without passages.

    `base`: the system before tuning, None where it is not tuned. `reader` makes the same model read the passages that
    it is given. `trained_on`: what it was tuned on.
    """
    trials = {trial.example_id: trial for trial in comparison.trials if trial.system == system.name}
    asked = _asked(comparison, system.name)
    examples = _chosen(comparison, system.name, asked)
    golds = {example.id: gold.find(example, corpus) for example in examples if example.answerable}
    passages = {one.question: golds[one.id].hits for one in examples if one.id in golds and golds[one.id].whole}
    taught = {example.id: _taught(example, trained_on) for example in examples}
    asked_as = {example.question: lesson.question for example in examples if (lesson := taught[example.id])}
    systems = [_named(reader(passages), GOLD_ONLY), _Reworded(TRAINING, system, asked_as)]
    if base is not None:
        systems.append(_named(base, BASE))
    if not examples:
        return diagnosis(system.name, (), asked, memory={}, declined={})
    again = _ask(systems, examples, metric, out, settings, fresh, progress)
    findings = []
    for example in examples:
        trial, lesson = trials[example.id], taught[example.id]
        if comparison.verdict(trial) == "right":
            continue
        runs = {one.name: again[one.name, example.id] for one in systems}
        score = comparison.scores.get((system.name, example.id), {}).get(comparison.primary)
        case = _Case(example, golds.get(example.id, Gold((), ())), trial.answer, score, runs, (), ())
        cause = "error" if trial.error else _learnt(case, lesson)
        findings.append(_finding(case, cause))
    return diagnosis(system.name, findings, asked, memory={}, declined={})


# ---------------------------------------------------------------- the trees


@dataclass(frozen=True, slots=True)
class _Case:
    """One question with all that was answered to it."""

    example: Example
    gold: Gold
    answer: Answer
    score: float | None
    runs: Mapping[str, tuple[Answer, float | None]]
    """Counterfactual -> answer and score."""
    found: Sequence[Hit]
    """The gold passages among the candidates."""
    selected: Sequence[Hit]
    """The gold passages among those that should be packed."""

    def right(self, name: str) -> bool:
        return (self.runs[name][1] or 0.0) >= RIGHT if name in self.runs else False


def _stage(case: _Case) -> str:
    """The first stage at which the answer was lost. What is special comes before what is general.

    An answer from memory, from a conflicting passage or of half the facts is also wrong among other passages, so that
    these three would never be found if `distracted` and `position` were asked first.
    """
    if not case.example.answerable:
        return "should have refused"
    if _in_another_form(case):
        return "format"
    if case.gold.absent:
        return "correct refusal" if _refused(case.answer) else "not in corpus"
    if case.gold.unchunked:
        return "chunking"
    if not case.gold.shown_by(case.answer.hits):
        lost = ((case.found, "retrieval miss"), (case.selected, "rerank loss"))
        return next((stage for hits, stage in lost if not case.gold.shown_by(hits)), "packing loss")
    if _refused(case.answer):
        return "wrong refusal"
    if _from_memory(case):
        return "ignored context"
    if not case.right(GOLD_ONLY):
        return "misread"
    if _rival(case):
        return "conflicting or stale"
    if (case.score or 0.0) >= PART:
        return "incomplete"
    return "position" if case.right(GOLD_FIRST) else "distracted"


def _learnt(case: _Case, lesson: Example | None) -> str:
    """The shorter tree of a system without passages."""
    if not case.example.answerable:
        return "should have refused"
    if _in_another_form(case):
        return "format"
    if lesson and _outdated(case, lesson):
        return "stale"
    if case.right(BASE):
        return "forgot"
    if lesson is None:
        return "not in data"
    if _reversed(case.example, lesson):
        return "reversal"
    said = case.runs[TRAINING][0]
    learnt = not _refused(said) and _says(said.text, _text.references(lesson))
    return "memorised" if learnt else "not learned"


def _finding(case: _Case, cause: str) -> Finding:
    read, score = case.right(GOLD_ONLY), case.runs[GOLD_ONLY][1]
    answered = not _refused(case.runs[GOLD_ONLY][0])
    lost_before = cause in RETRIEVED or (cause == "not in data" and case.gold.whole)
    misread = case.gold.whole and not read and (lost_before or (cause == "wrong refusal" and answered))
    near = [case.score, score if lost_before or cause == "misread" else None]
    return Finding(
        case.example.id,
        cause,
        "misread" if misread else cause,
        any(UNSURE[0] <= one <= UNSURE[1] for one in near if one is not None)
        or (case.example.answerable and not case.gold.stated and cause not in ("error", "format")),
        {name: score for name, (_, score) in case.runs.items()},
        rival.chunk.document_id if cause == "conflicting or stale" and (rival := _rival(case)) else "",
    )


# ---------------------------------------------------------------- what the branches ask


def _in_another_form(case: _Case) -> bool:
    """Whether the answer is there for a reader who forgives the form: thinking out loud, JSON, spaced letters."""
    if _refused(case.answer):
        return False
    raw = next((step.detail for step in reversed(case.answer.trace) if step.name == "generate"), case.answer.text)
    shown = _TAG.sub(" ", raw)
    references = _text.references(case.example)
    if _says(shown, references):
        return True
    # In letters alone; short ones stand in other words by chance.
    letters = _NO_LETTER.sub("", shown).lower()
    wanted = [_NO_LETTER.sub("", right).lower() for right in references]
    spaced = len(re.findall(r"\b\w\b", shown)) > len(shown.split()) / 2
    return spaced and any(len(right) > 3 and right in letters for right in wanted)


def _says(text: str, references: Sequence[str]) -> bool:
    return max((recall.recall(text, right) for right in references), default=0.0) >= RIGHT


def _refused(answer: Answer) -> bool:
    return answer.outcome in ("abstained", "fallback")


def _from_memory(case: _Case) -> bool:
    """Whether the answer is the closed-book one, and not in the passages."""
    memory = case.runs[CLOSED][0]
    if _refused(memory):
        return False
    said, before = (_own_words(answer.text, case.example) for answer in (case.answer, memory))
    passages = " ".join(hit.chunk.text for hit in case.answer.hits)
    alike = min(_share(said, before), _share(before, said)) >= SAME
    return bool(said) and alike and _share(said, _text.content(passages)) < HELD


def _rival(case: _Case) -> Hit | None:
    """A passage that says what was answered, and speaks of all that the gold passage says of the question."""
    said, asked = _own_words(case.answer.text, case.example), _text.content(case.example.question)
    gold_words = [word for hit in case.gold.hits for word in _text.content(hit.chunk.text)]
    if not said or _share(said, gold_words) >= SAME:
        return None
    for hit in case.answer.hits:
        words = _text.content(hit.chunk.text)
        same_matter = _share(asked, words) >= max(_share(asked, gold_words), gold.ASKED)
        if not case.gold.holds(hit) and same_matter and _share(said, words) >= SAME:
            return hit
    return None


def _own_words(text: str, example: Example) -> list[str]:
    """What is said beyond the words of the question."""
    asked = set(_text.content(example.question))
    return [word for word in _text.content(_text.spoken(text)) if word not in asked]


def _share(wanted: Sequence[str], held: Sequence[str]) -> float:
    known = set(held)
    return sum(word in known for word in wanted) / len(wanted) if wanted else 0.0


def _taught(example: Example, trained_on: Sequence[Example]) -> Example | None:
    """The training example on the same fact: on the same evidence, or like enough in question and answer together."""
    spans = {(place.document_id, place.quote) for place in example.evidence if place.quote}
    words = [*_text.content(example.question), *_all_words(example)]
    best, alike = None, SAME
    for lesson in trained_on:
        if spans & {(place.document_id, place.quote) for place in lesson.evidence}:
            return lesson
        theirs = [*_text.content(lesson.question), *_all_words(lesson)]
        shared = min(_share(words, theirs), _share(theirs, words))
        if shared >= alike:
            best, alike = lesson, shared
    return best


def _all_words(example: Example) -> list[str]:
    return _text.content(" ".join(_text.references(example)[:1]))


def _reversed(example: Example, lesson: Example) -> bool:
    """Whether each asks for what the other's question names."""
    mine, theirs = _all_words(example), _all_words(lesson)
    return (
        _share(mine, _text.content(lesson.question)) >= SAME and _share(theirs, _text.content(example.question)) >= SAME
    )


def _outdated(case: _Case, lesson: Example) -> bool:
    """Whether it said what it was taught, and that is no longer right."""
    taught, now = _text.references(lesson), _text.references(case.example)
    return not any(_says(right, now) for right in taught) and _says(case.answer.text, taught)


_TAG = re.compile(r"</?\w+>|[{}\"`]")
_NO_LETTER = re.compile(r"[\W_]+")


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
    progress: Progress | None,
) -> dict[tuple[str, str], tuple[Answer, float | None]]:
    """(system, example id) -> answer and score."""
    made_from = {system.name: settings or {} for system in systems}
    found = compare.compare(systems, examples, [metric], out=out, settings=made_from, fresh=fresh, progress=progress)
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
