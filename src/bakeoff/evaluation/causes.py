"""The trees of a diagnosis: from all that was answered to a question to the stage at which its answer was lost."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bakeoff.evaluation import gold
from bakeoff.evaluation.comparison import RIGHT
from bakeoff.evaluation.diagnosis import RETRIEVED, Finding
from bakeoff.evaluation.gold import Gold
from bakeoff.evaluation.metrics import _text, recall
from bakeoff.types import Answer, Example, Hit

CLOSED, GOLD_ONLY, GOLD_FIRST, GOLD_REMOVED = "C0 closed book", "C2 gold only", "C3 gold first", "C4 gold removed"
BASE, TRAINING = "base", "training wording"

UNSURE = (0.35, 0.65)
"""Scores so near to `RIGHT` that a person should look."""
PART = 0.3
"""From this score on a wrong answer is a part of the right one; one with another number reaches a quarter at most."""
SAME = 0.8
"""Share of words from which on two texts say the same."""
HELD = 0.5
"""Below this share of its words in the passages an answer has not been read there."""


@dataclass(frozen=True, slots=True)
class Case:
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


def stage(case: Case) -> str:
    """The first stage at which the answer was lost. What is special comes before what is general.

    An answer from memory, from a conflicting passage or of half the facts is also wrong among other passages, so that
    these three would never be found if `distracted` and `position` were asked first.
    """
    if not case.example.answerable:
        return "should have refused"
    if _in_another_form(case):
        return "format"
    if case.gold.absent:
        return "correct refusal" if refused(case.answer) else "not in corpus"
    if case.gold.unchunked:
        return "chunking"
    if not case.gold.shown_by(case.answer.hits):
        lost = ((case.found, "retrieval miss"), (case.selected, "rerank loss"))
        return next((stage for hits, stage in lost if not case.gold.shown_by(hits)), "packing loss")
    if refused(case.answer):
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


def learnt(case: Case, lesson: Example | None) -> str:
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
    known = not refused(said) and _says(said.text, _text.references(lesson))
    return "memorised" if known else "not learned"


def finding(case: Case, cause: str) -> Finding:
    read, score = case.right(GOLD_ONLY), case.runs[GOLD_ONLY][1]
    answered = not refused(case.runs[GOLD_ONLY][0])
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


def _in_another_form(case: Case) -> bool:
    """Whether the answer is there for a reader who forgives the form: thinking out loud, JSON, spaced letters."""
    if refused(case.answer):
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


def refused(answer: Answer) -> bool:
    return answer.outcome in ("abstained", "fallback")


def _from_memory(case: Case) -> bool:
    """Whether the answer is the closed-book one, and not in the passages."""
    memory = case.runs[CLOSED][0]
    if refused(memory):
        return False
    said, before = (_own_words(answer.text, case.example) for answer in (case.answer, memory))
    passages = " ".join(hit.chunk.text for hit in case.answer.hits)
    alike = min(_share(said, before), _share(before, said)) >= SAME
    return bool(said) and alike and _share(said, _text.content(passages)) < HELD


def _rival(case: Case) -> Hit | None:
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


def taught(example: Example, trained_on: Sequence[Example]) -> Example | None:
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


def _outdated(case: Case, lesson: Example) -> bool:
    """Whether it said what it was taught, and that is no longer right."""
    then, now = _text.references(lesson), _text.references(case.example)
    return not any(_says(right, now) for right in then) and _says(case.answer.text, then)


_TAG = re.compile(r"</?\w+>|[{}\"`]")
_NO_LETTER = re.compile(r"[\W_]+")
