"""How soon answers follow the documents: planted facts, the copy, and systems that do and do not follow."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bakeoff.cli import app
from bakeoff.corpus import Corpus
from bakeoff.corpus.addresses import parse
from bakeoff.errors import DataError
from bakeoff.evaluation import freshness
from bakeoff.evaluation.freshness import Copy, Freshness, Turn, copied, measure, plant
from bakeoff.evaluation.stats import Interval
from bakeoff.models.embedders.hashing import Embedder
from bakeoff.models.generators.scripted import Generator
from bakeoff.project import Project
from bakeoff.retrieval import BM25
from bakeoff.types import Answer, Evidence, Example, Question, System

FILES = {
    "travel.md": "# Travel\n\nTickets are booked at least 11 days before departure.\n\nHotels cost 139 crowns.",
    "people.txt": "The head of the kiln is Ada Brand. She has been here since 1987.",
    "rules/pets.md": "Cats may stay for 3 hours, dogs for 3 hours too.",
}
ASKED = [
    (
        "How many days before departure are tickets booked?",
        ("11 days", "at least 11 days"),
        "travel.md",
        "least 11 days",
    ),
    ("What do hotels cost?", ("139 crowns", "too much"), "travel.md", "Hotels cost\n139 crowns."),
    ("Who is the head of the kiln?", ("Ada Brand",), "people.txt", "The head of the kiln is Ada Brand."),
    ("How long may cats stay?", ("3 hours",), "rules/pets.md", "Cats may stay for 3 hours"),
]


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / "docs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "docs" / name).write_text(text)
    return tmp_path / "docs"


def opened(folder: Path) -> Corpus:
    return Corpus(folder, Embedder(), chunk_tokens=32)


@pytest.fixture
def corpus(docs: Path, tmp_path: Path) -> Corpus:
    corpus = opened(tmp_path / "index")
    corpus.sync(docs)
    return corpus


@pytest.fixture
def examples(corpus: Corpus) -> list[Example]:
    found = []
    for number, (question, references, name, quote) in enumerate(ASKED):
        evidence = corpus.locate(Evidence(f"docs/{name}", -1, -1, quote))
        assert evidence, quote
        found.append(Example(f"q{number}", question, references, (evidence,)))
    return found


@pytest.fixture
def twin(corpus: Corpus, docs: Path, tmp_path: Path) -> Iterator[Copy]:
    with copied(
        tmp_path / "index", lambda path: Corpus(path, Embedder(), chunk_tokens=32), [parse(str(docs))], {}
    ) as twin:
        yield twin


class Reader:
    """Says the best passages word for word."""

    def __init__(self, name: str, corpus: Corpus) -> None:
        self.name = name
        self._retriever = BM25(corpus)

    def answer(self, question: Question | str) -> Answer:
        hits = self._retriever.retrieve(Question.of(question).text, 1)
        return Answer(" ".join(hit.chunk.text for hit in hits))


class Parrot:
    """Learnt the documents by heart, once."""

    name = "parrot"

    def answer(self, question: Question | str) -> Answer:
        return Answer(" ".join(FILES.values()))


def digest(folder: Path) -> str:
    parts = [f"{path}{path.read_bytes()!r}" for path in sorted(folder.rglob("*")) if path.is_file()]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def test_facts_are_values_that_stand_once_and_get_other_right_answers(examples: list[Example], twin: Copy) -> None:
    facts = {fact.example_id: fact for fact in plant(examples, twin.corpus, twin.files, 10)}
    assert set(facts) == {"q0", "q1", "q2"}, "3 hours stand twice in their document"
    days = facts["q0"]
    assert days.values[0] == "11" and Path(days.path).read_text()[days.start : days.end] == "11"
    assert days.references[1] == (f"{days.values[1]} days", f"at least {days.values[1]} days")
    assert facts["q2"].values[0] == "Ada Brand" and facts["q2"].values[1].split()[0] in freshness.NAMES
    assert all(len(set(fact.values)) == 3 for fact in facts.values())
    assert len(plant(examples, twin.corpus, twin.files, 2)) == 2
    assert len({fact.document_id for fact in plant(examples, twin.corpus, twin.files, 2)}) == 2, "documents take turns"


@pytest.mark.parametrize("value", ["7", "11", "1,250", "3.5", "2024", "Ada", "Ada Brand"])
def test_other_values_are_of_the_same_kind_and_new(value: str) -> None:
    taken = " ".join(map(str, range(100))) + " Vesk"
    for seed in range(30):
        others = freshness._others(value, taken, random.Random(seed))
        assert len({value, *others}) == 3
        for other in others:
            assert not re.search(rf"(?<![\w.,]){re.escape(other)}(?![\w.,])", taken)
            if len(value) > 1 and value != "11":
                assert re.sub(r"\d", "0", other) == re.sub(r"\d", "0", value) or value[0].isalpha()


def test_without_evidence_in_a_text_file_there_is_nothing_to_plant(twin: Copy) -> None:
    with pytest.raises(DataError, match="no question has evidence in a text file .*; add evidence like"):
        plant([Example("q", "Why?", ("so",))], twin.corpus, twin.files, 10)


def test_a_reader_of_the_index_follows_and_what_was_learnt_by_heart_is_stale(
    examples: list[Example], twin: Copy, corpus: Corpus, docs: Path
) -> None:
    before = digest(docs)
    facts = plant(examples, twin.corpus, twin.files, 2)
    systems: list[System] = [Reader("fresh", twin.corpus), Reader("old index", corpus), Parrot()]
    fresh, old, parrot = measure(systems, facts, twin)
    for change in ("edit", "add"):
        follows, stale = fresh.follows(change), fresh.stale(change)
        assert follows and stale and (follows.estimate, stale.estimate) == (1, 0), change
        assert all((rate := one.stale(change)) and rate.estimate == 1 for one in (old, parrot)), change
    gone = fresh.stale("delete")
    assert gone and gone.estimate == 0 and gone.high > 0.3, "two facts prove little"
    assert fresh.right_before and fresh.right_before.estimate == 1
    assert digest(docs) == before
    assert {turn.indexing > 0 and turn.answering > 0 for turn in fresh.turns} == {True}
    # And the copy is as it was, so that facts do not meet each other's changes.
    assert {id: path.read_text() for id, path in twin.files.items()} == {f"docs/{n}": text for n, text in FILES.items()}
    assert "says the new value 100%" in str(fresh) and "stale 100%" in str(parrot)


def test_only_answers_that_followed_say_how_soon() -> None:
    edited = Turn("q", "d", "edit", "new", "12", indexing=1.0, answering=0.5)
    turns = (edited, replace(edited, said="old", answering=90.0), replace(edited, change="delete", said="neither"))
    took = Freshness("rag", "index", turns=turns, right_before=Interval(1, 0, 1, 1)).seconds()
    assert took and (took.estimate, took.n) == (1.5, 1)
    never = Freshness("rag", "index", turns=turns[1:], right_before=Interval(1, 0, 1, 1))
    assert never.seconds() is None and "no answer says a new value" in str(never)


def test_a_long_answer_is_new_only_where_it_says_the_new_value(examples: list[Example], twin: Copy) -> None:
    long = "Good light to you. Tickets are booked 11 days before. Keep the wick trimmed."
    (fact,) = plant([replace(examples[0], references=(long,))], twin.corpus, twin.files, 1)
    assert "Keep the wick trimmed" in fact.references[1][0]
    for change in ("edit", "add", "delete"):
        assert freshness._said(fact, change, Answer(long)) == "old"
    assert freshness._said(fact, "edit", Answer(long.replace("11", fact.values[1]))) == "new"
    assert (
        freshness._said(fact, "edit", Answer(f"Good light to you. Tickets are booked {fact.values[1]} days.")) == "new"
    )


class Broken:
    """Cannot answer, and says so in the words of the right answer."""

    name = "broken"

    def answer(self, question: Question | str) -> Answer:
        raise RuntimeError("11 days, 139 crowns, Ada Brand")


def test_a_system_that_raises_has_not_answered(examples: list[Example], twin: Copy) -> None:
    (broken,) = measure([Broken()], plant(examples, twin.corpus, twin.files, 1), twin)
    assert {turn.said for turn in broken.turns} == {"neither"} and "RuntimeError" in broken.turns[0].answer
    assert broken.right_before and broken.right_before.estimate == 0


def test_the_index_of_the_copy_is_another(corpus: Corpus, twin: Copy) -> None:
    stamp = corpus.fingerprint()
    path = twin.files["docs/people.txt"]
    path.write_text("Nobody is left.")
    assert twin.sync() > 0
    assert corpus.fingerprint() == stamp != twin.corpus.fingerprint()
    assert corpus.sync(parse(str(Path(corpus.store.get("source:docs") or "")))).updated == []


def test_a_link_that_leads_to_the_original_is_never_written(docs: Path, tmp_path: Path) -> None:
    (docs / "link.md").symlink_to(docs / "travel.md")
    corpus = opened(tmp_path / "index")
    corpus.sync(docs)
    with copied(
        tmp_path / "index", lambda path: Corpus(path, Embedder(), chunk_tokens=32), [parse(str(docs))], {}
    ) as twin:
        assert "docs/link.md" not in twin.files and "docs/travel.md" in twin.files
        assert not any(path.resolve().is_relative_to(docs) for path in twin.files.values())


# ---------------------------------------------------------------- the command


def test_the_command_works_in_a_copy_and_is_kept(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakeoff.evaluation.folder.os.fsync", lambda descriptor: None)
    monkeypatch.setattr(Generator, "_reply", lambda self, messages: messages[-1].content.replace("\n", " "))
    toml = (project / "bakeoff.toml").read_text()
    (project / "bakeoff.toml").write_text(toml + "max_tokens = 500\n")
    run = CliRunner()
    assert run.invoke(app, ["ingest", "-C", str(project)]).exit_code == 0
    before = digest(project / "documents"), Project(project).corpus.fingerprint()
    result = run.invoke(app, ["freshness", "-C", str(project), "--facts", "2", "--json"])
    assert result.exit_code == 0, result.output
    never, rag = json.loads(result.output)
    assert (never["system"], never["way"], rag["way"]) == ("zero-shot", "never", "index")
    assert len(rag["turns"]) == 6 and rag["rates"]["edit"]["follows"]["estimate"] == 1
    assert (digest(project / "documents"), Project(project).corpus.fingerprint()) == before
    kept = json.loads((project / "runs" / "latest" / "freshness" / "rag.json").read_text())
    assert kept["turns"] == rag["turns"]


def test_what_was_learnt_is_asked_again_and_stale_and_costs_a_training(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bakeoff.evaluation.folder.os.fsync", lambda descriptor: None)
    toml = (project / "bakeoff.toml").read_text()
    tuned = '[systems.lora]\ntype = "prompt"\ntuned = "closed"\n[tune.closed]\nmethod = "lora"\n'
    (project / "bakeoff.toml").write_text(toml + tuned + "[costs]\ndevice_hour = 7.2\nchanges = 10\n")
    run = CliRunner()
    assert run.invoke(app, ["ingest", "-C", str(project)]).exit_code == 0
    missing = run.invoke(app, ["freshness", "lora", "-C", str(project)])
    assert "run `bakeoff tune closed`, or leave lora out" in str(missing.exception)
    (project / "checkpoints" / "closed").mkdir(parents=True)
    (project / "checkpoints" / "closed" / "checkpoint.json").write_text('{"seconds": 390.0, "files": {}}')
    monkeypatch.setattr(Project, "_stands_on_base", lambda self, name: True)
    # It learnt all answers by heart.
    heart = {example.question: example.references[0] for example in Project(project).split.test if example.references}
    learnt = Generator(heart, default="No idea.")
    monkeypatch.setattr(Project, "_generator", lambda self, name: learnt if name else Generator())
    shown = run.invoke(app, ["freshness", "rag", "lora", "-C", str(project), "--facts", "3"])
    assert "retraining, which took 6.5 min the last time where indexing takes" in shown.output, shown.output
    assert "and are stale until then\n  after an edit      says the new value 0%" in shown.output, shown.output
    lora = json.loads((project / "runs" / "latest" / "freshness" / "lora.json").read_text())
    assert (lora["way"], lora["retraining"], len(lora["turns"]), lora["seconds"]) == ("retrain", 390.0, 9, None)
    assert [lora["rates"][change]["stale"]["estimate"] for change in ("edit", "delete", "add")] == [1, 1, 1]


@pytest.mark.parametrize(("asked", "complaint"), [("ragg", "mean 'rag'"), ("rag", "run `bakeoff ingest` first")])
def test_what_cannot_be_measured_is_said(project: Path, asked: str, complaint: str) -> None:
    result = CliRunner().invoke(app, ["freshness", asked, "-C", str(project)])
    assert complaint in str(result.exception)


def test_the_comparison_shows_what_was_measured_of_the_same_system(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bakeoff.evaluation.folder.os.fsync", lambda descriptor: None)
    run = CliRunner()
    assert run.invoke(app, ["compare", "-C", str(project), "--limit", "5"]).exit_code == 0
    assert run.invoke(app, ["freshness", "-C", str(project), "--facts", "1"]).exit_code == 0
    found = Project(project).rescore().freshness
    assert {name: one.way for name, one in found.items()} == {"zero-shot": "never", "rag": "index"}
    assert len(found["rag"].turns) == 3
    assert run.invoke(app, ["report", "-C", str(project)]).exit_code == 0
    page = (project / "runs" / "latest" / "report.md").read_text()
    assert re.search(r"stale after an edit \| 0\.0 \\\[0\.0, \d+\.\d\\\] \| 0\.0 \\\[0\.0, \d+\.\d\\\]", page)
    assert re.search(r"follow in \| never \| - no answer did \|", page)
    assert re.search(r"to follow a change \| - it cannot \| (under )?\\\$[\d.]+ [\d.]+ m?s of indexing \|", page), page
    # Other settings, another system: what was measured is not shown.
    path = project / "runs" / "latest" / "freshness" / "rag.json"
    path.write_text(path.read_text().replace('"type": "rag"', '"type": "rag", "k": 9'))
    assert set(Project(project).rescore().freshness) == {"zero-shot"}


def test_a_source_that_is_one_file_follows_too(docs: Path, examples: list[Example], tmp_path: Path) -> None:
    sources = [parse(str(path)) for path in sorted(docs.iterdir())]
    corpus = Corpus(tmp_path / "original", Embedder(), chunk_tokens=32)
    corpus.sync(*sources)
    named = [
        replace(one, evidence=tuple(replace(e, document_id=Path(e.document_id).name) for e in one.evidence))
        for one in examples
    ]
    with copied(tmp_path / "original", lambda path: Corpus(path, Embedder(), chunk_tokens=32), sources, {}) as twin:
        facts = plant(named, twin.corpus, twin.files, 2)
        (fresh,) = measure([Reader("fresh", twin.corpus)], facts, twin)
    follows = fresh.follows("add")
    assert follows and follows.estimate == 1
