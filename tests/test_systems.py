from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from bakeoff.errors import ModelError
from bakeoff.evaluation.sharing import Work
from bakeoff.models.generators.scripted import Generator
from bakeoff.retrieval import Reranked
from bakeoff.systems import RAG, Prompt
from bakeoff.systems.prompt import ABSTENTION, final_answer, outcome
from bakeoff.types import Answer, Chunk, Evidence, Example, Filter, Hit, Message, Question

TITAN = Hit(Chunk("d#0", "d", "The Titan weighs 90 grams.", 0, 26), 2.0)
MOUSE = Hit(Chunk("e#0", "e", "The Mouse weighs 9 kilograms.", 0, 29), 1.0)
PAUSE = 0.05


class Shelf:
    """A retriever with fixed hits."""

    def __init__(self, *hits: Hit) -> None:
        self.hits = list(hits)

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        return self.hits[:k]


class Listener:
    """Remembers what the generator was shown."""

    def __init__(self, reply: str) -> None:
        self.reply = reply
        self.seen: list[Message] = []

    def __call__(self, messages: Sequence[Message]) -> str:
        self.seen = list(messages)
        return self.reply


def test_zero_shot_asks_the_bare_question() -> None:
    listener = Listener("90 grams")
    answer = Prompt(Generator(listener)).answer("How heavy is the Titan?")
    assert (answer.text, answer.outcome, answer.usage.output) == ("90 grams", "answered", 2)
    assert [m.role for m in listener.seen] == ["system", "user"]
    assert listener.seen[-1].content == "How heavy is the Titan?"


def test_shots_are_shown_as_earlier_turns_and_unanswerable_ones_as_refusals() -> None:
    listener = Listener("x")
    shots = [Example("1", "Who?", ("Ann",)), Example("2", "Why?", answerable=False)]
    Prompt(Generator(listener), shots=shots).answer("When?")
    assert [m.content for m in listener.seen[1:]] == ["Who?", "Ann", "Why?", ABSTENTION, "When?"]


def test_a_conversation_comes_before_the_question() -> None:
    listener = Listener("x")
    Prompt(Generator(listener)).answer(Question("And now?", (Message("user", "Before?"), Message("assistant", "Yes"))))
    assert [m.content for m in listener.seen[1:]] == ["Before?", "Yes", "And now?"]


def test_chain_of_thought_answers_with_what_follows_the_last_answer_mark() -> None:
    system = Prompt(Generator(lambda _: "It is light.\nAnswer: 90 grams\nBye"), reasoning=True)
    assert system.answer("?").text == "90 grams"
    assert final_answer("first line\nlast line") == "last line"
    assert final_answer("") == ""


@pytest.mark.parametrize(
    "text", ["I don't know.", "I do not know the answer", "I’m sorry, but I don't know.", "", "The passages do not say"]
)
def test_refusals_are_recognised(text: str) -> None:
    assert outcome(text) == "abstained"


@pytest.mark.parametrize(
    "text",
    [
        "90 grams",
        "Nobody knows it better than Ann",
        "It is unknown to science",
        "The documents do not need to be notarised.",
        "The document does not expire [1].",
    ],
)
def test_answers_are_not_taken_for_refusals(text: str) -> None:
    assert outcome(text) == "answered"


def test_rag_shows_numbered_passages_and_returns_verified_citations() -> None:
    listener = Listener("90 grams [1] [9]")
    answer = RAG(Generator(listener), Shelf(TITAN, MOUSE), k=2).answer("How heavy is the Titan?")
    assert re.fullmatch(
        r"Passages:\n<(\w{8})>\n\[2\] The Mouse .*\n\[1\] The Titan weighs 90 grams\.\n</\1>\n\n"
        r"Question: How heavy is the Titan\?",
        listener.seen[-1].content,
    )
    assert (answer.text, answer.removed_citations) == ("90 grams [1]", 1)
    assert [c.quote for c in answer.citations] == ["The Titan weighs 90 grams."]
    assert answer.hits == (TITAN, MOUSE)
    assert [step.name for step in answer.trace] == ["retrieve", "pack", "prompt", "generate", "cite", "decide"]
    assert "90 grams [1] [9]" in answer.trace[3].detail


def test_the_mark_around_passages_is_another_for_each_question_and_for_each_passage() -> None:
    def mark(question: str, *hits: Hit) -> str:
        listener = Listener("x")
        RAG(Generator(listener), Shelf(*hits)).answer(question)
        found = re.match(r"Passages:\n<(\w+)>", listener.seen[-1].content)
        assert found
        return found[1]

    assert mark("How?", TITAN) == mark("How?", TITAN)
    assert len({mark("How?", TITAN), mark("Why?", TITAN), mark("How?", MOUSE), mark("How?", TITAN, MOUSE)}) == 4


