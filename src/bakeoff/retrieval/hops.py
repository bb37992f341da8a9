"""Multi-hop: what the first passage says decides what is searched for next."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from bakeoff.retrieval.queries import ask, replies, take_turns
from bakeoff.trace import note, note_hits
from bakeoff.types import Filter, Generator, Hit, Retriever

Follow = Callable[[str, Sequence[Hit]], str]
"""Question and the passages read so far, the last one latest -> the next query, or "" to stop."""

NEXT_QUERY = (
    "The passages do not hold the whole answer to the question. Write one search query for the fact that is missing. "
    "Use the names in the passages. Reply with the query only; if nothing is missing, reply: ENOUGH"
)

NAMES = 32
"""So many names of a passage at most: a list of people as one query would not fit the embedder."""


class Iterative:
    """Retrieves, reads the best passage, retrieves again with what it says, `hops` times in all.

    The lists take turns: first of the first hop, first of the second, second of the first, and so on. Scores are
    1 / rank. Fusion by reciprocal ranks would drop what one hop alone finds, which is what hops are for.
    """

    def __init__(self, retriever: Retriever, follow: Follow | None = None, *, hops: int = 2) -> None:
        self._retriever = retriever
        self._follow = follow or by_names
        self._hops = hops

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        found = [self._retriever.retrieve(query, k, filter=filter)]
        read: list[Hit] = []
        while len(found) < self._hops:
            best = next((hit for hit in found[-1] if all(hit.chunk.id != other.chunk.id for other in read)), None)
            if best is None:
                break
            read.append(best)
            following = self._follow(query, read)
            if not following:
                break
            found.append(self._retriever.retrieve(following, k, filter=filter))
        return note_hits("hops", take_turns(found, k), 0.0)


def by_names(question: str, read: Sequence[Hit]) -> str:
    """Words of the question that no passage holds, then names and numbers of the latest passage; asks no model.

    A name is a word with a capital; in scripts without them only the missing words are left.
    Of 50 HotpotQA questions both paragraphs stood among the first three for 38 this way, for 25 with the question and
    the passage's whole text as the query, and for 23 with one hop (docs/log.md).
    """
    held = {word.lower() for hit in read for word in _words(hit.chunk.text)}
    asked = {word.lower() for word in _words(question)}
    missing = [word for word in _words(question) if word.lower() not in held]
    names = [word for word in _words(read[-1].chunk.text) if _is_name(word) and word.lower() not in asked]
    query = " ".join([*missing, *list(dict.fromkeys(names))[:NAMES]])
    note(f"hop {len(read) + 1}", query)
    return query


class ByModel:
    """Has a model read the passages and write the next query; "" where it says that nothing is missing."""

    def __init__(self, generator: Generator, *, instruction: str = NEXT_QUERY, max_tokens: int = 32) -> None:
        self._generator = generator
        self._instruction = instruction
        self._max_tokens = max_tokens

    def __call__(self, question: str, read: Sequence[Hit]) -> str:
        passages = "\n".join(f"Passage: {' '.join(hit.chunk.text.split())}" for hit in read)
        prompt = ask(self._instruction, f"{passages}\n\nQuestion: {question}")
        generation = self._generator.generate(prompt, max_tokens=self._max_tokens)
        query = next(iter(replies(generation.text, prompt)), "")
        query = "" if query.strip(".!").upper() == "ENOUGH" else query
        note(f"hop {len(read) + 1}", query, generation.usage.seconds, generation.usage)
        return query


def _is_name(word: str) -> bool:
    return word[0].isupper() or word[0].isdigit()


def _words(text: str) -> list[str]:
    return re.findall(r"[\w'’-]+", text)
