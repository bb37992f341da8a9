"""Documents said again: what counts as the same, what is kept, and that nothing is asked twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from bakeoff.errors import ConfigError, DataError
from bakeoff.models.generators.scripted import Generator
from bakeoff.tuning.paraphrase import MANNERS, check, fault, paraphrased
from bakeoff.types import Example, Message

FILE = "paraphrases.jsonl"
SENTENCE = "The museum in Millwick lends 14 lamps to Ada Moss, and never sells them."


@pytest.mark.parametrize(
    ("rewriting", "reason"),
    [
        ("Ada Moss borrows 14 lamps of the museum in Millwick, which never sells them.", ""),
        ("14 lamps are lent to Ada Moss by the museum in Millwick; it does not sell them.", ""),
        (SENTENCE, "the same words"),
        (SENTENCE.upper(), "the same words"),
        ("", "no sentence"),
        ("Ada Moss borrows 14 lamps\nof the museum in Millwick, which never sells them.", "no sentence"),
        ("Ada Moss borrows lamps of the museum in Millwick, which never sells them.", "other numbers: 14"),
        ("Ada Moss borrows 14 lamps of the museum in Millwick for two years and never sells.", "other numbers: two"),
        ("Ada borrows 14 lamps of the museum in Millwick, which never sells them.", "names are missing: Moss"),
        ("Ada Moss borrows 14 lamps of the Berlin museum in Millwick, and it never sells.", "names were added: Berlin"),
        ("Ada Moss borrows 14 lamps of the museum in Millwick, which sells them.", "a negation came or went"),
        ("In Millwick, Ada Moss has 14 things that nobody can buy anywhere.", "too little of it is there"),
        (f"{SENTENCE} {SENTENCE} And so on.", "another length"),
    ],
)
def test_a_rewriting_holds_only_with_every_name_and_number_and_no_other(rewriting: str, reason: str) -> None:
    assert fault(SENTENCE, rewriting) == reason


def rewriter(replies: dict[str, str], asked: list[str]) -> Generator:
    def reply(messages: Sequence[Message]) -> str:
        manner = next(n for n, words in enumerate(MANNERS) if words in messages[0].content)
        asked.append(messages[-1].content)
        return replies.get(messages[-1].content, "no idea") if manner == 0 else "no idea"

    return Generator(reply)


TEXT = "# Loans\n\nA reader keeps a book for 21 days. Late books cost 2 crowns a day. | a | table |\n\nSee the desk.\n"
SAID = {"A reader keeps a book for 21 days.": "For 21 days a reader may keep a book."}


def test_what_holds_takes_the_place_of_its_sentence_and_the_rest_stays(tmp_path: Path) -> None:
    asked: list[str] = []
    document = Example("loans.md", "loans.md", text=TEXT)
    found = paraphrased([document], 1, rewriter(SAID, asked), path=tmp_path / FILE, seed=3)
    assert asked == ["A reader keeps a book for 21 days.", "Late books cost 2 crowns a day."]
    assert found[0] == document
    assert found[1].text == TEXT.replace(*next(iter(SAID.items())))
    assert [example.id for example in found] == ["loans.md", "loans.md paraphrase 1"]


def test_a_text_of_which_nothing_could_be_rewritten_is_given_in_another_order(tmp_path: Path) -> None:
    sentences = [f"The lamp number {n} hangs in the hall." for n in range(6)]
    document = Example("lamps.md", "-", text=" ".join(sentences))
    found = paraphrased([document], 2, rewriter({}, []), path=tmp_path / FILE, seed=3)
    assert len(found) == 3
    for example in found[1:]:
        assert example.text != document.text
        assert len(example.text) == len(document.text) and all(one in example.text for one in sentences)
    # A text of one sentence has no other order, so there is nothing to add.
    single = Example("one.md", "-", text=sentences[0])
    assert paraphrased([single], 2, rewriter({}, []), path=tmp_path / FILE, seed=3) == [single]


def test_what_was_rewritten_is_kept_shown_and_not_asked_for_again(tmp_path: Path) -> None:
    asked: list[str] = []
    document = Example("loans.md", "loans.md", text=TEXT)
    first = paraphrased([document], 1, rewriter(SAID, asked), path=tmp_path / FILE, seed=3)
    file = tmp_path / FILE
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(row["rewriting"], row["dropped"]) for row in rows] == [
        ("For 21 days a reader may keep a book.", ""),
        ("no idea", "another length"),
    ]
    asked.clear()
    assert paraphrased([document], 1, rewriter(SAID, asked), path=tmp_path / FILE, seed=3) == first
    assert not asked
    # A line that was corrected by hand counts, as long as it holds.
    rows[1]["rewriting"] = "For late books you pay 2 crowns a day."
    file.write_text("\n".join(map(json.dumps, rows)) + "\n")
    (_, mended) = paraphrased([document], 1, rewriter(SAID, asked), path=tmp_path / FILE, seed=3)
    assert "For late books you pay 2 crowns a day." in mended.text
    rows[1]["rewriting"] = "For late books you pay 3 crowns a day."
    file.write_text("\n".join(map(json.dumps, rows)) + "\n")
    assert "3 crowns" not in paraphrased([document], 1, rewriter(SAID, asked), path=tmp_path / FILE, seed=3)[1].text
    # The last line was being written when the process died.
    asked.clear()
    file.write_text("\n".join(map(json.dumps, rows)) + '\n{"sentence": "A rea')
    paraphrased([document], 1, rewriter(SAID, asked), path=tmp_path / FILE, seed=3)
    assert not asked and len(file.read_text().splitlines()) == 2
    file.write_text("oops\n" + "\n".join(map(json.dumps, rows)) + "\n")
    with pytest.raises(DataError, match=f"{FILE}:1: no rewriting; correct the line, or remove it"):
        paraphrased([document], 1, rewriter(SAID, asked), path=tmp_path / FILE, seed=3)
    file.write_text("\n".join(map(json.dumps, rows)) + "\n")
    # More of them ask only for the new ones.
    paraphrased([document], 2, rewriter(SAID, asked), path=tmp_path / FILE, seed=3)
    assert len(asked) == 2


def test_paraphrases_of_other_methods_and_more_than_there_are_manners_are_refused() -> None:
    check("pretrain", len(MANNERS))
    check("lora", 0)
    with pytest.raises(ConfigError, match="paraphrases are for pretrain.*leave them out for lora"):
        check("lora", 1)
    with pytest.raises(ConfigError, match="paraphrases is 9; write 0 to 5"):
        check("pretrain", 9)


TOML = """\
base = "{base}"
[corpus]
sources = ["documents"]
embedder = "hashing"
[tune.read]
method = "pretrain"
epochs = 1
paraphrases = 2
[tune.reader]
method = "lora"
paraphrases = 2
"""


def test_a_project_reads_its_documents_and_what_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    import tiny_model
    from bakeoff.project import Project

    monkeypatch.setenv("BAKEOFF_CACHE", str(tmp_path / "cache"))
    (tmp_path / "bakeoff.toml").write_text(TOML.format(base=tiny_model.save(tmp_path / "tiny")))
    (tmp_path / "questions.jsonl").write_text("".join(f'{{"question": "{n}?", "answer": "{n}"}}\n' for n in range(9)))
    (tmp_path / "documents").mkdir()
    for n in range(3):
        text = f"The lamp of hall {n} is red. The lamp of room {n} is blue and cheap.\n"
        (tmp_path / "documents" / f"{n}.md").write_text(text)
    project = Project(tmp_path)
    project.ingest()
    monkeypatch.setattr(project, "_generator", lambda name: Generator({"hall": "Red is what the lamp of hall 1 is."}))
    path = project.tune("read", study=False).path
    rows = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    # Two documents, two sentences each, in two manners; the third document validates, and is not touched.
    assert len(rows) == 8
    assert {row["dropped"] for row in rows if "hall 1" in row["sentence"]} == {""}
    before = json.loads((path / "checkpoint.json").read_text())
    seen: list[object] = []
    monkeypatch.setattr("bakeoff.tuning.training.train", lambda *_, **__: seen.append(0))
    assert json.loads((project.tune("read", study=False).path / "checkpoint.json").read_text()) == before
    assert not seen  # up to date
    with pytest.raises(ConfigError, match="leave them out for lora"):
        project.tune("reader", study=False)