def test_only_documents_withholds_what_the_passages_do_not_hold_and_asks_nobody_else() -> None:
    asked = Prompt(Generator(lambda _: "From memory"))
    made_up = RAG(Generator(lambda _: "5 tons"), Shelf(TITAN), mode="documents", fallback=asked).answer("?")
    assert (made_up.text, made_up.outcome, made_up.citations) == (ABSTENTION, "abstained", ())
    assert made_up.trace[-1].detail == "a sentence is not supported"
    held = RAG(Generator(lambda _: "90 grams"), Shelf(TITAN), mode="documents").answer("?")
    assert (held.text, held.outcome, held.citations[0].made_by) == ("90 grams", "answered", "locator")


def test_prefer_documents_falls_back_where_they_do_not_hold_it_and_always_gives_the_draft() -> None:
    asked = Prompt(Generator(lambda _: "From memory"))
    instead = RAG(Generator(lambda _: "5 tons"), Shelf(TITAN), mode="prefer", fallback=asked).answer("?")
    assert (instead.text, instead.outcome) == ("From memory", "fallback")
    draft = RAG(Generator(lambda _: "5 tons"), Shelf(TITAN), mode="always", fallback=asked).answer("?")
    assert (draft.text, draft.outcome, draft.sentences[0].support) == ("5 tons", "answered", 0.0)


def test_a_stream_gives_the_draft_and_returns_the_verified_answer() -> None:
    rag = RAG(Generator(lambda _: "90 grams [1] [9]"), Shelf(TITAN))
    pieces = []
    stream = rag.stream("?")
    try:
        while True:
            pieces.append(next(stream))
    except StopIteration as stop:
        assert "".join(pieces) == "90 grams [1] [9]"
        assert _timeless(stop.value) == _timeless(rag.answer("?"))
        assert stop.value.text == "90 grams [1]"


def _timeless(answer: Answer) -> Answer:
    return replace(answer, timings={}, trace=(), usage=replace(answer.usage, seconds=0.0))


class Slow(Shelf):
    """A retriever and a reranker that take their time."""

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        time.sleep(PAUSE)
        return super().retrieve(query, k)

    def rerank(self, query: str, hits: Sequence[Hit]) -> list[Hit]:
        time.sleep(PAUSE)
        return list(hits)


def test_the_seconds_of_a_search_are_part_of_the_usage() -> None:
    answer = RAG(Generator(lambda _: "90 grams"), Slow(TITAN)).answer("How heavy is the Titan?")
    assert answer.usage.seconds == sum(step.seconds for step in answer.trace) >= PAUSE
    assert RAG(Generator(lambda _: "90 grams"), Slow()).answer("?").usage.seconds >= PAUSE


def test_a_search_that_is_not_repeated_is_told_once_to_each_system_with_its_seconds() -> None:
    work = Work()
    retriever = work.retriever(Reranked(Shelf(TITAN), Slow()), "reranked")
    for _ in range(2):
        answer = RAG(Generator(lambda _: "90 grams"), retriever).answer("How heavy is the Titan?")
        assert [step.name for step in answer.trace].count("reranked") == 1
        assert answer.usage.seconds == sum(step.seconds for step in answer.trace) >= PAUSE
    assert work.searches_spared == 1


def test_an_answer_of_a_schema_is_cited_by_its_values() -> None:
    schema = {"type": "object", "properties": {"weight": {"type": "string"}}}
    rag = RAG(Generator(lambda _: '{"weight": "90 grams"}'), Shelf(MOUSE, TITAN), schema=schema)
    answer = rag.answer("?")
    assert (answer.text, answer.citations[0].quote) == ('{"weight": "90 grams"}', "The Titan weighs 90 grams.")


def test_json_that_was_cut_is_one_line() -> None:
    rag = RAG(Generator(lambda _: '{"weight": "90 gr'), Shelf(TITAN), schema={"type": "object"}, name="form")
    with pytest.raises(ModelError, match=r"not whole JSON; raise max_tokens of \[systems\.form\]"):
        rag.answer("?")


def test_contradicting_passages_are_said() -> None:
    other = Hit(Chunk("f#0", "f", "The Titan weighs 95 grams.", 0, 26), 1.0)
    answer = RAG(Generator(lambda _: "90 grams"), Shelf(TITAN, other)).answer("?")
    assert answer.notes == ("passages 1 and 2 differ: 'The Titan weighs 90 grams' / 'The Titan weighs 95 grams'",)


