from __future__ import annotations

from pathlib import Path

import pytest

from bakeoff.errors import BakeoffError, ConfigError, DataError
from bakeoff.examples import Examples, load_examples, locate
from bakeoff.examples import write as again
from bakeoff.types import Chunk, Evidence, Example


def write(tmp_path: Path, text: str, name: str = "questions.jsonl") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_every_field_of_a_line_is_read(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '{"id": "a", "question": " Who? ", "references": ["Ann", "Ms Ann"], "group": "g", "kind": "fact",'
        ' "evidence": [{"document": "x.md", "quote": "Ann did"}], "answerable": true}\n\n'
        '{"question": "What?", "answer": "That", "answerable": false}\n',
    )
    first, second = load_examples(path)
    assert first == Example(
        "a", "Who?", ("Ann", "Ms Ann"), (Evidence("x.md", -1, -1, "Ann did"),), group="g", kind="fact"
    )
    assert (second.id, second.references, second.answerable) == ("q00003", ("That",), False)


def test_facts_and_formats_are_read_from_every_file_and_written_again(tmp_path: Path) -> None:
    schema = '{"type": "object", "required": ["days"]}'
    lines = f'{{"question": "a", "facts": ["90 days"], "format": {schema}}}\n{{"question": "b", "format": "[0-9]+"}}\n'
    first, second = load_examples(write(tmp_path, lines))
    assert (first.facts, first.format, second.facts, second.format) == (("90 days",), schema, (), "[0-9]+")
    again(load_examples(tmp_path / "questions.jsonl"), tmp_path / "again.jsonl")
    assert list(load_examples(tmp_path / "again.jsonl")) == [first, second]
    table = 'question,facts,format\na,"[""90 days""]","{""type"": ""object"", ""required"": [""days""]}"\n'
    (row,) = load_examples(write(tmp_path, table, "q.csv"))
    assert (row.facts, row.format) == (first.facts, first.format)


def test_a_csv_file_is_read_too(tmp_path: Path) -> None:
    (example,) = load_examples(write(tmp_path, "question,answer,label\nWhy?,Because,cause\n", "q.csv"))
    assert (example.question, example.references, example.label) == ("Why?", ("Because",), "cause")
    table = 'question,references\nWhich?,"[""red"", ""crimson""]"\nHow?,[sic]\nWhat?,"[1, 2]"\n'
    found = [one.references for one in load_examples(write(tmp_path, table, "q.csv"))]
    assert found == [("red", "crimson"), ("[sic]",), ("[1, 2]",)]
    (text,) = load_examples(write(tmp_path, '{"question": "JSON?", "references": "[\\"a\\"]"}\n'))
    assert text.references == ('["a"]',)
    line = '{"question": "a", "evidence": [{"document": "d", "quote": "b", "start": null, "end": null}]}\n'
    assert next(iter(load_examples(write(tmp_path, line)))).evidence == (Evidence("d", -1, -1, "b"),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no questions"),
        ("\n\n", "holds no questions"),
        ("{oops\n", ":1: not JSON"),
        ("[1]\n", ":1: not a JSON object"),
        ('{"question": "a", "answer": "b"}\n{"answer": "b"}\n', ":2: no 'question'"),
        ('{"question": "a", "anwser": "b"}\n', "unknown column 'anwser'"),
        ('{"question": "a", "references": [1]}\n', "'references' must be"),
        ('{"id": "x", "question": "a"}\n{"id": "x", "question": "b"}\n', "stands on line 1 too"),
        ('{"question": "a", "evidence": [{"quote": "b"}]}\n', "evidence needs a document"),
        (
            '{"question": "a", "evidence": [{"document": "d", "quote": "b", "start": "x"}]}\n',
            ":1: 'start' and 'end' of evidence are whole numbers",
        ),
        (f'{{"question": "a", "facts": {"[" * 100_000}{"]" * 100_000}}}\n', ":1: nested too deeply"),
        ('{"question": "a", "facts": ["b", 3]}\n', ":1: 'facts' must be a list of strings"),
        ('{"question": "a", "facts": "b"}\n', ":1: 'facts' must be a list of strings: [\"90 days\""),
        ('{"question": "a"}\n{"question": "b", "format": "("}\n', ":2: 'format': '(' is no regular expression"),
        ('{"question": "a", "format": {"type": "text"}}\n', ":1: 'format': the JSON schema is wrong at $.type: 'text'"),
        ('{"question": "a", "format": ["x"]}\n', ":1: 'format' is a list"),
        ('{"question": "a", "messages": [{"role": "robot", "content": ""}]}\n', "a message needs a role"),
    ],
)
def test_a_bad_question_file_gets_one_line_with_place_and_cure(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DataError) as caught:
        load_examples(write(tmp_path, text))
    assert says in str(caught.value)
    assert "questions.jsonl" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_question_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BakeoffError, match="there is no question file .*JSON object a line"):
        load_examples(tmp_path / "none.jsonl")


