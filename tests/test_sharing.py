"""Systems of a comparison do the same work once, and their answers are told as if each had been alone."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bakeoff.cli import app
from bakeoff.corpus import Corpus
from bakeoff.evaluation.compare import compare, load
from bakeoff.evaluation.sharing import Work
from bakeoff.models.embedders.hashing import Embedder
from bakeoff.models.generators.scripted import Generator
from bakeoff.project import Project
from bakeoff.retrieval import BM25
from bakeoff.systems import RAG, Prompt
from bakeoff.types import Example, Message

EXAMPLES = [Example(f"q{n}", f"Who may enter room {n}?", ("nobody",)) for n in range(4)]
PAUSE = 0.02


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakeoff.evaluation.folder.os.fsync", lambda descriptor: None)


class Counting:
    """Takes its time, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, messages: Sequence[Message]) -> str:
        self.asked.append(messages[-1].content)
        time.sleep(PAUSE)
        return "nobody"


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    (tmp_path / "rules.txt").write_text("Nobody may enter room 1 or room 2.")
    corpus = Corpus(tmp_path / "index", Embedder())
    corpus.sync(tmp_path / "rules.txt")
    return corpus


def test_the_same_prompt_is_put_to_a_model_once_and_its_seconds_are_told_to_both(tmp_path: Path) -> None:
    model, work = Counting(), Work()
    shared = work.generator(Generator(model))
    systems = [Prompt(shared, name="one"), Prompt(shared, name="two"), Prompt(shared, instruction="Hm?", name="other")]
    result = compare(systems, EXAMPLES, ["recall"], out=tmp_path / "run", work=work)
    assert len(model.asked) == 8 and (work.prompts, work.prompts_spared) == (12, 4)
    seconds = {name: [t.seconds for t in result.trials if t.system == name] for name in ("one", "two", "other")}
    assert all(min(of) >= PAUSE for of in seconds.values()), "an answer from memory is no quicker system"
    assert all(second < first + PAUSE for first, second in zip(seconds["one"], seconds["two"], strict=True))
    usage = {name: [t.answer.usage for t in result.trials if t.system == name] for name in ("one", "two")}
    assert usage["one"] == usage["two"]


def test_another_model_or_length_is_another_prompt() -> None:
    work, models = Work(), (Counting(), Counting())
    asked = [Message("user", "Hi")]
    for model in models:
        generator = work.generator(Generator(model))
        assert work.generator(generator) is not None
        for max_tokens in (1, 2, 1):
            generator.generate(asked, max_tokens=max_tokens)
    assert [len(model.asked) for model in models] == [2, 2]


def test_a_search_is_done_once_and_its_steps_are_in_every_trace(tmp_path: Path, corpus: Corpus) -> None:
    work = Work()
    retriever = work.retriever(BM25(corpus), "bm25")
    systems = [RAG(Generator(Counting()), retriever, name=name) for name in ("one", "two")]
    result = compare(systems, EXAMPLES, ["recall"], out=tmp_path / "run", work=work)
    assert work.searches_spared == 4
    traces = {
        name: [[step.name for step in t.answer.trace] for t in result.trials if t.system == name]
        for name in ("one", "two")
    }
    assert traces["one"] == traces["two"] and traces["two"][0][0] == "bm25"
    hits = {name: [t.answer.hits for t in result.trials if t.system == name] for name in ("one", "two")}
    assert hits["one"] == hits["two"]
    other = work.retriever(BM25(corpus), "readable by Ada")
    other.retrieve(EXAMPLES[0].question, 3)
    assert work.searches_spared == 4, "another view of the corpus is another search"


def test_a_model_that_failed_is_asked_again(tmp_path: Path) -> None:
    calls: list[int] = []

    def flaky(messages: Sequence[Message]) -> str:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("out of memory")
        return "nobody"

    work = Work()
    shared = work.generator(Generator(flaky))
    systems = [Prompt(shared, name="one"), Prompt(shared, name="two")]
    result = compare(systems, EXAMPLES[:1], ["recall"], out=tmp_path, work=work)
    assert [bool(trial.error) for trial in result.trials] == [True, False]


def test_to_ask_twice_is_to_ask_twice(tmp_path: Path) -> None:
    model, work = Counting(), Work()
    systems = [Prompt(work.generator(Generator(model)), name="one")]
    compare(systems, EXAMPLES, ["recall"], out=tmp_path, again=True, work=work)
    assert len(model.asked) == 8


def test_a_project_shares_work_and_answers_are_the_same_as_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Counting()
    monkeypatch.setattr(Generator, "_reply", lambda self, messages: model(messages))
    toml = (project / "bakeoff.toml").read_text()
    (project / "bakeoff.toml").write_text(toml + '[systems.same]\ntype = "rag"\nk = 3\n')
    command = ["-C", str(project), "--limit", "5"]
    assert CliRunner().invoke(app, ["compare", *command]).exit_code == 0
    together = load(project / "runs" / "latest")
    assert len(model.asked) == 10, "rag and same put the same prompts"
    for name in ("rag", "same"):
        assert CliRunner().invoke(app, ["compare", name, *command, "--run", name]).exit_code == 0
    assert len(model.asked) == 20
    for name in ("rag", "same"):
        alone = {t.example_id: t.answer for t in load(project / "runs" / name).trials}
        shared = {t.example_id: t.answer for t in together.trials if t.system == name}

        def timeless(answer: object) -> str:
            found = replace(answer, timings={}, trace=())  # type: ignore[type-var]
            return json.dumps(str(found))

        assert {id: timeless(a) for id, a in alone.items()} == {id: timeless(a) for id, a in shared.items()}
    assert Project(project).rescore().systems == ("zero-shot", "rag", "same")
