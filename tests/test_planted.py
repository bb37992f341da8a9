"""Worlds in which it is known what should be shipped, and why: what is recommended and diagnosed must be that."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from bakeoff.evaluation.compare import Comparison, compare
from bakeoff.evaluation.faults import GUESS, Bench, Reply
from bakeoff.evaluation.recommend import recommend
from bakeoff.systems import RAG
from bakeoff.systems.prompt import ABSTENTION
from bakeoff.types import Example, System
from demo_world import World

ASKED = 90
DELTA = 0.1
"""Questions on some 30 documents cannot show that 3 points are not lost, not even where all answers are the same."""


@dataclass(frozen=True)
class Planted:
    """What the base model and the tuned one say, given a question and passages."""

    ships: str | None
    base: Callable[[Bench, str, Sequence[str]], str]
    tuned: Callable[[Bench, str, Sequence[str]], str]
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


WORLDS = {
    "a prompt suffices": Planted("zero-shot", knows, knows),
    "ingredients only": Planted("rag", reads, reads),
    "recipe only": Planted("lora", rambles, knows),
    "both": Planted("lora-rag", guesses, reads),
    "undecidable": Planted(None, by_chance, by_chance, asked=30),
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


@pytest.mark.parametrize(
    ("name", "cause", "verdict"), [("recipe only", "format", "recipe"), ("both", "misread", "recipe")]
)
def test_the_diagnosis_of_plain_rag_says_what_it_lacks(
    world: World, name: str, cause: str, verdict: str, tmp_path: Path
) -> None:
    _, systems, examples = contest(world, WORLDS[name], tmp_path / "all")
    rag = systems["rag"]
    assert isinstance(rag, RAG)
    found = world.diagnose(rag, systems["zero-shot"], examples, tmp_path / "rag")
    assert next(iter(found.causes)) == cause and found.verdict.startswith(verdict)
