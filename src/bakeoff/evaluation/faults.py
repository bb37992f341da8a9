"""Systems that fail at one stage on purpose: what the diagnosis is tested with, here and on your own documents.

A scripted reader answers rightly wherever the prompt holds the evidence. Each fault breaks one part of the system for
some of the questions; the others are controls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bakeoff.evaluation.causes import PART
from bakeoff.evaluation.comparison import RIGHT
from bakeoff.evaluation.gold import Gold
from bakeoff.evaluation.metrics import recall
from bakeoff.models.generators.scripted import Generator
from bakeoff.retrieval import Reranked, Without
from bakeoff.retrieval.context import flat
from bakeoff.systems import RAG, Prompt
from bakeoff.systems.prompt import ABSTENTION
from bakeoff.types import Answer, Example, Filter, Hit, Message, Retriever

GUESS = "striped walruses"
"""What a reader says who has no evidence and does not say so; stands in no document."""
MEMORY = "quartz gondola"
"""What a model believes that was never right."""
OUTDATED = "crimson accordion"

Reply = Callable[[str, Sequence[str]], str]
"""(question, passages in the order of their numbers) -> what is said."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What faults are put into."""

    retriever: Retriever
    examples: Sequence[Example]
    golds: Mapping[str, Gold]
    """Example id -> its passages."""
    k: int = 3

    def rag(self, reply: Reply | None = None, retriever: Retriever | None = None, *, budget: int = 1_000_000) -> RAG:
        """The system under test; nothing in it is broken by default."""
        generator = Generator(_Replies(reply or self.read))
        return RAG(generator, retriever or self.plain(), k=self.k, budget=budget, name="rag")

    def closed(self, reply: Reply | None = None) -> Prompt:
        """Its model without passages."""
        return Prompt(Generator(_Replies(reply or self.read)), name="closed")

    def plain(self) -> Retriever:
        return Reranked(self.retriever, _Order({}))

    def read(self, question: str, passages: Sequence[str]) -> str:
        """The reference where the passages hold the evidence, a guess where they do not, a refusal without any."""
        if not passages:
            return ABSTENTION
        example = self.of(question)
        found, texts = self.golds[example.id], [_flat(passage) for passage in passages]
        held = [hit for hit in found.hits if any(_flat(hit.chunk.text) in text for text in texts)]
        quoted = [
            any(_flat(place.quote) in text for place in fact for text in texts if place.quote) for fact in found.facts
        ]
        shown = all(
            there or any(place.in_chunk(hit.chunk) for place in fact for hit in held)
            for fact, there in zip(found.facts, quoted, strict=True)
        )
        return example.references[0] if shown else GUESS

    def gold_of(self, question: str) -> Gold:
        return self.golds[self.of(question).id]

    def of(self, question: str) -> Example:
        return next(example for example in self.examples if example.question == question)


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail, on some of the questions."""

    cause: str
    """What a diagnosis should find."""
    build: Callable[[Bench, frozenset[str]], tuple[RAG, Prompt]]
    """(bench, questions to fail on) -> the system, and its model alone."""
    fits: Callable[[Example, Gold], bool] = lambda example, gold: True
    """The questions on which it can show."""


def _retrieval(
    change: Callable[[Bench, Retriever], Retriever],
) -> Callable[[Bench, frozenset[str]], tuple[RAG, Prompt]]:
    def build(bench: Bench, questions: frozenset[str]) -> tuple[RAG, Prompt]:
        plain = bench.plain()
        return bench.rag(retriever=_Some(plain, change(bench, plain), questions)), bench.closed()

    return build


def _generation(change: Callable[[Bench, str, Sequence[str]], str]) -> Callable[..., tuple[RAG, Prompt]]:
    def build(bench: Bench, questions: frozenset[str]) -> tuple[RAG, Prompt]:
        def reply(question: str, passages: Sequence[str]) -> str:
            return change(bench, question, passages) if question in questions else bench.read(question, passages)

        return bench.rag(reply), bench.closed(reply)

    return build


def _inverted(bench: Bench, questions: frozenset[str]) -> tuple[RAG, Prompt]:
    return bench.rag(retriever=Reranked(bench.retriever, _Order(dict.fromkeys(questions, True)))), bench.closed()


def _shuffled(bench: Bench, questions: frozenset[str]) -> tuple[RAG, Prompt]:
    """The gold passage last, and a reader who reads only the first."""

    def reply(question: str, passages: Sequence[str]) -> str:
        return bench.read(question, passages[:1] if question in questions else passages)

    last = _Moved(bench, bench.plain())
    return bench.rag(reply, _Some(bench.plain(), last, questions)), bench.closed(reply)


def _contradicted(bench: Bench, questions: frozenset[str]) -> tuple[RAG, Prompt]:
    """Another version of the gold passage that gives another answer, and a reader who believes it."""

    def reply(question: str, passages: Sequence[str]) -> str:
        return OUTDATED if any(OUTDATED in passage for passage in passages) else bench.read(question, passages)

    return bench.rag(reply, _Some(bench.plain(), _Contradicted(bench, bench.plain()), questions)), bench.closed(reply)


def _budget_cut(bench: Bench, questions: frozenset[str]) -> tuple[RAG, Prompt]:
    """A passage in front that fills the budget."""
    return bench.rag(retriever=_Some(bench.plain(), _Filled(bench.plain()), questions), budget=1500), bench.closed()


def _one_passage_only(bench: Bench, question: str, passages: Sequence[str]) -> str:
    return GUESS if len(passages) > 1 else bench.read(question, passages)


def _part_only(bench: Bench, question: str, passages: Sequence[str]) -> str:
    whole = bench.read(question, passages)
    example = bench.of(question)
    return _part(example) if len(passages) > len(bench.golds[example.id].hits) and whole != GUESS else whole


def _part(example: Example) -> str:
    """The longest beginning of the answer that is not yet right, but more than nothing."""
    words = example.references[0].split()
    parts = [" ".join(words[:count]) for count in range(len(words), 0, -1)]
    return next((part for part in parts if PART <= (recall.score(example, Answer(part)) or 0.0) < RIGHT), "")


def _has_parts(example: Example, gold: Gold) -> bool:
    return bool(_part(example))


def _one_fact(example: Example, gold: Gold) -> bool:
    """Where there are two, a reader of one passage cannot even read the gold ones."""
    return len(gold.hits) == 1


FAULTS: Mapping[str, Fault] = {
    "gold dropped from the candidates": Fault("retrieval miss", _retrieval(lambda bench, inner: _NoGold(bench, inner))),
    "reranker inverted": Fault("rerank loss", _inverted),
    "budget cut": Fault("packing loss", _budget_cut),
    "refusal forced": Fault("wrong refusal", _generation(lambda bench, question, passages: ABSTENTION)),
    "format broken": Fault(
        "format", _generation(lambda bench, question, passages: f"<think> {bench.read(question, passages)}")
    ),
    "reader wrong": Fault("misread", _generation(lambda bench, question, passages: GUESS if passages else ABSTENTION)),
    "memory wins": Fault("ignored context", _generation(lambda bench, question, passages: MEMORY)),
    "contexts distract": Fault("distracted", _generation(_one_passage_only), _one_fact),
    "contexts shuffled": Fault("position", _shuffled, _one_fact),
    "stale passage added": Fault("conflicting or stale", _contradicted),
    "half of the answer": Fault("incomplete", _generation(_part_only), _has_parts),
}
"""What is done -> the fault. To delete the gold document, or to cut passages too small, needs another corpus."""


# ---------------------------------------------------------------- parts that are broken


class _Replies:
    """Reads question and passages out of the prompt."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def __call__(self, messages: Sequence[Message]) -> str:
        said = messages[-1].content
        if "Question: " not in said:
            return self._reply(said, ())
        passages, _, question = said.rpartition("\n\nQuestion: ")
        numbered = re.findall(r"^\[(\d+)\] (.*?)(?=^\[\d+\] |^</|\Z)", passages, re.DOTALL | re.MULTILINE)
        return self._reply(question, [text for _, text in sorted(numbered, key=lambda one: int(one[0]))])


