from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bakeoff.models.generators.scripted import Generator
from bakeoff.systems import RAG
from bakeoff.systems.decider import FEATURES, Decider, Draft, features, fit, load
from bakeoff.types import Answer, Chunk, Filter, Generation, Hit, Sentence, Usage


def drafts(count: int, gap: float, seed: int = 0) -> list[Draft]:
    """Half answerable; `gap` standard deviations lie between the two in one feature, the others are noise."""
    dice = np.random.default_rng(seed)
    made = []
    for number in range(count):
        answerable = number % 2 == 0
        values = dict(zip(FEATURES, dice.normal(size=len(FEATURES)).tolist(), strict=True))
        values["meaning"] += gap * answerable
        made.append(Draft(values, answerable, answerable, str(number // 2)))
    return made


def test_the_threshold_holds_its_precision_on_drafts_that_were_not_seen() -> None:
    decider, _ = fit(drafts(600, gap=2.0))
    unseen = drafts(2000, gap=2.0, seed=1)
    refused = [draft for draft in unseen if not decider.judge(draft.features)[0]]
    precision = sum(not draft.answerable for draft in refused) / len(refused)
    recall = sum(not draft.answerable for draft in refused) / 1000
    assert 0.75 <= precision <= 0.9 and recall > 0.7
    assert decider.precision == pytest.approx(precision, abs=0.06)
    assert decider.recall == pytest.approx(recall, abs=0.08)


def test_the_probability_of_being_right_is_calibrated() -> None:
    decider, _ = fit(drafts(1000, gap=2.0))
    unseen = drafts(4000, gap=2.0, seed=1)
    chances = np.array([decider.judge(draft.features)[1] for draft in unseen])
    right = np.array([draft.right for draft in unseen])
    for low, high in ((0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 1)):
        inside = (chances >= low) & (chances < high)
        assert chances[inside].mean() == pytest.approx(right[inside].mean(), abs=0.07)


def test_without_any_sign_the_threshold_is_that_of_the_best_f1_and_says_what_it_reached() -> None:
    decider, _ = fit(drafts(400, gap=0.0))
    assert decider.precision < 0.65


def test_a_decider_comes_back_from_its_file_and_only_for_what_it_was_made_from(tmp_path: Path) -> None:
    decider, _ = fit(drafts(60, gap=2.0))
    path = tmp_path / "deciders" / "rag.json"
    assert load(path) is None
    decider.save(path, "these examples")
    assert load(path) == load(path, "these examples") == decider
    assert load(path, "others") is None
    path.write_text(path.read_text().replace('"together"', '"alone"'))
    assert load(path) is None


def test_features_come_from_hits_sentences_and_tokens() -> None:
    one = Hit(Chunk("a#0", "a", "The Titan weighs 90 grams.", 0, 26), 0.03, {"bm25": 6.0, "dense": 0.8})
    again = Hit(Chunk("a#1", "a", "It floats.", 30, 40), 0.02, {"dense": 0.7})
    two = Hit(Chunk("b#0", "b", "Oil.", 0, 4), 0.01, {"bm25": 2.0, "dense": 0.5})
    answer = Answer("90 g. x", hits=(one, again, two), sentences=(Sentence(0, 5, (), 1.0), Sentence(6, 7, (), 0.5)))
    found = features("Which weight has the Titan?", answer, Generation("90 g", Usage(), "stop", (-0.1, -0.5)))
    # Content words: weight and titan; the Titan alone stands in a passage.
    assert found == {
        "words": 3.0,
        "words_margin": 2.0,
        "meaning": 0.8,
        "meaning_margin": pytest.approx(0.3),
        "coverage": 0.5,
        "together": 0.5,
        "support": 0.5,
        "logprob": pytest.approx(-0.3),
        "worst_logprob": -0.5,
        "refused": 0.0,
    }


class Shelf:
    """A retriever whose one passage lies as near as it is told."""

    def __init__(self, near: float) -> None:
        self.hit = Hit(Chunk("d#0", "d", "The Titan weighs 90 grams.", 0, 26), near, {"dense": near})

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        return [self.hit]


def test_a_system_with_a_decider_refuses_by_it_and_tells_its_confidence() -> None:
    weights = tuple(10.0 if name == "meaning" else 0.0 for name in FEATURES)
    flat = (0.0,) * len(FEATURES)
    decider = Decider(flat, (1.0,) * len(FEATURES), (*weights, -5.0), (*flat, 0.0), 0.5, 0.8, 0.6, 10)
    near, far = (
        RAG(Generator(lambda _: "90 grams"), Shelf(score), mode="documents", decider=decider).answer("?")
        for score in (0.9, 0.1)
    )
    assert (near.text, near.confidence) == ("90 grams", 0.5)
    assert (far.outcome, far.citations, far.trace[-1].detail) == (
        "abstained",
        (),
        "refuse; right with probability 0.50",
    )
