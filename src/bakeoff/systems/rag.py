"""RAG: retrieve, pack, generate, cite - or abstain, or fall back."""

from __future__ import annotations

import random
import time
from dataclasses import replace

from bakeoff.retrieval.context import cite, pack, render
from bakeoff.systems.prompt import ABSTENTION, outcome, target
from bakeoff.systems.templates import template as template_by_name
from bakeoff.types import Answer, Example, Generator, Hit, Message, Question, Retriever, System

LESSON_DEPTH = 50
"""How deep the gold passage of a lesson is looked for."""


class RAG:
    """Answers from `k` retrieved passages; `fallback` is asked instead where this system would abstain.

    `template`: answer, summarise or translate; `instruction` and `max_tokens` take the place of the template's own.
    """

    def __init__(
        self,
        generator: Generator,
        retriever: Retriever,
        *,
        k: int = 3,
        budget: int = 1024,
        template: str = "answer",
        instruction: str = "",
        max_tokens: int = 0,
        fallback: System | None = None,
        name: str = "rag",
    ) -> None:
        self.name = name
        self._generator = generator
        self._retriever = retriever
        self._k = k
        self._budget = budget
        self._template = template_by_name(template)
        self._instruction = instruction or self._template.instruction
        self._max_tokens = max_tokens or self._template.max_tokens
        self._fallback = fallback

    def answer(self, question: Question | str) -> Answer:
        question = Question.of(question)
        start = time.perf_counter()
        hits = self._pack(self._retriever.retrieve(question.text, self._k))
        retrieved = time.perf_counter()
        if not hits and self._template.needs_passages:
            return self._abstain(question, Answer(ABSTENTION, "abstained", timings={"retrieve": retrieved - start}))
        generation = self._generator.generate(self._messages(question, hits), max_tokens=self._max_tokens)
        text, citations, removed = cite(generation.text.strip(), hits)
        answer = Answer(
            text,
            outcome(text),
            citations,
            tuple(hits),
            generation.usage,
            {"retrieve": retrieved - start, "generate": time.perf_counter() - retrieved},
            removed,
        )
        return answer if answer.outcome == "answered" else self._abstain(question, replace(answer, citations=()))

    def lesson(self, example: Example) -> Example:
        """The example as this system meets it - passages included - with the right, cited answer last.

        Passages stand as they were retrieved: how far a rank can be trusted is part of what there is to learn. Where
        the gold passage was missed, it takes the last one's place, at a rank drawn from the example's id. Unanswerable
        examples, and those whose evidence is far from what is retrieved, teach to abstain.
        """
        found = self._retriever.retrieve(example.question, max(self._k, LESSON_DEPTH))
        hits, reply = self._pack(found[: self._k]), target(example)
        if example.answerable and example.evidence:
            gold = next((hit for hit in found if any(e.in_chunk(hit.chunk) for e in example.evidence)), None)
            if gold is None:
                reply = ABSTENTION
            else:
                if gold not in hits:
                    hits = hits[: self._k - 1]
                    hits.insert(random.Random(example.id).randrange(len(hits) + 1), gold)
                reply = f"{reply} [{hits.index(gold) + 1}]"
        turns = self._messages(Question(example.question), hits)
        return replace(example, messages=(*turns, Message("assistant", reply)))

    def _pack(self, hits: list[Hit]) -> list[Hit]:
        return pack(hits, self._budget, self._count)

    def _count(self, passages: str) -> int:
        return self._generator.count([Message("user", passages)])

    def _messages(self, question: Question, hits: list[Hit]) -> tuple[Message, ...]:
        # The question stands nearest to the answer, and the best passage nearest to the question.
        form = self._template
        asked = Message("user", f"{form.passages}:\n{render(hits)}\n\n{form.asked}: {question.text}")
        return (Message("system", self._instruction), *question.history, asked)

    def _abstain(self, question: Question, answer: Answer) -> Answer:
        if self._fallback is None:
            return answer
        instead = self._fallback.answer(question)
        result = "fallback" if instead.outcome == "answered" else instead.outcome
        return replace(instead, outcome=result, hits=answer.hits, usage=answer.usage + instead.usage)
