"""RAG: retrieve, pack, generate, verify what is cited, and decide: answer, fall back, or abstain."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from collections.abc import Generator as Stream
from copy import copy
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

from bakeoff.errors import ModelError
from bakeoff.retrieval.citing import SUPPORTED, Cited, cite, cite_json
from bakeoff.retrieval.conflicts import notes
from bakeoff.retrieval.context import pack, quoted, render
from bakeoff.retrieval.queries import Rewrite, search, with_earlier
from bakeoff.systems.decider import Decider, features
from bakeoff.systems.prompt import ABSTENTION, outcome, target
from bakeoff.systems.templates import template as template_by_name
from bakeoff.trace import recording, shown
from bakeoff.types import (
    Answer,
    Example,
    Generation,
    Generator,
    Hit,
    Message,
    Question,
    Retriever,
    Schema,
    Step,
    System,
    Usage,
)

Mode = Literal["always", "documents", "prefer"]

LESSON_DEPTH = 50
"""How deep the gold passage of a lesson is looked for."""


class RAG:
    """Answers from `k` retrieved passages.

    `template`: answer, summarise or translate; `instruction` and `max_tokens` take the place of the template's own.
    `mode`: `documents` withholds what the passages do not support, `prefer` then asks `fallback` and says so, `always`
    gives the draft as it is; whether a draft is supported is judged by `decider`, or without one by its words. Where
    the model itself declines, `fallback` is asked if there is one. `marked`: passages stand between marks that a
    document cannot foresee. `schema`: the answer is JSON of this form. `rewrite` makes of a question with a history
    what is searched for; the model reads the conversation as it was.
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
        mode: Mode = "always",
        marked: bool = True,
        fallback: System | None = None,
        decider: Decider | None = None,
        schema: Schema = None,
        rewrite: Rewrite = with_earlier,
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
        self._mode = mode
        self._marked = marked
        self._fallback = fallback
        self._decider = decider
        self._schema = schema
        self._rewrite = rewrite
        self._count = lru_cache(4096)(lambda text: generator.count([Message("user", text)]))

    def answer(self, question: Question | str) -> Answer:
        steps = self._steps(Question.of(question), live=False)
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                answer: Answer = stop.value
                return answer

    def stream(self, question: Question | str) -> Stream[str, None, Answer]:
        """The draft as it is written; returns the answer, whose text may be another: verified, or withheld."""
        return self._steps(Question.of(question), live=True)

    def draft(self, question: Question | str) -> tuple[Answer, dict[str, float]]:
        """The answer before anything was decided, and what a decider would know of it."""
        question = Question.of(question)
        hits, trace = self._found(question)
        generation = self._generate(question, hits)
        draft = self._drafted(question, hits, generation, trace)
        return draft, features(question.text, draft, generation)

    def over(self, wrap: Callable[[Retriever], Retriever], *, name: str = "", unlimited: bool = False) -> RAG:
        """This system with another view of its passages, as in `rag.over(partial(Without, documents=["a"]))`.

        `unlimited`: whatever is found stands in the prompt, whatever the budget.
        """
        twin = copy(self)
        twin.name = name or self.name
        twin._budget = sys.maxsize if unlimited else self._budget
        twin._retriever = wrap(self._retriever)
        return twin

    def retrieve(self, question: Question | str, k: int = 0) -> list[Hit]:
        """What would be packed into the prompt, best first: `k` passages, by default as many as the system takes."""
        question = Question.of(question)
        queries = self._rewrite(question) if question.history else (question.text,)
        return search(self._retriever, queries, k or self._k)

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

    # ------------------------------------------------------------ steps

    def _steps(self, question: Question, *, live: bool) -> Stream[str, None, Answer]:
        hits, trace = self._found(question)
        if not hits and self._template.needs_passages:
            told = tuple(filter(None, [trace[-1].detail]))  # what was found, if anything was, fitted into no prompt
            nothing = Answer(ABSTENTION, "abstained", usage=_spent(trace), timings=_timings(trace), notes=told)
            return (yield from self._instead(question, replace(nothing, trace=tuple(trace)), live))
        if live and not self._schema:
            generation = yield from self._generator.stream(self._messages(question, hits), max_tokens=self._max_tokens)
        else:
            generation = self._generate(question, hits)
        draft = self._drafted(question, hits, generation, trace)
        if draft.outcome != "answered":
            return (yield from self._instead(question, replace(draft, citations=(), sentences=()), live))
        stands, judged = self._decided(question, draft, generation)
        if stands or self._mode == "always":
            return judged
        withheld = replace(judged, text=ABSTENTION, outcome="abstained", citations=(), sentences=())
        return (yield from self._instead(question, withheld, live))

    def _found(self, question: Question) -> tuple[list[Hit], list[Step]]:
        start = time.perf_counter()
        with recording() as trace:
            hits = self.retrieve(question)
        if not any(step.seconds for step in trace):  # a retriever of the user's own, which notes nothing
            trace.append(Step("retrieve", shown(hits), time.perf_counter() - start))
        start = time.perf_counter()
        packed = self._pack(hits)
        detail = shown(packed)
        if hits and not packed:
            small = f"none of {len(hits)} passages fits the budget of {self._budget} tokens"
            detail = f"{small}; raise budget of the system {self.name!r}"
        return packed, [*trace, Step("pack", detail, time.perf_counter() - start)]

    def _generate(self, question: Question, hits: list[Hit]) -> Generation:
        messages = self._messages(question, hits)
        return self._generator.generate(messages, max_tokens=self._max_tokens, schema=self._schema)

    def _drafted(self, question: Question, hits: list[Hit], generation: Generation, trace: list[Step]) -> Answer:
        said = generation.text.strip()
        cited = self._cited(said, hits, question.text)
        prompt = "\n\n".join(f"{turn.role}: {turn.content}" for turn in self._messages(question, hits))
        steps = [
            *trace,
            Step("prompt", prompt),
            Step("generate", said, generation.usage.seconds, generation.usage),
            Step("cite", "\n".join(f"[{c.number}] {c.made_by}: {c.quote}" for c in cited.citations)),
        ]
        return Answer(
            cited.text,
            outcome(cited.text),
            cited.citations,
            tuple(hits),
            _spent(steps),
            _timings(steps),
            cited.removed,
            cited.sentences,
            notes=notes(hits),
            trace=tuple(steps),
        )

    def _decided(self, question: Question, draft: Answer, generation: Generation) -> tuple[bool, Answer]:
        """Whether the draft stands, and the draft with what is thought of it."""
        if self._decider is None:
            stands = all(sentence.support >= SUPPORTED for sentence in draft.sentences)
            reason = "every sentence is supported" if stands else "a sentence is not supported"
            return stands, replace(draft, trace=(*draft.trace, Step("decide", reason)))
        stands, confidence = self._decider.judge(features(question.text, draft, generation))
        step = Step("decide", f"{'answer' if stands else 'refuse'}; right with probability {confidence:.2f}")
        return stands, replace(draft, confidence=confidence, trace=(*draft.trace, step))

    def _instead(self, question: Question, answer: Answer, live: bool) -> Stream[str, None, Answer]:
        if self._fallback is None or self._mode == "documents":
            return answer
        instead = self._fallback.answer(question)
        if live:
            yield instead.text
        return replace(
            instead,
            outcome="fallback" if instead.outcome == "answered" else instead.outcome,
            hits=instead.hits or answer.hits,
            timings={**answer.timings, **instead.timings}
            | {step: answer.timings[step] + instead.timings[step] for step in answer.timings.keys() & instead.timings},
            usage=answer.usage + instead.usage,
            trace=(*answer.trace, Step("fall back", f"{self._fallback.name}: {instead.text}"), *instead.trace),
        )

    # ------------------------------------------------------------ inside

    def _pack(self, hits: list[Hit]) -> list[Hit]:
        return pack(hits, self._budget, self._count)

    def _messages(self, question: Question, hits: list[Hit]) -> tuple[Message, ...]:
        # The question stands nearest to the answer, and the best passage nearest to the question.
        form, passages = self._template, render(hits)
        passages = quoted(passages, question.text) if self._marked else passages
        asked = Message("user", f"{form.passages}:\n{passages}\n\n{form.asked}: {question.text}")
        return (Message("system", self._instruction), *question.history, asked)

    def _cited(self, said: str, hits: list[Hit], question: str) -> Cited:
        if not self._schema:
            return cite(said, hits, question)
        try:
            return cite_json(said, hits)
        except json.JSONDecodeError as error:
            raise ModelError(
                f"the answer is not whole JSON; raise max_tokens of [systems.{self.name}] if it was cut, else take a "
                "model that keeps to a schema"
            ) from error


def _spent(steps: list[Step]) -> Usage:
    """What all steps took together, the search for passages too.

    Added up from the steps rather than by the clock: a search that another system did before is told with its seconds.
    """
    tokens = sum((step.usage for step in steps), Usage())
    return replace(tokens, seconds=sum(step.seconds for step in steps))


def _timings(steps: list[Step]) -> dict[str, float]:
    """Step -> seconds, of those that took any."""
    found: dict[str, Any] = {}
    for step in steps:
        if step.seconds:
            found[step.name] = found.get(step.name, 0.0) + step.seconds
    return found
