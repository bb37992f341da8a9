"""Rows of the formats that trainers use become examples; what fits none gets one line with place and cure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bakeoff.errors import DataError, MissingPackageError
from bakeoff.examples import Examples, load_examples, read_examples
from bakeoff.types import Example, Message

Row = dict[str, Any]
WHY, BECAUSE = Message("user", "Why?"), Message("assistant", "Because.")
TURNS = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
SHORT = {"question": "Why?", "references": ("Because.",)}
LONGER = [{"role": "system", "content": "Be short."}, *TURNS]


def written(folder: Path, rows: list[Row], name: str = "data.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "format", "fields"),
    [
        (
            {"instruction": "Add.", "input": "1 and 2", "output": "3"},
            "instruction (alpaca)",
            {"question": "Add.\n\n1 and 2", "references": ("3",)},
        ),
        (
            {"instruction": "Greet.", "input": "", "output": "Hi", "system": "Be kind."},
            "instruction (alpaca)",
            {
                "question": "Greet.",
                "references": ("Hi",),
                "messages": (Message("system", "Be kind."), Message("user", "Greet."), Message("assistant", "Hi")),
            },
        ),
        (
            {"instruction": "Who?", "context": "Ann did it.", "response": "Ann"},
            "instruction (dolly)",
            {"question": "Who?\n\nAnn did it.", "references": ("Ann",)},
        ),
        ({"messages": TURNS}, "chat (messages)", {"question": "Why?", "references": ("Because.",)}),
        (
            {"messages": LONGER, "group": "g"},
            "chat (messages)",
            {
                "question": "Why?",
                "references": ("Because.",),
                "messages": (Message("system", "Be short."), WHY, BECAUSE),
                "group": "g",
            },
        ),
        (
            {"messages": [*TURNS, *TURNS]},
            "chat (messages)",
            {"question": "Why?", "messages": (WHY, BECAUSE, WHY, BECAUSE)},
        ),
        (
            {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]},
            "chat (sharegpt)",
            {"question": "Why?", "references": ("Because.",)},
        ),
        ({"prompt": "Why?", "completion": "Because."}, "prompt-completion", SHORT),
        ({"prompt": TURNS[:1], "completion": TURNS[1:]}, "prompt-completion", SHORT),
        ({"prompt": "1 + 1", "response": 2}, "prompt-completion", {"question": "1 + 1", "references": ("2",)}),
        (
            {"prompt": "Why?", "chosen": "Because.", "rejected": "No."},
            "preference",
            {"question": "Why?", "references": ("Because.",), "rejected": "No."},
        ),
        (
            {"prompt": "Why?", "chosen": TURNS, "rejected": [TURNS[0], {"role": "assistant", "content": "No."}]},
            "preference",
            {"question": "Why?", "references": ("Because.",), "rejected": "No."},
        ),
        (
            {"chosen": TURNS, "rejected": [TURNS[0], {"role": "assistant", "content": "No."}]},
            "preference",
            {"question": "Why?", "references": ("Because.",), "rejected": "No."},
        ),
        (
            {"instruction": "Add.", "input": "1 2", "output": "3", "chosen": "It is 3.", "rejected": "3, obviously."},
            "preference",
            {"question": "Add.\n\n1 2", "references": ("It is 3.",), "rejected": "3, obviously."},
        ),
        (
            {"prompt": "Why?", "completion": "Because.", "label": True},
            "preference (KTO)",
            {"question": "Why?", "references": ("Because.",)},
        ),
        (
            {"prompt": "Why?", "completion": "No.", "label": 0},
            "preference (KTO)",
            {"question": "Why?", "rejected": "No."},
        ),
        ({"text": "my lamp broke", "label": "repair"}, "labels", {"question": "my lamp broke", "label": "repair"}),
        ({"sentence": "fine", "label": 1, "idx": 0}, "labels", {"question": "fine", "label": "1"}),
        ({"text": "Once upon a time.", "url": "x"}, "raw text", {"question": "", "text": "Once upon a time."}),
    ],
)
def test_a_format_is_recognised_and_converted(tmp_path: Path, row: Row, format: str, fields: Row) -> None:
    reading = read_examples(written(tmp_path, [row]))
    assert (reading.format, list(reading.examples)) == (format, [Example(**{"id": "q00001", **fields})])


def test_the_conversion_is_said_with_what_was_left_aside(tmp_path: Path) -> None:
    rows = [{"instruction": f"Add {n}.", "input": "", "output": "3", "category": "sums"} for n in range(1000)]
    assert str(read_examples(written(tmp_path, rows))) == (
        "instruction (alpaca), 1,000 rows: instruction + input -> question, output -> reference; not used: category"
    )


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"foo": "a", "bar": "b"}], "data.jsonl:1: unknown format with the columns foo, bar; rename them to one of: "),
        ([{"promt": "a", "completion": "b"}], "data.jsonl:1: unknown column 'promt': did you mean 'prompt'?"),
        (
            [{"instruction": "a", "output": "b"}, {"prompt": "a", "completion": "b"}],
            "data.jsonl:2: no 'instruction', and the first row was read as instruction (alpaca): it looks like "
            "prompt-completion; keep one format a file",
        ),
        (
            [{"prompt": "a", "completion": "b"}, {"prompt": "a"}, {"prompt": "b"}],
            "data.jsonl:2: no 'completion', and the first row was read as prompt-completion: add 'completion' "
            "(rows that are wrong, with this one: 2)",
        ),
        ([{"messages": [{"role": "tool", "content": "x"}]}], "data.jsonl:1: a message needs a role"),
        ([{"messages": []}], "data.jsonl:1: 'messages' is empty"),
        ([{"messages": [{"role": "user", "content": None}]}], "content as text"),
        ([{"instruction": "a", "output": ["b"]}], "data.jsonl:1: 'output' is a list; write it as text"),
        ([{"chosen": "a", "rejected": "b"}], "data.jsonl:1: no 'prompt', and the replies do not hold it"),
        (
            [{"chosen": TURNS, "rejected": [{"role": "user", "content": "What?"}, TURNS[1]]}],
            "'chosen' and 'rejected' part before their last reply",
        ),
        ([{"prompt": "What?", "chosen": TURNS, "rejected": TURNS}], "'chosen' does not begin with the prompt"),
    ],
)
def test_what_fits_no_format_gets_one_line_with_place_and_cure(tmp_path: Path, rows: list[Row], says: str) -> None:
    with pytest.raises(DataError) as caught:
        load_examples(written(tmp_path, rows))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_json_lists_and_tables_with_other_separators_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"prompt": "a", "completion": "b"}]')
    (tmp_path / "b.json").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "c.csv").write_text('prompt;completion\n"a";b\n')
    (tmp_path / "d.tsv").write_text("prompt\tcompletion\na\tb\n")
    for name in ("a.json", "b.json", "c.csv", "d.tsv"):
        (example,) = load_examples(tmp_path / name)
        assert (example.question, example.references) == ("a", ("b",)), name


def test_a_cell_may_hold_lines_and_separators_and_a_row_with_too_many_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,label\n"one\ntwo, three",x\n')
    assert load_examples(tmp_path / "a.csv")[0].question == "one\ntwo, three"
    (tmp_path / "b.csv").write_text("text,label\none, two,x\n")
    with pytest.raises(DataError, match="b.csv:2: more cells than the header has; quote"):
        load_examples(tmp_path / "b.csv")


def test_a_line_separator_inside_a_string_does_not_end_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "a\u2028b", "completion": "c"}\n', encoding="utf-8")
    assert load_examples(tmp_path / "a.jsonl")[0].question == "a\u2028b"


def test_a_folder_of_files_named_by_part_keeps_the_authors_split(tmp_path: Path) -> None:
    for part in ("train", "validation", "test"):
        written(tmp_path, [{"prompt": part, "completion": "x"}], f"{part}.jsonl")
    split = load_examples(tmp_path).split()
    assert [[e.question for e in part] for part in (split.train, split.valid, split.test)] == [
        ["train"],
        ["validation"],
        ["test"],
    ]


def test_a_folder_without_parts_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no train, valid or test file"):
        load_examples(tmp_path)


def test_parquet_is_read(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"messages": TURNS}, {"messages": LONGER}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    first, second = load_examples(tmp_path / "a.parquet")
    assert (first.question, len(second.messages)) == ("Why?", 3)
    (tmp_path / "b.parquet").write_bytes(b"no table")
    with pytest.raises(DataError, match="b.parquet is not a readable Parquet file"):
        load_examples(tmp_path / "b.parquet")


@pytest.mark.slow  # importing datasets takes longer than all other tests of formats
@pytest.mark.filterwarnings("ignore")
def test_a_data_set_on_disk_is_read_offline_with_its_parts_and_class_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(text=datasets.Value("string"), label=datasets.ClassLabel(names=["bad", "good"]))
    table = datasets.Dataset.from_dict({"text": ["fine", "dull", "hidden"], "label": [1, 0, -1]}, features=features)
    datasets.DatasetDict(train=table, test=table).save_to_disk(tmp_path / "saved")
    found = load_examples(tmp_path / "saved")
    assert [(e.split, e.question, e.label) for e in found][:3] == [
        ("train", "fine", "good"),
        ("train", "dull", "bad"),
        ("train", "hidden", "-1"),
    ]
    table.to_parquet(tmp_path / "plain" / "train.parquet")
    assert [e.label for e in load_examples(f"datasets:{tmp_path / 'plain'}?split=train")] == ["good", "bad", "-1"]
    with pytest.raises(DataError, match="cannot be loaded: .*connect once, or name a local file"):
        load_examples("datasets:nobody/nothing-of-this-name")


def test_without_the_package_the_pip_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"")
    for path in ("datasets:imdb", str(tmp_path / "a.parquet")):
        with pytest.raises(MissingPackageError, match=r"pip install 'bakeoff\[datasets\]'"):
            load_examples(path)


def test_labels_are_divided_by_the_shares_and_a_rare_one_is_learnt_first() -> None:
    common = [Example(f"c{n:03}", "?", label="common") for n in range(90)]
    rare = [Example(f"r{n}", "?", label="rare") for n in range(10)]
    single = Example("single", "?", label="single")
    split = Examples([*common, *rare, single]).split(test=0.3, valid=0.1, seed=3)
    counts = [sum(e.label == "rare" for e in part) for part in (split.train, split.valid, split.test)]
    assert counts == [6, 1, 3]
    assert single in split.train
    assert [len(part) for part in (split.train, split.valid, split.test)] == [61, 10, 30]
