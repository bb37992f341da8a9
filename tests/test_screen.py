"""Screening: bounds on what retrieval, better retrieval, form and reading could gain, from scripted models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bakeoff import cli
from bakeoff.errors import BakeoffError, ConfigError, DataError
from bakeoff.evaluation import gold, screen
from bakeoff.evaluation.gold import Given
from bakeoff.evaluation.screen import Screening
from bakeoff.models.generators.scripted import Generator
from bakeoff.systems import RAG
from bakeoff.types import Chunk, Document, Evidence, Example, Filter, Hit, Message

COLOURS = [
    "amber",
    "beige",
    "coral",
    "denim",
    "ebony",
    "fawn",
    "green",
    "hazel",
    "ivory",
    "jade",
    "khaki",
    "lilac",
    "mauve",
    "navy",
    "ochre",
    "pink",
]
EXAMPLES = [
    Example(f"q{n:02}", f"Which colour has lamp {n:02}?", (colour,), (Evidence(f"lamp{n:02}", 0, 20, ""),))
    for n, colour in enumerate(COLOURS * 3)
]


class Shelf:
    """A corpus of one-sentence documents, each a passage."""

    store: Shelf

    def __init__(self) -> None:
        self.store = self
        texts = [f"The colour of lamp {n:02} is {colour}." for n, colour in enumerate(COLOURS * 3)]
        self._chunks = [Chunk(f"lamp{n:02}#0", f"lamp{n:02}", text, 0, len(text)) for n, text in enumerate(texts)]

    def locate(self, evidence: Evidence) -> Evidence | None:
        return evidence if self.chunks(evidence.document_id) else None

    def chunks(self, document_id: str) -> list[Chunk]:
        return [chunk for chunk in self._chunks if chunk.document_id == document_id]

    def document(self, document_id: str) -> Document | None:
        return None

    def search_text(self, query: str, k: int, filter: Filter | None = None) -> list[Hit]:
        words = set(query.lower().replace("?", "").split())
        scored = [(len(words & set(chunk.text.lower().rstrip(".").split())), chunk) for chunk in self._chunks]
        return [Hit(chunk, float(score)) for score, chunk in sorted(scored, key=lambda one: -one[0])[:k]]

    def search_vectors(self, vector: object, k: int, filter: Filter | None = None) -> list[Hit]:
        return []


def reader(messages: Sequence[Message], *, wrap: str = "{}", blind: bool = False, knows: bool = False) -> str:
    """Says the colour where the passage of the question stands in the prompt."""
    said = messages[-1].content
    number = said.rpartition("lamp ")[2][:2]
    colour = (COLOURS * 3)[int(number)]
    held = f"The colour of lamp {number} is" in said
    return wrap.format(colour) if knows or (held and not blind) else "crimson"


def run(tmp_path: Path, found: int, **options: object) -> Screening:
    """Screen with a retriever that finds the passages of the first `found` questions of the sample."""
    chosen = screen.sample(EXAMPLES[4:], Shelf(), 30, seed=1)
    known = {example.question: chosen.passages[example.question] for example in chosen.examples[:found]}
    wrong = Hit(Chunk("x#0", "x", "Nothing is said here.", 0, 21), 1.0)
    shelf = Given({example.question: known.get(example.question, (wrong,)) for example in chosen.examples})
    generator = Generator(lambda messages: reader(messages, **options))  # type: ignore[arg-type]
    return screen.screen(generator, RAG(generator, shelf), EXAMPLES[:4], chosen, ["recall"], out=tmp_path)


def estimates(found: Screening) -> dict[str, int]:
    return {gain.by: round(100 * gain.interval.estimate) for gain in found.gains}


def test_a_model_that_reads_but_does_not_know_gains_by_retrieval(tmp_path: Path) -> None:
    found = run(tmp_path, found=30)
    assert estimates(found) == {"retrieval": 100, "better retrieval": 0, "examples": 0, "form": 0, "reading": 0}
    assert found.first.startswith("retrieval, at most +100.0") and found.first.endswith("bakeoff compare")


def test_passages_that_are_missed_are_what_better_retrieval_could_gain(tmp_path: Path) -> None:
    found = run(tmp_path, found=12)
    assert estimates(found)["better retrieval"] == 60
    gain = next(gain for gain in found.gains if gain.by == "better retrieval")
    assert 0.3 < gain.interval.low < 0.6 < gain.interval.high < 0.85
    assert "bakeoff fit" in gain.next


def test_a_model_that_does_not_read_gains_nothing_by_retrieval(tmp_path: Path) -> None:
    found = run(tmp_path, found=30, blind=True)
    assert (estimates(found)["reading"], estimates(found)["retrieval"]) == (100, 0)
    assert found.first.startswith("reading") and "bakeoff tune" in found.first


def test_right_answers_in_other_words_are_what_tuning_for_form_could_gain(tmp_path: Path) -> None:
    found = run(tmp_path, found=30, knows=True, wrap="I would say that it is {}, if you ask me.")
    assert estimates(found) == {"form": 100, "retrieval": 0, "better retrieval": 0, "examples": 0, "reading": 0}
    assert found.first.startswith("form")


def test_where_nothing_is_shown_more_questions_are_asked_for(tmp_path: Path) -> None:
    found = run(tmp_path, found=30, knows=True)
    assert "bakeoff screen --sample 300" in found.first


def test_a_metric_that_cannot_decide_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    chosen, asked = screen.sample(EXAMPLES[4:], Shelf(), 30, seed=1), []
    generator = Generator(lambda messages: asked.append(messages) or "x")  # type: ignore[func-returns-value]
    with pytest.raises(DataError, match="support scored no question for all four; put another first"):
        screen.screen(generator, RAG(generator, Given({})), EXAMPLES[:4], chosen, ["support", "recall"], out=tmp_path)
    assert not asked


def test_a_second_screening_asks_nothing_again(tmp_path: Path) -> None:
    first, trials = run(tmp_path, found=12), (tmp_path / "trials.jsonl").read_bytes()
    assert run(tmp_path, found=12) == first
    assert (tmp_path / "trials.jsonl").read_bytes() == trials
    assert str(first).count("\n") > 10


def test_without_evidence_the_passage_is_found_by_its_words_and_said_to_be_a_guess() -> None:
    plain = Example("q", "Which colour has lamp 03?", ("denim",))
    found = gold.find(plain, Shelf())
    assert (found.stated, found.whole) == (False, True)
    assert found.hits[0].chunk.document_id == "lamp03"
    assert not gold.find(Example("q", "Who won?", ("Norway",)), Shelf()).whole


def test_too_few_questions_are_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match="--sample 100"):
        screen.sample(EXAMPLES, Shelf(), 3, seed=0)
    lost = [Example(str(n), "Who won?", ("Norway",)) for n in range(30)]
    with pytest.raises(DataError, match="only 0 of 30 .* add `evidence`"):
        screen.sample(lost, Shelf(), 20, seed=0)


def test_screen_and_diagnose_run_on_a_project(project: Path) -> None:
    def call(*arguments: str) -> str:
        result = CliRunner().invoke(cli.app, [*arguments, "-C", str(project)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    found = json.loads(call("screen", "--sample", "12", "--json"))
    assert (found["n"], set(found["right"])) == (12, {"closed-book", "few-shot", "retrieval", "oracle"})
    assert "try first: reading" in call("screen", "--sample", "12")  # the double refuses everything
    call("compare", "--limit", "12")
    assert "wrong refusal" in call("diagnose", "latest", "rag")
    page = (project / "runs" / "latest" / "report.html").read_text()
    assert "Why wrong" in page and 'aria-label="rag: ' in page
    assert "Why wrong: rag" in (project / "runs" / "latest" / "report.md").read_text()
    assert "not in data" in call("diagnose", "latest", "zero-shot")
    assert set(json.loads(call("report", "--json"))["diagnoses"]) == {"rag", "zero-shot"}


def test_a_diagnosis_of_what_is_not_there_says_what_to_do(project: Path) -> None:
    def fails(*arguments: str) -> str:
        with pytest.raises(BakeoffError) as error:
            CliRunner().invoke(cli.app, [*arguments, "-C", str(project)], catch_exceptions=False)
        return str(error.value)

    assert "`bakeoff compare` makes one" in fails("diagnose", "latest", "rag")
    CliRunner().invoke(cli.app, ["compare", "--limit", "10", "-C", str(project)], catch_exceptions=False)
    assert "did you mean 'rag'" in fails("diagnose", "latest", "rga")
    toml = project / "bakeoff.toml"
    toml.write_text(toml.read_text() + "k = 5\n")
    assert "bakeoff compare rag --run latest --fresh" in fails("diagnose", "latest", "rag")


def test_check_says_before_the_run_what_the_questions_can_show(project: Path) -> None:
    def says() -> str:
        return CliRunner().invoke(cli.app, ["check", "-C", str(project)], catch_exceptions=False).stdout

    assert "test questions show differences from about 15 points between two systems" in says()
    lines = (project / "questions.jsonl").read_text().splitlines()[:20]
    (project / "questions.jsonl").write_text("\n".join(lines))
    assert "show next to nothing" in says()
