"""General conversations among the lessons: where they come from, how many, and that they are what is learnt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tiny_model
from bakeoff.errors import ConfigError, DataError, ModelError
from bakeoff.project import Project
from bakeoff.tuning import replay, tune
from bakeoff.types import Example

pytest.importorskip("torch")

LESSONS = [Example(f"q{n}", f"capital of {n}?", (f"city {n}",)) for n in range(20)]
TALKS = [("capital of France?", "Paris"), ("who is when?", "how 24"), ("what are 25 EUR?", "many")]


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tiny base that has learnt to ask and to answer."""
    root = tmp_path_factory.mktemp("talker")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BAKEOFF_CACHE", str(root / "cache"))
        base = tiny_model.save(root / "tiny")
        texts = [
            Example(f"t{n}", "-", text=f"<|im_start|>user\n{q}<|im_end|>\n<|im_start|>assistant\n{a}<|im_end|>\n")
            for n, (q, a) in enumerate(TALKS * 4)
        ]
        options: dict[str, Any] = {"epochs": 12, "learning_rate": 0.005, "window": 64}
        learnt = tune("pretrain", str(base), texts, out=root / "learnt", **options).path
        (learnt / "checkpoint.json").unlink()  # as a base of its own
        yield str(learnt)


def drawn(talker: str, folder: Path, count: int, **more: Any) -> list[Example]:
    return replay.from_base(talker, count, seed=3, folder=folder, **{"avoid": (), **more})


def test_the_base_is_its_own_source_and_the_file_that_is_kept_can_be_read(talker: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    found = drawn(talker, tmp_path, 2, progress=lambda *step: seen.append(step))
    asked = [example.question for example in found]
    assert len(set(asked)) == 2 and set(asked) & {question for question, _ in TALKS}
    taught = {answer for _, answer in TALKS}
    assert any(example.messages[1].content in taught for example in found)
    (file,) = tmp_path.iterdir()
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["messages"][0]["content"] for row in rows][:2] == asked
    assert [example.question for example in replay.from_file(file, {})][:2] == asked  # it can be used as replay_from
    assert seen[-1][:2] == (2, 2)
    again: list[object] = []
    assert drawn(talker, tmp_path, 2, progress=lambda *step: again.append(step)) == found
    assert not again  # it was read from the file


def test_the_same_seed_gives_the_same_conversations_however_the_file_grew(talker: str, tmp_path: Path) -> None:
    drawn(talker, tmp_path / "grown", 1)
    assert drawn(talker, tmp_path / "grown", 4) == drawn(talker, tmp_path / "whole", 4)


def test_what_forgetting_is_measured_by_is_never_drawn(talker: str, tmp_path: Path) -> None:
    plain = {question for question, _ in TALKS}
    found = drawn(talker, tmp_path, 2, avoid=[f" {question.upper()}" for question in plain])
    assert not plain & {example.question for example in found}


def test_a_base_that_asks_nothing_is_given_up_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEOFF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(replay, "QUESTION", 3)
    base = str(tiny_model.save(tmp_path / "tiny"))
    with pytest.raises(ModelError, match="name a file of general conversations as replay_from"):
        replay.from_base(base, 400, seed=3, folder=tmp_path / "replay", avoid=())


def test_the_ratio_says_how_many_come_on_a_lesson() -> None:
    general = [Example(f"g{n}", f"what of {n}?", ("much",)) for n in range(6)]
    mixed = replay.with_replay(LESSONS, general, 0.25, 3)
    assert mixed[:20] == LESSONS
    assert [example.id for example in mixed[20:]] == [f"replay-{n}" for n in range(5)]
    assert len({example.question for example in mixed[20:]}) == 5
    assert replay.with_replay(LESSONS, general, 0.25, 3) == mixed != replay.with_replay(LESSONS, general, 0.25, 4)
    # With more wanted than there are, each comes as often as any other, give or take one.
    many = [example.question for example in replay.with_replay(LESSONS, general, 1.0, 3)[20:]]
    assert {many.count(example.question) for example in general} == {3, 4}


