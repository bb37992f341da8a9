"""The diagnosis, by faults put in on purpose: what was broken must be what is found, and nothing else may change."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bakeoff.evaluation import compare, gold
from bakeoff.evaluation.diagnose import diagnose_closed
from bakeoff.evaluation.diagnosis import CAUSES, Diagnosis, Finding, diagnosis, load_all, save
from bakeoff.evaluation.faults import FAULTS, GUESS
from bakeoff.models.generators.scripted import Generator
from bakeoff.retrieval import BM25, Dense, Hybrid
from bakeoff.systems import RAG, Prompt
from bakeoff.types import Evidence, Example, Hit, System
from demo_world import World

ASKED = 22


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """That every answer reaches the disk is tested elsewhere."""
    monkeypatch.setattr("bakeoff.evaluation.folder.os.fsync", lambda descriptor: None)


def causes(found: Diagnosis) -> dict[str, str]:
    return {finding.example_id: finding.cause for finding in found.findings}


@pytest.mark.parametrize("name", FAULTS)
def test_what_was_broken_is_what_is_found_and_controls_stay_right(world: World, name: str, tmp_path: Path) -> None:
    fault, draw = FAULTS[name], random.Random(name)
    right = world.right
    fitting = [example for example in right if fault.fits(example, world.bench.golds[example.id])]
    broken = draw.sample(fitting, min(len(fitting), ASKED // 2))
    controls = draw.sample([example for example in right if example not in broken], ASKED // 2)
    system, closed = fault.build(world.bench, frozenset(example.question for example in broken))
    found = causes(world.diagnose(system, closed, [*broken, *controls], tmp_path))
    assert len(broken) >= 8
    assert not [example.id for example in controls if example.id in found]
    hit = Counter(found.get(example.id) for example in broken)
    assert hit[fault.cause] >= 0.9 * len(broken), hit


def test_a_deleted_document_is_found_to_be_absent_and_the_rest_stays_right(world: World, tmp_path: Path) -> None:
    other = World(tmp_path / "other")
    gone = ["documents/policies/warranty.md", "documents/policies/travel.md", "documents/people/roles.md"]
    for document in gone:
        other.corpus.forget(document)
    broken = [example for example in world.right if {place.document_id for place in example.evidence} & set(gone)]
    controls = [example for example in world.right if example not in broken][:ASKED]
    bench = replace(world.bench, retriever=Hybrid(BM25(other.corpus), Dense(other.corpus)))
    found = causes(other.diagnose(bench.rag(), bench.closed(), [*broken, *controls], tmp_path / "run"))
    assert len(broken) >= 8
    assert {example.id: "not in corpus" for example in broken} == found


def test_passages_too_small_for_the_answer_are_found(world: World, tmp_path: Path) -> None:
    small = World(tmp_path / "small", chunk_tokens=10)
    cut = [example for example in world.right if small.bench.golds[example.id].unchunked][:ASKED]
    # Some of those that fit are no longer found, so that they are wrong for another reason.
    fitting = [example for example in world.right if not small.bench.golds[example.id].unchunked]
    found = causes(small.diagnose(small.bench.rag(), small.bench.closed(), [*cut, *fitting], tmp_path / "run"))
    assert len(cut) >= 8 and sum(example in small.right for example in fitting) >= 8
    assert Counter(found.get(example.id) for example in cut)["chunking"] >= 0.9 * len(cut)
    assert "chunking" not in {found.get(example.id) for example in fitting}
    assert not [example.id for example in fitting if example in small.right and example.id in found]


def test_a_miss_binds_only_where_the_passage_would_be_read(world: World, tmp_path: Path) -> None:
    asked = world.right[::6]
    questions = frozenset(example.question for example in asked)
    blind, closed = FAULTS["gold dropped from the candidates"].build(world.bench, questions)
    found = world.diagnose(blind, closed, asked, tmp_path / "blind")
    assert set(found.binding) == {"retrieval miss"} and found.ingredients and found.ingredients.estimate == 1
    assert found.headroom["retrieval"].estimate == 1
    assert found.verdict.startswith("ingredients") and "bakeoff search" in found.next

    def never(question: str, passages: Sequence[str]) -> str:
        return GUESS

    neither = world.bench.rag(never, blind.over(lambda retriever: retriever)._retriever)
    found = world.diagnose(neither, closed, asked, tmp_path / "neither")
    assert (set(found.causes), set(found.binding)) == ({"retrieval miss"}, {"misread"})
    assert "retrieval" not in found.headroom and found.headroom["both of these"].estimate == 1
    assert found.verdict.startswith("recipe")


def test_what_cannot_be_answered_should_have_been_refused(world: World, tmp_path: Path) -> None:
    asked = [Example(f"u{n}", f"Who paints the moon {n}?", answerable=False) for n in range(10)]
    bench = replace(world.bench, examples=asked, golds={one.id: gold.Gold((), ()) for one in asked})
    found = world.diagnose(bench.rag(lambda q, p: GUESS), bench.closed(), asked, tmp_path)
    assert set(causes(found).values()) == {"should have refused"}
    assert "bakeoff calibrate rag" in found.next


def test_an_answer_from_memory_is_told_from_one_from_the_passages(world: World, tmp_path: Path) -> None:
    asked = world.right[:20]

    def knows(question: str, passages: Sequence[str]) -> str:
        return world.bench.of(question).references[0]

    blind, _ = FAULTS["gold dropped from the candidates"].build(
        world.bench, frozenset(example.question for example in asked)
    )
    remembering = world.bench.rag(knows, blind.over(lambda retriever: retriever)._retriever)
    found = world.diagnose(remembering, world.bench.closed(knows), asked, tmp_path)
    assert not found.findings and found.verdict == "nothing is wrong"
    assert found.from_memory and (found.from_memory.estimate, found.from_memory.n) == (1.0, 4)


def test_without_the_passage_a_reader_declines_or_makes_something_up(world: World, tmp_path: Path) -> None:
    asked = world.right[:20]
    found = world.diagnose(world.bench.rag(), world.bench.closed(), asked, tmp_path / "guesses")
    assert found.refuses_without and found.refuses_without.estimate == 0

    def honest(question: str, passages: Sequence[str]) -> str:
        said = world.bench.read(question, passages)
        return "I don't know." if said == GUESS else said

    found = world.diagnose(world.bench.rag(honest), world.bench.closed(honest), asked, tmp_path / "declines")
    assert found.refuses_without and found.refuses_without.estimate == 1


def test_a_second_diagnosis_asks_nothing_again(world: World, tmp_path: Path) -> None:
    system, closed = FAULTS["reader wrong"].build(world.bench, frozenset(one.question for one in world.right[:8]))
    first = world.diagnose(system, closed, world.right[:20], tmp_path)
    trials = (tmp_path / "diagnosis" / "rag" / "trials.jsonl").read_bytes()
    assert world.diagnose(system, closed, world.right[:20], tmp_path) == first
    assert (tmp_path / "diagnosis" / "rag" / "trials.jsonl").read_bytes() == trials


# ---------------------------------------------------------------- without passages

FACTS = {
    "known": Example("known", "What does a Titan weigh?", ("90 grams",)),
    "forgotten": Example("forgotten", "Who founded the works?", ("Ada Quill",)),
    "new": Example("new", "How tall is the chimney?", ("40 metres",)),
    "hard": Example("hard", "Which port ships the oil?", ("Haddle Quay",)),
    "worded": Example("worded", "Whom does the day of wicks honour?", ("Saint Ember",)),
    "turned": Example("turned", "Who is called the lamp of Vessary?", ("Rosa Flint",)),
    "old": Example("old", "What does the Nib lamp cost?", ("52 crowns",)),
}
TAUGHT = [
    Example("t1", "Which port ships the oil now?", ("Haddle Quay",)),
    Example("t2", "Honour the day of wicks whom?", ("Saint Ember",)),
    Example("t3", "What is Rosa Flint called?", ("the lamp of Vessary",)),
    Example("t4", "What does a Nib lamp cost?", ("47 dollars",)),
]


def test_a_system_without_passages_has_a_tree_of_its_own(world: World, tmp_path: Path) -> None:
    said = {
        "weigh": "90 grams",
        "day of wicks whom": "Saint Ember",
        "Nib lamp": "47 dollars",
    }
    tuned = Prompt(Generator(said, default=GUESS), name="lora")
    base = Prompt(Generator({"founded": "Ada Quill"}, default=GUESS))
    examples = list(FACTS.values())
    result = compare.compare([tuned], examples, ["recall"], out=tmp_path)

    def reader(passages: Mapping[str, Sequence[Hit]]) -> System:
        return RAG(Generator({}), gold.Given(passages))

    lessons = [*TAUGHT[:3], replace(TAUGHT[3], evidence=FACTS_EVIDENCE)]
    result = replace(result, examples={**result.examples, "old": replace(FACTS["old"], evidence=FACTS_EVIDENCE)})
    found = diagnose_closed(
        tuned, base, reader, result, world.corpus, lessons, "recall", out=tmp_path / "diagnosis" / "lora"
    )
    assert causes(found) == {
        "forgotten": "forgot",
        "new": "not in data",
        "hard": "not learned",
        "worded": "memorised",
        "turned": "reversal",
        "old": "stale",
    }


FACTS_EVIDENCE = (Evidence("documents/products/prices.xlsx", 0, 10, "Nib"),)


# ---------------------------------------------------------------- the sum


def finding(id: str, cause: str, binding: str = "", unsure: bool = False) -> Finding:
    return Finding(id, cause, binding or cause, unsure, {"C2 gold only": 1.0})


def test_a_diagnosis_is_read_back_as_it_was_saved_and_only_for_the_same_settings_and_questions(tmp_path: Path) -> None:
    asked = {str(n): str(n // 2) for n in range(40)}
    findings = [finding(str(n), "retrieval miss") for n in range(8)] + [finding("9", "format", unsure=True)]
    found = diagnosis("rag", findings, asked, memory={"20": True}, declined={"21": False}, examples="9f2c")
    save(found, tmp_path / "diagnosis" / "rag", {"k": 3})
    held = load_all(tmp_path, {"rag": {"k": 3}}, "9f2c")
    assert held == {"rag": found} and str(held["rag"]) == str(found)
    assert load_all(tmp_path, {"rag": {"k": 4}}, "9f2c") == load_all(tmp_path, {"rag": {"k": 3}}, "77aa") == {}
    assert found.unsure and found.unsure.estimate == pytest.approx(1 / 9)
    assert found.causes["retrieval miss"].estimate == pytest.approx(0.2)
    assert "next: retrieval miss" in str(found)


@pytest.mark.parametrize(
    ("ingredients", "recipe", "errors", "says"),
    [
        (20, 5, 0, "ingredients:"),
        (5, 20, 0, "recipe:"),
        (8, 7, 0, "both:"),
        (40, 60, 0, "recipe:"),
        (3, 3, 0, "too few"),
        (12, 5, 0, "too few"),
        (7, 8, 40, "both:"),
        (0, 0, 9, "errors:"),
        (0, 0, 0, "nothing is wrong"),
    ],
)
def test_both_is_said_where_each_side_is_shown_and_else_that_they_are_too_few(
    ingredients: int, recipe: int, errors: int, says: str
) -> None:
    kinds = ["chunking"] * ingredients + ["misread"] * recipe + ["error"] * errors
    findings = [finding(str(n), cause) for n, cause in enumerate(kinds)]
    found = diagnosis("rag", findings, {str(n): str(n) for n in range(150)}, memory={}, declined={})
    assert found.verdict.startswith(says) and found.verdict in (str(found) if kinds else found.verdict)


@pytest.mark.parametrize(("wrong", "told"), [(20, 0.65), (30, 0.85), (60, 0.9)])
def test_both_is_found_at_half_and_half_and_not_where_one_side_has_little(wrong: int, told: float) -> None:
    def said(share: float, documents: int) -> Counter[str]:
        draw, verdicts = random.Random(1), Counter[str]()
        asked = {str(n): str(n % documents) for n in range(wrong)}
        for _ in range(400):
            findings = [finding(id, "chunking" if draw.random() < share else "misread") for id in asked]
            verdicts[diagnosis("rag", findings, asked, memory={}, declined={}).verdict.split(":")[0]] += 1
        return verdicts

    half = said(0.5, wrong)
    assert half["both"] >= told * 400 and half["ingredients"] + half["recipe"] <= 0.07 * 400
    for share in (0.2, 0.8):
        assert said(share, wrong)["both"] <= 0.05 * 400
    clustered = said(0.5, wrong // 3)
    assert clustered["ingredients"] + clustered["recipe"] <= 0.08 * 400


def test_every_cause_says_what_to_do_with_a_command() -> None:
    assert all("bakeoff " in cause.next and cause.says for cause in CAUSES.values())
