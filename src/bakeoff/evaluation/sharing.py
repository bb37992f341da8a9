"""Do the same work once for all systems of a comparison: a prompt that two of them put to one model, a search.

What was spared is still told: the answer carries the tokens that its prompt cost, and the seconds that the work took
when it was done come on top of those that passed. Latency and cost are so what each system alone would have taken.

Many questions at a time go to as many engines, or to the endpoint at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bakeoff import trace
from bakeoff.trace import recording
from bakeoff.types import Filter, Generation, Generator, Hit, Message, Pieces, Retriever, Schema, Step

T = TypeVar("T")


@dataclass
class Work:
    """What has been done in this comparison, and how long it took."""

    wanted: int = 0
    """Questions at a time; 0: as many as the models take."""
    prompts: int = 0
    """Asked for."""
    prompts_spared: int = 0
    searches_spared: int = 0
    crowded: bool = False
    """Whether several threads ask."""
    seconds_spared: float = 0.0
    _done: dict[Any, tuple[Any, float]] = field(default_factory=dict)
    _generators: dict[int, Shared] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held to change one of the numbers."""
    _mine: threading.local = field(default_factory=threading.local)

    @property
    def parallel(self) -> int:
        """Questions that may be asked at a time."""
        return max((shared.limit for shared in self._generators.values()), default=1)

    @contextmanager
    def crowd(self) -> Iterator[None]:
        """Until the block ends, several threads ask."""
        self.crowded = True
        try:
            yield
        finally:
            self.crowded = False

    def generator(self, generator: Generator) -> Generator:
        """`generator`, which is asked the same thing once."""
        # One object a generator, so that its key stays; the entry keeps the generator alive, and with it its id.
        return self._generators.setdefault(id(generator), Shared(generator, self))

    def retriever(self, retriever: Retriever, name: object) -> Retriever:
        """`retriever`, which searches for the same thing once; equal names are the same search."""
        return SharedSearch(retriever, self, name)

    def credit(self) -> float:
        """Seconds spared in this thread since it last asked: what an answer would have taken more had it been alone."""
        spared: float = getattr(self._mine, "credit", 0.0)
        self._mine.credit = 0.0
        return spared

    def forget(self) -> None:
        """Do everything anew from now on."""
        self._done.clear()

    def once(self, key: object, do: Callable[[], T]) -> tuple[T, bool]:
        """What `do` returned the first time, and whether that was now."""
        if key in self._done:
            found, seconds = self._done[key]
            self._mine.credit = getattr(self._mine, "credit", 0.0) + seconds
            with self.lock:
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
        parallel = getattr(generator, "parallel", 1)
        self.limit = (work.wanted or parallel) if parallel > 1 else 1
        self._turns = threading.BoundedSemaphore(self.limit)
        self._alongside = getattr(generator, "alongside", lambda: generator)()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)

    def count(self, messages: Sequence[Message]) -> int:
        return self._generator.count(messages)

    def generate(self, messages: Sequence[Message], *, max_tokens: int = 128, schema: Schema = None) -> Generation:
        key = ("prompt", id(self._generator), tuple(messages), max_tokens, repr(schema))
        asked = self._alongside if self._work.crowded else self._generator
        with self._turns:
            made, new = self._work.once(key, lambda: asked.generate(messages, max_tokens=max_tokens, schema=schema))
        with self._work.lock:
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
        with self._work.lock:
            self._work.searches_spared += not new
        for step in steps:
            trace.note(step.name, step.detail, step.seconds, step.usage)
        return list(hits)
