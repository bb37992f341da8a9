"""What a check finds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
ORDER: tuple[Severity, ...] = ("error", "warning", "note")
"""Errors make a training or a comparison wrong, warnings may be meant, notes are for who takes the data elsewhere."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding."""

    severity: Severity
    where: str
    """Ids of the examples, or the part of the model."""
    what: str
    cure: str
    kind: str = ""
    """Stable name of this kind of fault, as in `leak-near`."""
    drop: tuple[str, ...] = ()
    """Ids of examples without which the fault is gone, where leaving them out is a cure."""


def by_severity(problems: Iterable[Problem]) -> list[Problem]:
    """Errors first; otherwise in the order in which they were found."""
    return sorted(problems, key=lambda problem: ORDER.index(problem.severity))


def listed(names: Sequence[str], most: int = 4) -> str:
    """`a, b, c, d and 3 more`."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
