"""Worlds in which it is known what should be shipped, and why: what is recommended and diagnosed must be that."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from bakeoff.evaluation.compare import Comparison, compare
from bakeoff.evaluation.diagnose import diagnose_closed
from bakeoff.evaluation.faults import GUESS, Bench, Reply
from bakeoff.evaluation.gold import Given
from bakeoff.evaluation.recommend import recommend
from bakeoff.systems import RAG
from bakeoff.systems.prompt import ABSTENTION
from bakeoff.types import Example, Hit, System
from demo_world import World

ASKED = 90
DELTA = 0.1
"""Questions on some 30 documents cannot show that 3 points are not lost, not even where all answers are the same."""


@dataclass(frozen=True)
class Planted:
    """What the base model and the tuned one say, given a question and passages, and what the base lacks."""

    ships: str | None
    base: Callable[[Bench, str, Sequence[str]], str]
    tuned: Callable[[Bench, str, Sequence[str]], str]
    lacks: dict[str, tuple[str, str, str]]
    """System -> the cause of its wrong answers, what binds, and the verdict."""
    asked: int = ASKED


def knows(bench: Bench, question: str, passages: Sequence[str]) -> str:
    return bench.of(question).references[0]


def reads(bench: Bench, question: str, passages: Sequence[str]) -> str:
    return bench.read(question, passages) if passages else GUESS


def guesses(bench: Bench, question: str, passages: Sequence[str]) -> str:
    return GUESS if passages else ABSTENTION


def rambles(bench: Bench, question: str, passages: Sequence[str]) -> str:
    """Knows the answer, and never gets to the point."""
    return f"<think> {bench.of(question).references[0]}"


def by_chance(bench: Bench, question: str, passages: Sequence[str]) -> str:
    """Right on half of the questions, with passages on the other half."""
    heads = zlib.crc32(question.encode()) % 2 == bool(passages)
    return bench.of(question).references[0] if heads else GUESS


NOTHING = ("", "", "nothing is wrong")
NO_DOCUMENT = ("not in data", "not in data", "ingredients")
FORM = ("format", "format", "recipe")
READING = ("misread", "misread", "recipe")
DOCUMENT_AND_READING = ("not in data", "misread", "recipe")
"""A document alone would not help: the model does not read."""

WORLDS = {
    "a prompt suffices": Planted("zero-shot", knows, knows, {"zero-shot": NOTHING, "rag": NOTHING}),
    "ingredients only": Planted("rag", reads, reads, {"zero-shot": NO_DOCUMENT, "rag": NOTHING}),
    "recipe only": Planted("lora", rambles, knows, {"zero-shot": FORM, "rag": FORM}),
    "both": Planted("lora-rag", guesses, reads, {"zero-shot": DOCUMENT_AND_READING, "rag": READING}),
    "undecidable": Planted(None, by_chance, by_chance, {"zero-shot": NO_DOCUMENT, "rag": READING}, asked=30),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("planted"))


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """That every answer reaches the disk is tested elsewhere."""
    monkeypatch.setattr("bakeoff.evaluation.folder.os.fsync", lambda descriptor: None)


def contest(world: World, planted: Planted, out: Path) -> tuple[Comparison, dict[str, System], list[Example]]:
    bench = world.bench

    def reply(says: Callable[[Bench, str, Sequence[str]], str]) -> Reply:
        return lambda question, passages: says(bench, question, passages)

    systems: dict[str, System] = {}
    for suffix, says in (("", planted.base), ("lora", planted.tuned)):
        closed, rag = bench.closed(reply(says)), bench.rag(reply(says))
        closed.name, rag.name = suffix or "zero-shot", "-".join(filter(None, (suffix, "rag")))
        systems |= {closed.name: closed, rag.name: rag}
    examples = world.right[:: max(1, len(world.right) // planted.asked)][: planted.asked]
    order = [systems[name] for name in ("zero-shot", "rag", "lora", "lora-rag")]
    return compare(order, examples, ["recall"], out=out), systems, examples


@pytest.mark.parametrize("name", WORLDS)
def test_what_is_shipped_is_what_was_planted(world: World, name: str, tmp_path: Path) -> None:
    planted = WORLDS[name]
    choice = recommend(contest(world, planted, tmp_path)[0], delta=DELTA)
    assert choice.system == planted.ships, str(choice)
    assert choice.confidence == ("CLEAR" if planted.ships else "UNDECIDED"), str(choice)


@pytest.mark.parametrize("name", WORLDS)
def test_the_diagnosis_of_the_base_says_what_it_lacks(world: World, name: str, tmp_path: Path) -> None:
    planted = WORLDS[name]
    comparison, systems, examples = contest(world, planted, tmp_path / "all")
    rag, closed = systems["rag"], systems["zero-shot"]
    assert isinstance(rag, RAG)

    def reader(passages: Mapping[str, Sequence[Hit]]) -> RAG:
        return world.bench.rag(lambda question, shown: planted.base(world.bench, question, shown), Given(passages))

    found = {
        "rag": world.diagnose(rag, closed, examples, tmp_path / "rag"),
        "zero-shot": diagnose_closed(
            closed, None, reader, comparison, world.corpus, (), "recall", out=tmp_path / "zero-shot"
        ),
    }
    for system, (cause, binding, verdict) in planted.lacks.items():
        one = found[system]
        assert (next(iter(one.causes), ""), next(iter(one.binding), "")) == (cause, binding), str(one)
        assert one.verdict.startswith(verdict), str(one)
    both = found["zero-shot"].headroom.get("both of these")
    assert (name == "both") == bool(both and both.estimate == 1)