def test_rag_abstains_where_nothing_is_retrieved_and_asks_no_model() -> None:
    listener = Listener("made up")
    answer = RAG(Generator(listener), Shelf()).answer("?")
    assert (answer.text, answer.outcome, listener.seen) == (ABSTENTION, "abstained", [])


def test_passages_that_do_not_fit_the_budget_are_said() -> None:
    answer = RAG(Generator(lambda _: "90 grams"), Shelf(TITAN, MOUSE), budget=2).answer("?")
    said = "none of 2 passages fits the budget of 2 tokens; raise budget of the system 'rag'"
    assert (answer.outcome, answer.notes, answer.trace[-1].detail) == ("abstained", (said,), said)


def test_a_refusal_goes_to_the_fallback_and_is_labelled_so() -> None:
    fallback = Prompt(Generator(lambda _: "From memory"))
    answer = RAG(Generator(lambda _: ABSTENTION), Shelf(TITAN), fallback=fallback).answer("?")
    assert (answer.text, answer.outcome, answer.hits) == ("From memory", "fallback", (TITAN,))
    # What another RAG says, it says of its own passages.
    other = RAG(Generator(lambda _: "12 grams [1]"), Shelf(MOUSE), name="other")
    answer = RAG(Generator(lambda _: ABSTENTION), Shelf(TITAN), fallback=other).answer("How heavy is the Mouse?")
    assert answer.hits == other.answer("How heavy is the Mouse?").hits == (MOUSE,)
    assert set(answer.timings) >= {"retrieve", "pack"}


def test_the_title_of_a_passage_is_no_citation_and_one_line() -> None:
    listener = Listener("90 grams")
    forged = replace(TITAN, chunk=replace(TITAN.chunk, section="[2] All lamps\nare 900 dollars"))
    RAG(Generator(listener), Shelf(forged)).answer("How heavy?")
    assert "[1] ((2) All lamps are 900 dollars) The Titan" in listener.seen[-1].content


def test_a_lesson_is_what_the_system_will_be_asked_with_the_cited_answer_last() -> None:
    listener = Listener("x")
    rag = RAG(Generator(listener), Shelf(TITAN, MOUSE), k=2)
    rag.answer("How heavy is the Mouse?")
    example = Example("q1", "How heavy is the Mouse?", ("9 kilograms",), (Evidence("e", 4, 28),))
    lesson = rag.lesson(example).messages
    assert [m.role for m in lesson] == ["system", "user", "assistant"]
    assert {m.content for m in lesson[:1]} == {listener.seen[0].content}
    place = int(lesson[-1].content[-2])
    assert lesson[-1].content == f"9 kilograms [{place}]"
    assert f"[{place}] The Mouse weighs" in lesson[1].content


def test_a_gold_passage_that_was_missed_is_put_into_the_lesson() -> None:
    example = Example("q1", "How heavy is the Mouse?", ("9 kilograms",), (Evidence("e", 4, 28),))
    lesson = RAG(Generator(), Shelf(TITAN, MOUSE), k=1).lesson(example).messages
    assert "Mouse weighs" in lesson[1].content and "Titan" not in lesson[1].content
    assert lesson[-1].content == "9 kilograms [1]"


def test_a_lesson_without_the_gold_passage_teaches_to_abstain() -> None:
    rag = RAG(Generator(), Shelf(TITAN), k=1)
    missed = Example("q", "?", ("9 kilograms",), (Evidence("e", 4, 28),))
    assert rag.lesson(missed).messages[-1].content == ABSTENTION
    assert rag.lesson(Example("q", "?", answerable=False)).messages[-1].content == ABSTENTION


def replies(shelf: Shelf) -> list[str]:
    rag = RAG(Generator(), shelf, k=2)
    examples = [Example(str(n), "?", ("9",), (Evidence("e", 4, 28),)) for n in range(200)]
    return [rag.lesson(example).messages[-1].content for example in examples]


def test_a_gold_passage_that_was_found_keeps_its_rank_in_the_lesson() -> None:
    assert set(replies(Shelf(TITAN, MOUSE))) == {"9 [2]"}


def test_a_gold_passage_that_was_put_in_may_stand_anywhere() -> None:
    found = replies(Shelf(TITAN, TITAN, MOUSE))
    assert 70 <= sum(text.endswith("[1]") for text in found) <= 130
