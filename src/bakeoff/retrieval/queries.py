"""What is searched for need not be what was asked: follow-up questions, reformulations, hypothetical passages."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from bakeoff.retrieval.retrievers import RRF
from bakeoff.trace import note
from bakeoff.types import Filter, Generator, Hit, Message, Question, Retriever

Rewrite = Callable[[Question], tuple[str, ...]]
"""Makes of a question with a history what can be searched for without it, the most promising query first."""

ENOUGH_WORDS = 12
"""Earlier questions are taken in until the query has so many words: "And the burner?" after "And the glass?" says no
more than before. Of 6 such chains the passage was first for 3 with one earlier question, for 6 with 10 to 16 words."""
MOST_CHARACTERS = 400
"""And no more than these of what was asked earlier: a page that was pasted in would not fit the embedder."""

LATEST_TURNS = 6
"""A model is shown so many turns of a conversation: what a question leaves out was said lately."""

STANDALONE = (
    "Rewrite the last question so that it can be understood without the conversation. "
    "Put names in place of words such as it, they or there. Reply with the rewritten question only."
)
_STANDALONE_SHOTS = (
    ("User: Who wrote Emma?\nAssistant: Jane Austen.\nLast question: When was she born?", "When was Jane Austen born?"),
    ("User: How high is Mont Blanc?\nAssistant: 4,806 metres.\nLast question: And Etna?", "How high is Etna?"),
)

MULTI_QUERY = "Write {n} other ways to ask the question, each on a line of its own, with other words."
HYDE = "Write a short passage from an encyclopedia that answers the question."


def with_earlier(question: Question) -> tuple[str, ...]:
    """The question with the ones before it in front, and the question alone in case the subject is new.

    Asks no model. Of 12 conversations that change the subject, the passage was among the first three for 8 with the
    joined query and for 11 with both; of 30 that stay, for 29 either way.
    """
    words: list[str] = []
    for turn in reversed(question.history):
        if turn.role == "user":
            words = turn.content.split() + words
            if len(words) + len(question.text.split()) >= ENOUGH_WORDS:
                break
    if not words:
        return (question.text,)
    query = f"{' '.join(words)[-MOST_CHARACTERS:]} {question.text}"
    note("earlier questions", query)
    return query, question.text


class Standalone:
    """Has a model rewrite a question with a history; the question itself where the reply is of no use."""

    def __init__(self, generator: Generator, *, instruction: str = STANDALONE, max_tokens: int = 48) -> None:
        self._generator = generator
        self._instruction = instruction
        self._max_tokens = max_tokens

    def __call__(self, question: Question) -> tuple[str, ...]:
        if not question.history:
            return (question.text,)
        latest = question.history[-LATEST_TURNS:]
        turns = "\n".join(f"{turn.role.title()}: {turn.content}" for turn in latest if turn.role != "system")
        prompt = ask(self._instruction, f"{turns}\nLast question: {question.text}", _STANDALONE_SHOTS)
        generation = self._generator.generate(prompt, max_tokens=self._max_tokens)
        query = next(iter(replies(generation.text, prompt)), question.text)
        note("standalone", query, generation.usage.seconds, generation.usage)
        return (query,)


class Expanded:
    """Searches for the query and for what a model makes of it, and fuses the lists by reciprocal ranks.

    `multi-query`: up to `n` reformulations. `hyde`: a hypothetical passage that answers (Gao et al., ACL 2023).
    """

    def __init__(
        self,
        retriever: Retriever,
        generator: Generator,
        *,
        how: Literal["multi-query", "hyde"] = "multi-query",
        n: int = 3,
        max_tokens: int = 96,
    ) -> None:
        self._retriever = retriever
        self._generator = generator
        self._how = how
        self._n = n
        self._max_tokens = max_tokens

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        queries = (query, *self._expand(query))
        return RRF(*(_Fixed(self._retriever, words) for words in queries)).retrieve(query, k, filter=filter)

    def _expand(self, query: str) -> tuple[str, ...]:
        instruction = HYDE if self._how == "hyde" else MULTI_QUERY.format(n=self._n)
        prompt = ask(instruction, query)
        generation = self._generator.generate(prompt, max_tokens=self._max_tokens)
        passage = " ".join(generation.text.split())
        found = [passage] * bool(passage) if self._how == "hyde" else replies(generation.text, prompt)[: self._n]
        note(self._how, "\n".join(found), generation.usage.seconds, generation.usage)
        return tuple(found)


def ask(instruction: str, text: str, shots: Sequence[tuple[str, str]] = ()) -> tuple[Message, ...]:
    """A prompt with `shots` as earlier turns."""
    turns = [turn for asked, said in shots for turn in (Message("user", asked), Message("assistant", said))]
    return (Message("system", instruction), *turns, Message("user", text))


def replies(text: str, prompt: Sequence[Message]) -> list[str]:
    """The lines of a model's reply that say something new, without numbers, labels and quotes.

    Small models announce what they will do, number it, repeat themselves and copy the prompt.
    """
    shown = {_LABEL.sub("", line).strip(_QUOTES).casefold() for turn in prompt for line in turn.content.splitlines()}
    found: dict[str, str] = {}
    for line in text.splitlines():
        clean = _LABEL.sub("", line).strip(_QUOTES)
        if re.search(r"\w", clean) and not clean.endswith(":") and clean.casefold() not in shown:
            found.setdefault(clean.casefold(), clean)
    return list(found.values())


def search(retriever: Retriever, queries: Sequence[str], k: int) -> list[Hit]:
    """At most `k` hits; the lists of several queries take turns."""
    lists = [retriever.retrieve(query, k) for query in queries]
    return lists[0] if len(lists) == 1 else take_turns(lists, k)


def take_turns(lists: Sequence[Sequence[Hit]], k: int) -> list[Hit]:
    """At most `k` hits: each list in turn gives its best one that is not there yet."""
    taken: dict[str, Hit] = {}
    waiting = [iter(hits) for hits in lists]
    while waiting and len(taken) < k:
        for hits in list(waiting):
            hit = next((hit for hit in hits if hit.chunk.id not in taken), None)
            if hit is None:
                waiting.remove(hits)
            elif len(taken) < k:
                taken[hit.chunk.id] = replace(hit, score=1 / (len(taken) + 1))
    return list(taken.values())


class _Fixed:
    """Searches for its own words, whatever it is asked."""

    def __init__(self, retriever: Retriever, query: str) -> None:
        self._retriever = retriever
        self._query = query

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        return self._retriever.retrieve(self._query, k, filter=filter)


_QUOTES = " \t\"'`“”„‘’«»*"
_LABEL = re.compile(
    r"^[\s\"'`“”„*]*(?:[-•]\s*|\(?\d{1,2}[.):]\s+)?"
    r"(?:(?:user|assistant|passage|(?:the )?(?:last |rewritten |standalone |search |next |new )*(?:question|query))"
    r"(?: \d+)?\s*:\s*)?",
    re.IGNORECASE,
)