class _Some:
    """One retriever for some questions, another for the rest."""

    def __init__(self, plain: Retriever, broken: Retriever, questions: frozenset[str]) -> None:
        self._plain = plain
        self._broken = broken
        self._questions = questions

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        chosen = self._broken if query in self._questions else self._plain
        return chosen.retrieve(query, k, filter=filter)


class _NoGold:
    def __init__(self, bench: Bench, inner: Retriever) -> None:
        self._bench = bench
        self._inner = inner

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        documents = {hit.chunk.document_id for hit in self._bench.gold_of(query).hits}
        return Without(self._inner, documents).retrieve(query, k, filter=filter)


class _Moved:
    """The gold passages behind all others that are read."""

    def __init__(self, bench: Bench, inner: Retriever) -> None:
        self._bench = bench
        self._inner = inner

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        gold = self._bench.gold_of(query)
        hits = self._inner.retrieve(query, k, filter=filter)
        return sorted(hits, key=gold.holds)


class _Contradicted:
    def __init__(self, bench: Bench, inner: Retriever) -> None:
        self._bench = bench
        self._inner = inner

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        gold = self._bench.gold_of(query)
        hits = self._inner.retrieve(query, k, filter=filter)
        text = f"{query} {OUTDATED}. {gold.hits[0].chunk.text}"
        stale = replace(gold.hits[0].chunk, id="stale", document_id="old/version", text=text, end=len(text), start=0)
        # Behind the gold passages, so that these stay among the k that are read.
        kept = sorted(hits, key=lambda hit: not gold.holds(hit))[: max(k - 1, 1)]
        return [*kept, Hit(stale, hits[-1].score)] if hits else []


class _Filled:
    def __init__(self, inner: Retriever) -> None:
        self._inner = inner

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        hits = self._inner.retrieve(query, k, filter=filter)
        filler = "word " * 2000
        return [
            Hit(replace(hit.chunk, id=f"filler {place}", text=f"{hit.chunk.text} {filler}"), hit.score)
            for place, hit in enumerate(hits)
        ]


class _Order:
    """A reranker that leaves the order as it is, or inverts it for some questions."""

    def __init__(self, inverted: Mapping[str, bool]) -> None:
        self._inverted = inverted

    def rerank(self, query: str, hits: Sequence[Hit]) -> list[Hit]:
        return list(reversed(hits)) if query in self._inverted else list(hits)


def _flat(text: str) -> str:
    return " ".join(flat(text).split())