def test_a_file_without_replies_and_one_with_measured_questions_are_refused(tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text(json.dumps({"text": "The sea is blue."}) + "\n")
    with pytest.raises(DataError, match="holds no replies to learn"):
        replay.from_file(tmp_path / "texts.jsonl", {})
    (tmp_path / "q.jsonl").write_text(json.dumps({"question": "what is the capital of france", "answer": "Paris"}))
    with pytest.raises(DataError, match="one of the questions by which forgetting is measured"):
        replay.from_file(tmp_path / "q.jsonl", {"What is the capital of France?": replay.MEASURED})


PROJECT = """\
base = "{base}"
[corpus]
sources = ["documents"]
embedder = "hashing"
[examples]
test = 0.2
valid = 0.2
[tune.sft]
method = "lora"
epochs = 1
replay = 0.5
[tune.read]
method = "pretrain"
epochs = 1
replay = 1.0
replay_from = "general.jsonl"
[tune.pairs]
method = "dpo"
replay = 0.5
[tune.less]
method = "lora"
replay = -1.0
[tune.none]
method = "lora"
replay_from = "general.jsonl"
[tune.word]
method = "lora"
replay = "much"
[tune.slip]
method = "lora"
replai = 0.5
"""


@pytest.fixture
def project(talker: str, tmp_path: Path) -> Project:
    (tmp_path / "bakeoff.toml").write_text(PROJECT.format(base=talker))
    (tmp_path / "questions.jsonl").write_text(
        "\n".join(json.dumps({"question": e.question, "answer": e.references[0]}) for e in LESSONS)
    )
    (tmp_path / "general.jsonl").write_text('{"question": "who are you?", "answer": "nobody"}\n')
    (tmp_path / "documents").mkdir()
    for n in range(3):
        (tmp_path / "documents" / f"{n}.md").write_text(f"The city of {n} is {n}.\n")
    return Project(tmp_path)


def test_a_project_trains_on_lessons_and_what_is_replayed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from bakeoff import tuning

    given: dict[str, list[Example]] = {}
    plain = tuning.tune

    def noted(method: str, base: str, train: Any, *rest: Any, **more: Any) -> Any:
        given[method] = list(train)
        return plain(method, base, train, *rest, **more)

    monkeypatch.setattr(tuning, "tune", noted)
    project.tune("sft", study=False)
    lessons = len(project.split.train)
    assert len(given["lora"]) == lessons + round(lessons / 2)
    assert all(example.messages for example in given["lora"][lessons:])
    assert [path.suffix for path in (project.folder / "replay").iterdir()] == [".jsonl"]
    project.ingest()
    project.tune("read", study=False)
    replayed = [example for example in given["pretrain"] if example.id.startswith("replay-")]
    assert len(replayed) == 2  # the third document validates
    assert replayed[0].text == ("<|im_start|>user\nwho are you?<|im_end|>\n<|im_start|>assistant\nnobody<|im_end|>\n")
    seen: list[object] = []
    project.tune("sft", study=False, progress=lambda *step: seen.append(step))
    assert not seen  # it is up to date
    leak = {"question": project.split.test[0].question, "answer": "that"}
    (project.folder / "general.jsonl").write_text(json.dumps(leak) + "\n")
    with pytest.raises(DataError, match="example .* is one of your questions for validation or test; take it out"):
        project.tune("read", study=False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pairs", "dpo learns from preferences"),
        ("less", "replay is -1.0: write how many"),
        ("none", "replay is 0.0: write how many"),
        ("word", r"\[tune.word\].replay is 'much', but must be of type float"),
        ("slip", r"'replai': did you mean 'replay'"),
    ],
)
def test_a_replay_that_cannot_be_is_refused_in_one_line(project: Project, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        project.tune(name, study=False)
    assert "\n" not in str(caught.value)
    assert not (project.folder / "checkpoints").exists()
