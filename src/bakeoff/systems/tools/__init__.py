"""What an agent may use: a fixed set of tools that only read. The file name is the tool's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bakeoff.errors import DataError
from bakeoff.types import Hit

NAMES = ("calculate", "look_up", "search", "sql")


class Refused(DataError):
    """A tool cannot or will not do what it was asked; the reason is what the model is shown."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a tool brought: text, or passages that an answer may cite."""

    text: str = ""
    hits: tuple[Hit, ...] = ()


@dataclass(frozen=True, slots=True)
class Shot:
    """A question that a tool answers in one action, to be shown as earlier turns: small models copy what they see."""

    question: str
    thought: str
    input: str
    found: str
    answer: str


@dataclass(frozen=True, slots=True)
class Tool:
    """One thing that an agent may do."""

    name: str
    about: str
    """A call as it is written and what comes of it, as in `search[words] finds passages`."""
    use: Callable[[str], Found]
    """Raises `Refused`."""
    shot: Shot | None = None
