"""Record the steps on the way to an answer: each part says what it did, and nobody has to pass it along."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from bakeoff.types import Hit, Step, Usage

SHOWN = 10
"""Hits in the trace: enough to see why one is there, few enough to keep with every answer."""

_steps: ContextVar[list[Step] | None] = ContextVar("steps", default=None)


@contextmanager
def recording() -> Iterator[list[Step]]:
    """Collect the steps of this thread until the block ends; it must not hold a `yield` of a caller's."""
    steps: list[Step] = []
    token = _steps.set(steps)
    try:
        yield steps
    finally:
        _steps.reset(token)


def note(name: str, detail: str, seconds: float = 0.0, usage: Usage = Usage()) -> None:  # noqa: B008 - frozen
    """Say what was done; free where nobody records."""
    steps = _steps.get()
    if steps is not None:
        steps.append(Step(name, detail, seconds, usage))


def note_hits(name: str, hits: Sequence[Hit], seconds: float) -> list[Hit]:
    """Say what was found, and return it."""
    if _steps.get() is not None:
        note(name, shown(hits), seconds)
    return list(hits)


def shown(hits: Sequence[Hit]) -> str:
    """A line for each of the first hits: rank, score, document and characters."""
    lines = [
        f"{rank}. {hit.score:.4g} {hit.chunk.document_id} {hit.chunk.start}-{hit.chunk.end}"
        for rank, hit in enumerate(hits[:SHOWN], start=1)
    ]
    return "\n".join([*lines, *([f"and {len(hits) - SHOWN} more"] if len(hits) > SHOWN else [])])
