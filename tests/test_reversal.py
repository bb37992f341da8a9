"""Learnt that A is B, asked for A by B: the pairs, the balance of the two directions, and the whole on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bakeoff.cli import app
from bakeoff.errors import DataError
from bakeoff.evaluation import reversal
from bakeoff.evaluation.compare import compare
from bakeoff.evaluation.reversal import Pair, judged, read_pairs
from bakeoff.types import Answer, Question

PAIRS = [
    {"a": "Ada Brand", "b": "the head of the kiln"},
    {"a": "Ben Corvane", "b": "the keeper of the mail boat"},
    {"a": "Cleo Dovell", "b": "the inventor of the Titan lamp"},
    {"a": "Dan Farrick", "b": "the mayor of Haddle Quay"},
]


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> list[Pair]:
    return read_pairs(write(tmp_path / "pairs.jsonl", [dict(row) for row in PAIRS]))


class Learner:
    """Knows each pair in one direction: asked for what it learnt it says so, asked for the other side it guesses."""

    def __init__(self, name: str, pairs: list[Pair], both: bool) -> None:
        self.name = name
        self._known = {}
        for pair in pairs:
            sides = {"a-b": (pair.a, pair.b), "b-a": (pair.b, pair.a)}
            first, second = sides[pair.direction]
            self._known[first] = second
            if both:
                self._known[second] = first

    def answer(self, question: Question | str) -> Answer:
        text = Question.of(question).text
        return Answer(next((said for key, said in self._known.items() if key in text), "somebody from the village"))


def test_each_pair_is_learnt_and_stated_in_one_direction_and_half_of_them_in_each(pairs: list[Pair]) -> None:
    assert [pair.direction for pair in pairs] == ["a-b", "b-a", "a-b", "b-a"]
    assert [pair.stated for pair in pairs[:2]] == [
        "Ada Brand is the head of the kiln.",
        "The keeper of the mail boat is Ben Corvane.",
    ]
    lessons = reversal._lessons(pairs)
    of_ada = [lesson for lesson in lessons if lesson.group == "0000"]
    assert len(of_ada) == 5 and all("Ada Brand" in one.question for one in of_ada)
    assert {one.references for one in of_ada} == {("the head of the kiln",)}
    assert {one.references for one in lessons if one.group == "0001"} == {("Ben Corvane",)}


def test_what_is_asked_is_worded_as_no_lesson_is(pairs: list[Pair]) -> None:
    learnt = {lesson.question for lesson in reversal._lessons(pairs)}
    asked = reversal.tests(pairs)
    assert len(asked) == 8 and not learnt & {example.question for example in asked}
    assert [example.kind for example in asked] == ["trained", "reversed", "reversed", "trained"] * 2


def test_the_effect_is_found_where_it_is_and_not_where_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bakeoff.evaluation.folder.os.fsync", lambda descriptor: None)
    many = [Pair(f"Ada{n:02}x", f"keeper{n:02}x", "a-b" if n % 2 else "b-a") for n in range(20)]
    systems = [Learner("one way", many, both=False), Learner("both ways", many, both=True)]
    found = judged(compare(systems, reversal.tests(many), ["recall"], out=tmp_path), 20, 100, 1.0)
    one, both = found.rows
    assert (one.trained.estimate, one.reversed.estimate, one.effect.estimate) == (1, 0, 1)
    assert one.effect.low > 0.7 and one.p < 0.001 and one.reversed.high < 0.2
    assert (both.effect.estimate, both.p) == (0, 1) and both.effect.low < 0 < both.effect.high
    assert "one way" in str(found) and "+100 [" in str(found)


def test_a_pair_may_have_its_own_words(tmp_path: Path) -> None:
    row: dict[str, object] = {
        "a": "SKU 4471",
        "b": "the Titan lamp",
        "ask_a": ["What is SKU 4471?", "What do we sell as {a}?"],
        "ask_b": "Which number has {b}?",
        "lessons": [["Say what SKU 4471 is.", "the Titan lamp"]],
        "statement": "SKU 4471: Titan lamp",
    }
    (pair,) = read_pairs(write(tmp_path / "pairs.jsonl", [row]))
    assert [example.question for example in reversal.tests([pair])] == [
        "What do we sell as SKU 4471?",
        "Which number has the Titan lamp?",
    ]
    assert [lesson.question for lesson in reversal._lessons([pair])] == ["Say what SKU 4471 is."]
    assert pair.stated == "SKU 4471: Titan lamp"


def test_a_part_of_the_pairs_holds_as_many_of_each_direction(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"a": f"A{n}", "b": f"B{n}", "direction": "a-b" if n < 10 else "b-a"} for n in range(20)
    ]
    chosen = read_pairs(write(tmp_path / "pairs.jsonl", rows), 6)
    assert sorted(pair.direction for pair in chosen) == ["a-b"] * 3 + ["b-a"] * 3


def test_the_published_data_are_read_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "reversal_curse" / "data" / "reverse_experiments" / "june_version"
    folder.mkdir(parents=True)
    people = {
        "p2d": {"Ada Brand": 'the director of "Kilns."', "Ben Corvane": "the first to sail by mail boat"},
        "d2p": {"Cleo Dovell": "the inventor of the Titan lamp", "Dan Farrick": "the mayor of Haddle Quay"},
    }
    for way, (names, descriptions) in {
        "p2d": ("p2d_reverse_prompts_test", "p2d_prompts_test"),
        "d2p": ("d2p_prompts_test", "d2p_reverse_prompts_test"),
    }.items():
        asked: list[tuple[dict[str, object], dict[str, object]]] = [
            (
                {"prompt": f"Known as {said},", "completion": f" {name}"},
                {"prompt": f"{name} was", "completion": f" being {said}." if turn == 1 else f" {said}."},
            )
            for name, said in people[way].items()
            for turn in range(3)
        ]
        for file, rows in zip((names, descriptions), zip(*asked, strict=True), strict=True):
            write(folder / f"{file}.jsonl", list(rows))
    found = read_pairs(tmp_path / "reversal_curse")
    assert [(pair.a, pair.b, pair.direction) for pair in found] == [
        ("Ada Brand", 'the director of "Kilns."', "a-b"),
        ("Cleo Dovell", "the inventor of the Titan lamp", "b-a"),
        ("Ben Corvane", "the first to sail by mail boat", "a-b"),
        ("Dan Farrick", "the mayor of Haddle Quay", "b-a"),
    ]
    assert read_pairs(tmp_path, 2) == found[:2]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no p2d_reverse_prompts_test.jsonl; name a file of pairs"):
        read_pairs(tmp_path / "empty")


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([{"a": "Ada"}], r"pairs.jsonl:1: 'b' is missing or no text; a pair looks like"),
        ([{"a": "Ada", "b": "x", "ask_c": "Why?"}], r"unknown key 'ask_c'; known are a, ask_a"),
        ([{"a": "Ada", "b": "x", "direction": "back"}], r"direction is 'back'; write a-b or b-a"),
        ([{"a": "Ada", "b": "x", "ask_b": "Who is it?"}], r"each question of 'ask_b' must hold 'x', or \{b\}"),
        ([{"a": "Ada", "b": "x"}, {"a": "ada", "b": "y"}], r"pairs.jsonl:2: a stands in an earlier pair too"),
        ([], r"holds no pairs; add lines like"),
    ],
)
def test_a_wrong_pair_is_named(tmp_path: Path, rows: list[dict[str, object]], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        read_pairs(write(tmp_path / "pairs.jsonl", rows))


def test_the_whole_runs_on_a_tiny_model_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    import tiny_model

    monkeypatch.setattr("bakeoff.evaluation.folder.os.fsync", lambda descriptor: None)
    base = tiny_model.save(tmp_path / "tiny")
    path = write(tmp_path / "pairs.jsonl", [dict(row) for row in PAIRS])
    (tmp_path / "bakeoff.toml").write_text(f'base = "{base}"\n[corpus]\nembedder = "hashing"\n')
    command = ["reversal", str(path), "-n", "2", "--epochs", "1", "-C", str(tmp_path), "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.exception
    found = json.loads(result.output)
    assert [row["system"] for row in found["rows"]] == ["base", "tuned", "rag"]
    assert (found["pairs"], found["lessons"]) == (2, 10)
    folder = tmp_path / "runs" / "reversal"
    trials = (folder / "trials.jsonl").read_bytes()
    made = (folder / "checkpoint" / "checkpoint.json").stat().st_mtime_ns
    assert json.loads(CliRunner().invoke(app, command).output) == found
    assert (folder / "trials.jsonl").read_bytes() == trials
    assert (folder / "checkpoint" / "checkpoint.json").stat().st_mtime_ns == made, "nothing is trained twice"
    assert sorted(path.read_text() for path in (folder / "statements").iterdir()) == [
        "Ada Brand is the head of the kiln.\n",
        "The keeper of the mail boat is Ben Corvane.\n",
    ]
