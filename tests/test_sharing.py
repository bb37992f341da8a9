"""Systems of a comparison do the same work once, and their answers are told as if each had been alone."""

from __future__ import annotations

import copy
import threading
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
from bakeoff.types import Answer, Example, Generation, Message, Pieces, Schema, Usage

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

        def timeless(answer: Answer) -> str:
            return str(replace(answer, timings={}, trace=(), usage=replace(answer.usage, seconds=0.0)))

        assert {id: timeless(a) for id, a in alone.items()} == {id: timeless(a) for id, a in shared.items()}
    assert Project(project).rescore().systems == ("zero-shot", "rag", "same")


class Crowd:
    """A model that takes three requests at a time, and counts how many it has had at once."""

    name, window, parallel = "crowd", 4096, 3

    def __init__(self) -> None:
        self.way, self.lock = "alone", threading.Lock()
        self.now = {"alone": 0, "beside": 0}
        self.most = dict(self.now)

    def alongside(self) -> Crowd:
        twin = copy.copy(self)
        twin.way = "beside"
        return twin

    def count(self, messages: Sequence[Message]) -> int:
        return 10

    def generate(self, messages: Sequence[Message], *, max_tokens: int = 128, schema: Schema = None) -> Generation:
        with self.lock:
            self.now[self.way] += 1
            self.most[self.way] = max(self.most[self.way], self.now[self.way])
        time.sleep(PAUSE)
        with self.lock:
            self.now[self.way] -= 1
        return Generation(messages[-1].content, Usage(10, 0, 1, PAUSE), "stop")

    def stream(self, messages: Sequence[Message], *, max_tokens: int = 128) -> Pieces:
        made = self.generate(messages, max_tokens=max_tokens)
        yield made.text
        return made


def test_some_questions_are_timed_alone_and_the_others_asked_several_at_once(tmp_path: Path) -> None:
    examples = [Example(f"q{n}", f"Who may enter room {n}?", (f"room {n}?",)) for n in range(30)]
    model, work = Crowd(), Work()
    found = compare(
        [Prompt(work.generator(model), name="one"), Prompt(work.generator(model), instruction="Hm?", name="two")],
        examples,
        ["recall"],
        out=tmp_path / "many",
        work=work,
        timed=5,
    )
    assert model.most == {"alone": 1, "beside": 3}
    for row in found.table():
        assert (row.n, row.p50.n, row.errors) == (30, 5, 0)
    timed = [{t.example_id for t in found.trials if t.system == name and t.alone} for name in ("one", "two")]
    assert timed[0] == timed[1]
    assert "seconds: measured on 5 answers made one at a time" in str(found)

    one_by_one = Work(wanted=1)
    alone = compare(
        [Prompt(one_by_one.generator(model), name="one")], examples, ["recall"], out=tmp_path / "one", work=one_by_one
    )
    assert alone.table()[0].p50.n == 30
    texts = [{t.example_id: t.answer.text for t in run.trials if t.system == "one"} for run in (found, alone)]
    assert texts[0] == texts[1]


def test_a_stop_among_many_at_once_keeps_what_was_answered(tmp_path: Path) -> None:
    examples = [Example(f"q{n}", f"Who may enter room {n}?", (f"room {n}?",)) for n in range(20)]

    def stop(done: int, total: int, text: str) -> None:
        if done == 9:
            raise KeyboardInterrupt

    work = Work()
    system = Prompt(work.generator(Crowd()), name="one")
    with pytest.raises(KeyboardInterrupt):
        compare([system], examples, ["recall"], out=tmp_path / "run", work=work, timed=2, progress=stop)
    kept = (tmp_path / "run" / "trials.jsonl").read_text()
    assert kept.count("\n") == 9
    found = compare([system], examples, ["recall"], out=tmp_path / "run", work=work, timed=2)
    assert found.table()[0].n == 20 and (tmp_path / "run" / "trials.jsonl").read_text().startswith(kept)