def test_a_split_never_divides_a_group_and_loses_nothing() -> None:
    examples = Examples([Example(f"{n:03}", "?", group=f"g{n % 23}") for n in range(200)])
    split = examples.split(test=0.3, valid=0.1, seed=3)
    parts = [split.train, split.valid, split.test]
    groups = [{example.group for example in part} for part in parts]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    assert sorted(example.id for part in parts for example in part) == [example.id for example in examples]
    assert 50 <= len(split.test) <= 70 and 10 <= len(split.valid) <= 30


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    examples = Examples([Example(str(n), "?") for n in range(50)])
    ids = [[e.id for e in examples.split(seed=seed).test] for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]


def test_a_group_goes_where_its_author_put_it_and_the_shares_divide_the_rest() -> None:
    claimed = [Example(f"c{n}", "?", group=f"c{n // 2}", split="test" if n % 2 else "") for n in range(10)]
    split = Examples([*claimed, *(Example(f"{n:03}", "?") for n in range(90))]).split(test=0.3, valid=0.1)
    assert set(claimed) <= set(split.test)
    assert 25 <= len(split.test) <= 35 and 5 <= len(split.valid) <= 15


def test_a_group_that_two_parts_claim_is_refused() -> None:
    examples = Examples([Example("a", "?", group="g", split="train"), Example("b", "?", group="g", split="test")])
    with pytest.raises(DataError, match="group 'g' stands in test and in train"):
        examples.split()


def test_an_unknown_part_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"question": "?", "split": "dev"}\n')
    with pytest.raises(DataError, match="q.jsonl:1: split 'dev'; write train, valid, test"):
        load_examples(tmp_path / "q.jsonl")


def test_shares_that_leave_no_training_part_are_refused() -> None:
    with pytest.raises(ConfigError, match="test=0.7 and valid=0.3"):
        Examples([Example("1", "?")]).split(test=0.7, valid=0.3)


def test_evidence_that_is_not_in_the_corpus_is_dropped_and_told() -> None:
    examples = [Example("a", "?", evidence=(Evidence("x.md", -1, -1, "here"), Evidence("x.md", -1, -1, "gone")))]
    place = Evidence("docs/x.md", 5, 9, "here")
    located, problems = locate(examples, lambda evidence: place if evidence.quote == "here" else None)
    assert located[0].evidence == (place,)
    assert problems == ["a: 'gone' is not in x.md"]


def test_evidence_is_in_a_chunk_by_span_or_by_quote() -> None:
    chunk = Chunk("d#10", "d", "the price is\n 40 crowns", 10, 33)
    assert Evidence("d", 20, 30).in_chunk(chunk)
    assert not Evidence("d", 30, 40).in_chunk(chunk)  # three of ten characters
    assert Evidence("d", -1, -1, "price is 40").in_chunk(chunk)
    assert not Evidence("other", 20, 30, "price is 40").in_chunk(chunk)
