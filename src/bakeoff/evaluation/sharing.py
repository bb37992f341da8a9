"""Do the same work once for all systems of a comparison: a prompt that two of them put to one model, a search.

What was spared is still told: the answer carries the tokens that its prompt cost, and the seconds that the work took
when it was done come on top of those that passed. Latency and cost are so what each system alone would have taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bakeoff import trace
from bakeoff.trace import recording
from bakeoff.types import Filter, Generation, Generator, Hit, Message, Pieces, Retriever, Schema, Step

T = TypeVar("T")


@dataclass
class Work:
    """What has been done in this comparison, and how long it took."""

    prompts: int = 0
    """Asked for."""
    prompts_spared: int = 0
    searches_spared: int = 0
    seconds_spared: float = 0.0
    _done: dict[Any, tuple[Any, float]] = field(default_factory=dict)
    _generators: dict[int, Shared] = field(default_factory=dict)
    _credit: float = 0.0

    def generator(self, generator: Generator) -> Generator:
        """`generator`, which is asked the same thing once."""
        # One object a generator, so that its key stays; the entry keeps the generator alive, and with it its id.
        return self._generators.setdefault(id(generator), Shared(generator, self))

    def retriever(self, retriever: Retriever, name: object) -> Retriever:
        """`retriever`, which searches for the same thing once; equal names are the same search."""
        return SharedSearch(retriever, self, name)

    def credit(self) -> float:
        """Seconds spared since this was last asked: what an answer would have taken more if it had been alone."""
        spared, self._credit = self._credit, 0.0
        return spared

    def forget(self) -> None:
        """Do everything anew from now on."""
        self._done.clear()

    def once(self, key: object, do: Callable[[], T]) -> tuple[T, bool]:
        """What `do` returned the first time, and whether that was now."""
        if key in self._done:
            found, seconds = self._done[key]
            self._credit += seconds
            self.seconds_spared += seconds
            return found, False
        start = time.perf_counter()
        found = do()
        self._done[key] = found, time.perf_counter() - start
        return found, True


class Shared:
    """A generator whose replies are remembered, prompt by prompt."""

    def __init__(self, generator: Generator, work: Work) -> None:
        self.name = generator.name
        self.window = generator.window
        self._generator = generator
        self._work = work

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)

    def count(self, messages: Sequence[Message]) -> int:
        return self._generator.count(messages)

    def generate(self, messages: Sequence[Message], *, max_tokens: int = 128, schema: Schema = None) -> Generation:
        key = ("prompt", id(self._generator), tuple(messages), max_tokens, repr(schema))
        made, new = self._work.once(
            key, lambda: self._generator.generate(messages, max_tokens=max_tokens, schema=schema)
        )
        self._work.prompts += 1
        self._work.prompts_spared += not new
        return made

    def stream(self, messages: Sequence[Message], *, max_tokens: int = 128) -> Pieces:
        return self._generator.stream(messages, max_tokens=max_tokens)


class SharedSearch:
    """A retriever whose hits are remembered, with the steps that found them."""

    def __init__(self, retriever: Retriever, work: Work, name: object) -> None:
        self._retriever = retriever
        self._work = work
        self._name = name

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        def search() -> tuple[list[Hit], list[Step]]:
            with recording() as steps:
                return self._retriever.retrieve(query, k, filter=filter), steps

        (hits, steps), new = self._work.once(("search", self._name, query, k, repr(filter)), search)
        self._work.searches_spared += not new
        for step in steps:
            trace.note(step.name, step.detail, step.seconds, step.usage)
        return list(hits)
