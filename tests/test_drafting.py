"""Questions are drafted from documents, and only those that can be verified are kept."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bakeoff.cli import app, main
from bakeoff.corpus import Corpus
from bakeoff.errors import ConfigError, DataError
from bakeoff.evaluation.drafting import Drafted, draft
from bakeoff.examples import load_examples, locate
from bakeoff.models.generators.scripted import Generator
from bakeoff.project import Project
from bakeoff.types import Message

TEXTS = {
    "shop.md": "# The shop\n\nThe shop of the lamp makers opens at 9:30 on every working day of the week.\n",
    "lamps.md": "# Lamps\n\nA lamp of the harbour burns for 40 hours with a single filling of oil.\n"
    "The keeper of all harbour lamps is called Edda Finch by everybody here.\n",
}
QUESTIONS = {
    "9:30": "When does the shop of the lamp makers open?",
    "40 hours": "For how long does a lamp of the harbour burn?",
    "Edda Finch": "Who is the keeper of all harbour lamps?",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose documents are indexed."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "documents").mkdir()
    for name, text in TEXTS.items():
        (folder / "documents" / name).write_text(text)
    (folder / "bakeoff.toml").write_text('base = "scripted"\n[corpus]\nembedder = "hashing"\n')
    Corpus(folder / "index", "hashing").sync(folder / "documents")
    return folder


@pytest.fixture(scope="module")
def corpus(folder: Path) -> Corpus:
    return Corpus(folder / "index", "hashing")


def writer(questions: dict[str, str] = QUESTIONS, answers: dict[str, str] | None = None) -> Generator:
    """Writes the question that goes with a given answer, and answers it."""

    def reply(messages: Sequence[Message]) -> str:
        asked = messages[-1].content
        if "\nAnswer: " in asked:
            answer = asked.rpartition("\nAnswer: ")[2]
            return f"Question: {questions[answer]}\nAnswer: {answer}"
        return next((a for a, q in {**QUESTIONS, **(answers or {})}.items() if q in asked), "I don't know.")

    return Generator(reply)


def drafted(corpus: Corpus, generator: Generator, out: Path, count: int = 10) -> Drafted:
    return draft(corpus.store, corpus.store.ids(), generator, out, count=count)


def test_drafts_hold_verbatim_evidence_and_stay_with_their_document(corpus: Corpus, tmp_path: Path) -> None:
    found = drafted(corpus, writer(), tmp_path / "drafted.jsonl")
    assert (found.questions, found.tried, dict(found.failed)) == (3, 3, {})
    examples = load_examples(tmp_path / "drafted.jsonl")
    assert {e.references[0]: e.question for e in examples} == QUESTIONS
    located, lost = locate(examples, corpus.locate)
    assert lost == []
    for example in located:
        (evidence,) = example.evidence
        document = corpus.store.document(evidence.document_id)
        assert document and document.text[evidence.start : evidence.end] == evidence.quote
        assert example.references[0] in evidence.quote
        assert example.group == evidence.document_id
    assert not list(tmp_path.glob(".drafted*"))


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("When does the sentence say that the shop of the lamp makers opens?", "the question points at the text"),
        ("Does the shop of the lamp makers open at 9:30?", "the question holds its answer"),
        ("When?", "the question is none"),
        ("Tell me when the shop of the lamp makers opens", "the question is none"),
        ("When did the kings of Bohemia visit Vienna?", "the question is about something else"),
        ("Which lamp do the lamp makers open on a working day?", "the model does not answer it from its own passage"),
    ],
)
def test_what_cannot_be_verified_is_dropped_with_its_reason(
    corpus: Corpus, tmp_path: Path, question: str, reason: str
) -> None:
    found = drafted(corpus, writer({**QUESTIONS, "9:30": question}), tmp_path / "drafted.jsonl")
    assert found.questions == 2
    assert [reason in why for why in found.failed] == [True]


def test_the_same_question_is_not_drafted_twice(corpus: Corpus, tmp_path: Path) -> None:
    question = "What is there to say of the harbour lamps?"
    both = {question: "40 hours, and Edda Finch keeps them"}
    able = writer({**QUESTIONS, "40 hours": question, "Edda Finch": question}, {both[question]: question})
    found = drafted(corpus, able, tmp_path / "drafted.jsonl")
    assert (found.questions, dict(found.failed)) == (2, {"the question is nearly another one": 1})


def test_an_answer_that_the_model_made_up_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("The old ferry never sails when the river is frozen in winter.\n")
    corpus = Corpus(tmp_path / "index", "hashing")
    corpus.sync(tmp_path / "a.md")
    made_up = Generator(lambda messages: "Question: When does the old ferry never sail?\nAnswer: on Sundays")
    with pytest.raises(DataError, match=r"none of 1 drafts could be verified \(1 times the answer is not in its sent"):
        drafted(corpus, made_up, tmp_path / "drafted.jsonl")
    chatty = Generator(lambda messages: "Sure! What would you like to know?")
    with pytest.raises(DataError, match="the reply has not the form .*name a larger model with --generator"):
        drafted(corpus, chatty, tmp_path / "drafted.jsonl")
    assert not list(tmp_path.glob("*drafted*"))


def test_a_stop_loses_nothing_and_the_same_call_goes_on(corpus: Corpus, tmp_path: Path) -> None:
    asked: list[str] = []
    able = writer()

    def stopping(messages: Sequence[Message]) -> str:
        if "\nAnswer: " in messages[-1].content:
            asked.append(messages[-1].content)
            if len(asked) == 3:
                raise KeyboardInterrupt
        return able.generate(messages).text

    with pytest.raises(KeyboardInterrupt):
        drafted(corpus, Generator(stopping), tmp_path / "drafted.jsonl")
    assert not (tmp_path / "drafted.jsonl").exists()
    found = drafted(corpus, Generator(stopping), tmp_path / "drafted.jsonl")
    assert (found.questions, len(asked)) == (3, 4)
    assert len(set(asked)) == 3


def test_no_file_is_written_over_and_no_more_is_drafted_than_wanted(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "drafted.jsonl"
    assert drafted(corpus, writer(), out, count=2).questions == 2
    before = out.read_text()
    assert len([json.loads(line) for line in before.splitlines()]) == 2
    with pytest.raises(ConfigError, match="exists already; name another file with --out"):
        drafted(corpus, writer(), out)
    assert out.read_text() == before
    with pytest.raises(ConfigError, match="0 questions are to be drafted"):
        drafted(corpus, writer(), tmp_path / "other.jsonl", count=0)


def test_the_order_is_that_of_the_seed_and_takes_documents_in_turn(corpus: Corpus, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.jsonl" for number in range(2)]
    for out in files:
        drafted(corpus, writer(), out, count=2)
    assert files[0].read_text() == files[1].read_text()
    assert len({example.group for example in load_examples(files[0])}) == 2


def test_the_command_says_what_is_missing_and_writes_over_nothing(project: Path) -> None:
    (project / "bakeoff.toml").write_text(
        'base = "scripted"\n[corpus]\nsources = ["documents"]\nembedder = "hashing"\n'
    )
    assert "run `bakeoff ingest` first" in str(CliRunner().invoke(app, ["draft", "-C", str(project)]).exception)
    Project(project).ingest()
    before = (project / "questions.jsonl").read_text()
    refused = CliRunner().invoke(app, ["draft", "-C", str(project)]).exception
    assert isinstance(refused, ConfigError) and "--out" in str(refused)
    assert (project / "questions.jsonl").read_text() == before
    failed = CliRunner().invoke(app, ["draft", "-C", str(project), "--out", "more.jsonl", "-n", "1"]).exception
    assert isinstance(failed, DataError) and "none of 20 drafts could be verified" in str(failed)


def test_the_command_says_what_was_dropped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Project, "_generator", lambda self, tuned: writer({**QUESTIONS, "9:30": "When?"}))
    result = CliRunner().invoke(app, ["draft", "-C", str(folder)])
    assert result.output.splitlines() == [
        f"made {folder / 'questions.jsonl'}: 2 questions from 3 sentences",
        "  dropped 1: the question is none",
        "next: read them - a drafted question can be true and odd - then bakeoff check",
    ]


def test_ctrl_c_says_that_the_same_command_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(messages: Sequence[Message]) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(Project, "_generator", lambda self, tuned: Generator(stopped))
    monkeypatch.setattr(sys, "argv", ["bakeoff", "draft", "-C", str(folder), "--out", "stopped.jsonl"])
    monkeypatch.setattr("bakeoff.cli.os._exit", sys.exit)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    assert capsys.readouterr().err == "stopped; run the same command again to go on\n"
    assert (folder / ".stopped.jsonl.partial").is_dir()


def test_what_another_model_drafted_before_a_stop_is_not_taken_over(corpus: Corpus, tmp_path: Path) -> None:
    def stop(done: int, total: int, text: str) -> None:
        if done:
            raise KeyboardInterrupt

    out, large = tmp_path / "drafted.jsonl", writer()
    asked: list[str] = []

    def reply(messages: Sequence[Message]) -> str:
        asked.append(messages[-1].content)
        return large.generate(messages).text

    small = writer()
    small.name = "small"
    with pytest.raises(KeyboardInterrupt):
        draft(corpus.store, corpus.store.ids(), small, out, progress=stop)
    found = drafted(corpus, Generator(reply), out)
    assert sum("\nAnswer: " in text for text in asked) >= found.questions == 3
