"""The query side of retrieval: follow-up questions, expansion, hops, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bakeoff.models.generators.scripted import Generator
from bakeoff.project import Project
from bakeoff.retrieval import ByModel, Expanded, Hybrid, Iterative, Standalone, by_names, with_earlier
from bakeoff.retrieval.queries import ENOUGH_WORDS, MOST_CHARACTERS, ask, replies, take_turns
from bakeoff.systems import RAG
from bakeoff.trace import recording
from bakeoff.types import Chunk, Filter, Hit, Message, Question, Usage


def hit(id: str, text: str = "") -> Hit:
    text = text or id
    return Hit(Chunk(id, id, text, 0, len(text)), 1.0)


class Library:
    """A retriever that finds what it was given for the first key in the query, and remembers what it was asked."""

    def __init__(self, **shelves: Sequence[Hit]) -> None:
        self.shelves = shelves
        self.asked: list[tuple[str, int, Filter | None]] = []

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        self.asked.append((query, k, filter))
        return list(next((hits for key, hits in self.shelves.items() if key in query), []))[:k]

    @property
    def queries(self) -> list[str]:
        return [query for query, _, _ in self.asked]


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.chunk.id for hit in hits]


def conversation(last: str, *turns: str) -> Question:
    roles = ("user", "assistant")
    return Question(last, tuple(Message(roles[number % 2], turn) for number, turn in enumerate(turns)))  # type: ignore[arg-type]


# ---------------------------------------------------------------- follow-up questions


def test_a_follow_up_is_searched_for_with_the_question_before_it() -> None:
    question = conversation("How much does it weigh?", "Which is the smallest lamp you make, please?", "The Titan.")
    assert with_earlier(question) == (
        "Which is the smallest lamp you make, please? How much does it weigh?",
        "How much does it weigh?",
    )


def test_earlier_questions_are_taken_in_until_there_are_words_enough() -> None:
    enough = "word " * ENOUGH_WORDS
    short = conversation("And the burner?", "How long is the warranty?", "31 months.", "And the glass?", "12 years.")
    assert with_earlier(short)[0] == "How long is the warranty? And the glass? And the burner?"
    assert with_earlier(conversation("Why?", "never", "x", enough, "y"))[0] == f"{enough}Why?"
    assert with_earlier(conversation(enough, "never", "x", "before?", "y"))[0] == f"before? {enough}"


def test_a_page_pasted_into_an_earlier_question_is_cut_from_its_end() -> None:
    page = " ".join(str(number) for number in range(500))
    query, _ = with_earlier(conversation("Why?", page, "x"))
    assert len(query) == MOST_CHARACTERS + len(" Why?") and query.endswith("498 499 Why?")


def test_a_question_without_earlier_ones_stays_and_notes_nothing() -> None:
    with recording() as steps:
        assert with_earlier(Question("Why?", (Message("system", "Be brief."),))) == ("Why?",)
        assert Standalone(Generator())(Question("Why?")) == ("Why?",)
    assert steps == []


def test_a_model_rewrites_a_follow_up_from_the_conversation() -> None:
    seen: list[Message] = []

    def reply(messages: Sequence[Message]) -> str:
        seen.extend(messages)
        return 'Rewritten question: "How much does the Titan weigh?"\nI hope this helps!'

    question = conversation("How much does it weigh?", "Which is the smallest lamp?", "The Titan.")
    with recording() as steps:
        assert Standalone(Generator(reply))(question) == ("How much does the Titan weigh?",)
    assert seen[-1].content == (
        "User: Which is the smallest lamp?\nAssistant: The Titan.\nLast question: How much does it weigh?"
    )
    assert [(step.name, step.detail, step.usage.output > 0) for step in steps] == [
        ("standalone", "How much does the Titan weigh?", True)
    ]


@pytest.mark.parametrize(
    "reply", ["", "\n \n", "Sure, here it is:", "Last question: And Express?", "Assistant: 9 crowns."]
)
def test_a_useless_rewriting_leaves_the_question_as_it_is(reply: str) -> None:
    question = conversation("And Express?", "How much is Standard?", "9 crowns.")
    assert Standalone(Generator(lambda _: reply))(question) == ("And Express?",)


def test_a_new_subject_is_found_beside_the_old_one() -> None:
    library = Library(Titan=[hit("t1"), hit("t2"), hit("t3")], probation=[hit("p")])
    found = RAG(Generator(), library).answer(conversation("How long is probation?", "What is the Titan?", "A lamp."))
    assert ids(found.hits) == ["t1", "p", "t2"]


# ---------------------------------------------------------------- what models reply


def test_replies_lose_numbers_labels_quotes_repeats_announcements_and_echoes() -> None:
    text = """Here are three questions:

    1. "How heavy is the Titan?"
    2) How heavy is the titan?
    - Question 3: What does the Titan weigh?
    **4.2 kilograms or less?**
    How much does it weigh?
    ..."""
    prompt = ask("Reword it.", "How much does it weigh?")
    assert replies(text, prompt) == ["How heavy is the Titan?", "What does the Titan weigh?", "4.2 kilograms or less?"]


# ---------------------------------------------------------------- expansion


def test_multi_query_fuses_the_lists_of_the_question_and_its_reformulations() -> None:
    library = Library(weigh=[hit("a"), hit("b")], heavy=[hit("b"), hit("c")], grams=[hit("b")])
    model = Generator({"weigh": "1. How heavy?\n2. How many grams?\n3. One\n4. Too many"})
    with recording() as steps:
        found = Expanded(library, model).retrieve("What does it weigh?", 2, filter={"groups": ["hr"]})
    assert ids(found) == ["b", "a"]
    assert library.queries == ["What does it weigh?", "How heavy?", "How many grams?", "One"]
    assert {str(filter) for _, _, filter in library.asked} == {"{'groups': ['hr']}"}
    assert (steps[0].name, steps[0].detail) == ("multi-query", "How heavy?\nHow many grams?\nOne")


def test_hyde_searches_for_the_whole_hypothetical_passage_too() -> None:
    library = Library(weigh=[hit("a")], Titan=[hit("c"), hit("a")])
    model = Generator(lambda _: "The Titan is light.\n\nIt has 90 grams.")
    assert ids(Expanded(library, model, how="hyde").retrieve("What does it weigh?", 3)) == ["a", "c"]
    assert library.queries == ["What does it weigh?", "The Titan is light. It has 90 grams."]


@pytest.mark.parametrize("how", ["multi-query", "hyde"])
def test_an_empty_reply_leaves_the_search_as_it_was(how: str) -> None:
    library = Library(weigh=[hit("a"), hit("b")])
    expanded = Expanded(library, Generator(lambda _: " \n"), how=how)  # type: ignore[arg-type]
    assert ids(expanded.retrieve("What does it weigh?", 2)) == ["a", "b"]
    assert library.queries == ["What does it weigh?"]


# ---------------------------------------------------------------- hops

STAPP = hit("Stapp", "Jaclyn Stapp is a model married to Scott Stapp of the band Creed since 2006.")
QUESTION = "Jaclyn Stapp is married to the singer of a band that disbanded when?"


def test_the_second_query_is_what_the_first_passage_lacks_and_names() -> None:
    assert by_names(QUESTION, [STAPP]) == "singer that disbanded when Scott Creed 2006"


def test_a_script_without_capitals_leaves_the_missing_words() -> None:
    assert by_names("塔 有 多高", [hit("t", "塔 在 巴黎 1889")]) == "有 多高 1889"


def test_a_second_hop_reads_the_best_passage_and_the_lists_take_turns() -> None:
    library = Library(Jaclyn=[STAPP, hit("x"), hit("y")], Creed=[STAPP, hit("creed"), hit("z")])
    with recording() as steps:
        found = Iterative(library).retrieve(QUESTION, 4, filter={"groups": ["hr"]})
    assert ids(found) == ["Stapp", "creed", "x", "z"]
    assert [round(hit.score, 2) for hit in found] == [1, 0.5, 0.33, 0.25]
    assert [filter for _, _, filter in library.asked] == [{"groups": ["hr"]}] * 2
    assert [(step.name, step.usage) for step in steps] == [("hop 2", Usage()), ("hops", Usage())]


def test_a_third_hop_reads_the_best_passage_of_the_second_that_is_new() -> None:
    read: list[list[str]] = []

    def follow(question: str, passages: Sequence[Hit]) -> str:
        read.append(ids(passages))
        return f"hop{len(passages) + 1}"

    library = Library(start=[hit("a")], hop2=[hit("a"), hit("b")], hop3=[hit("c")])
    assert ids(Iterative(library, follow, hops=3).retrieve("start", 5)) == ["a", "b", "c"]
    assert read == [["a"], ["a", "b"]]


def test_hops_end_where_nothing_is_found_or_nothing_is_missing() -> None:
    assert Iterative(Library()).retrieve("start", 3) == []
    library = Library(start=[hit("a")])
    assert ids(Iterative(library, ByModel(Generator(lambda _: "ENOUGH.")), hops=3).retrieve("start", 3)) == ["a"]
    assert library.queries == ["start"]


def test_a_model_writes_the_next_query_from_the_passages() -> None:
    model = Generator({f"Passage: {STAPP.chunk.text}\n\nQuestion: {QUESTION}": 'Search query: "Creed disbanded"\nBye'})
    with recording() as steps:
        assert ByModel(model)(QUESTION, [STAPP]) == "Creed disbanded"
    assert steps[0].usage.fresh > 0


def test_lists_take_turns_and_shorter_ones_drop_out() -> None:
    a, b, c, d = (hit(id) for id in "abcd")
    assert ids(take_turns([[a], [a, b, c, d]], 3)) == ["a", "b", "c"]
    assert take_turns([[], []], 3) == []


# ---------------------------------------------------------------- what it costs


def test_nested_parts_add_their_tokens_to_the_answer() -> None:
    prompts: list[Sequence[Message]] = []

    def reply(messages: Sequence[Message]) -> str:
        prompts.append(messages)
        return "90 grams" if "[1]" in messages[-1].content else "How heavy is it?"

    model = Generator(reply)
    library = Library(weigh=[hit("t", "The Titan weighs 90 grams.")])
    search = Hybrid(Iterative(Expanded(library, model)), library)
    answer = RAG(model, search).answer("What does it weigh?")
    assert [step.name for step in answer.trace].count("multi-query") == 2
    assert len(prompts) == 3  # one for each hop, and the answer
    assert replace(answer.usage, seconds=0.0) == Usage(fresh=sum(map(model.count, prompts)), output=4 + 4 + 2)


def test_an_abstention_without_passages_still_counts_what_the_search_took() -> None:
    answer = RAG(Generator(), Expanded(Library(), Generator(lambda _: "Other words?"))).answer("Why?")
    assert (answer.outcome, answer.usage.output) == ("abstained", 2)


def test_rag_searches_for_the_rewritten_question_and_shows_the_one_that_was_asked() -> None:
    seen: list[str] = []

    def reply(messages: Sequence[Message]) -> str:
        seen.append(messages[-1].content)
        return "90 grams"

    library = Library(Titan=[hit("t", "The Titan weighs 90 grams.")])
    question = conversation("How heavy is it?", "What is the Titan?", "A lamp.")
    assert RAG(Generator(reply), library).answer(question).text == "90 grams"
    assert seen[-1].endswith("Question: How heavy is it?")
    rewrite = Standalone(Generator(lambda _: "How heavy is the Titan?"))
    answer = RAG(Generator(reply), library, rewrite=rewrite).answer(question)
    assert library.queries == ["What is the Titan? How heavy is it?", "How heavy is it?", "How heavy is the Titan?"]
    assert answer.usage.output == 2 + 5


# ---------------------------------------------------------------- bakeoff.toml


def made_by(project: Path, options: str) -> list[str]:
    """The names of the steps that a system of the project takes for a follow-up question."""
    toml = (project / "bakeoff.toml").read_text()
    (project / "bakeoff.toml").write_text(f"{toml}{options}\n")
    answer = Project(project).system("rag").answer(conversation("How heavy is it?", "What is the Titan?", "A lamp."))
    (project / "bakeoff.toml").write_text(toml)
    return [step.name for step in answer.trace]


def test_each_part_is_turned_on_in_the_project_file(project: Path) -> None:
    Project(project).ingest()
    asked = {"earlier questions", "standalone", "multi-query", "hyde", "hop 2", "hop 3"}
    assert asked & set(made_by(project, "")) == {"earlier questions"}
    assert asked & set(made_by(project, "rewrite = 'none'")) == set()
    everything = made_by(project, "rewrite = 'model'\nexpand = 'hyde'\nhops = 2")
    assert asked & set(everything) == {"standalone", "hyde", "hop 2"}
    assert everything.count("hyde") == 1 and everything.count("hop 2") == 2
    assert "hop 3" in made_by(project, "hops = 3")
