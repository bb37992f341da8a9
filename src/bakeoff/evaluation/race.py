"""Stop asking systems that are surely out: the questions come in rounds, in random order, and clusters stay together.

A system goes out when the evidence that another beats it by more than delta, averaged over the others, reaches 1 in
0.05. That average is a test martingale where the system is within delta of the best, so the chance that such a system
is ever put out is 5%, however often one looks (Ville's inequality). Where questions are clustered, "better" is meant of
the means of clusters.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bakeoff.evaluation import stats
from bakeoff.evaluation.stats import Floats
from bakeoff.files import write_json
from bakeoff.types import Example

FILE = "race.json"
FIRST = 20
"""Questions before the first look."""
GROWTH = 1.2
"""Each look is at so many times the questions of the one before: about twelve looks at 150 questions."""
LOW = "stopped while they looked worse, their means are too low on average, which their intervals allow for"
"""By 2 to 6 points of systems that are 20 to 40 points worse, at 150 questions; of one that is good enough and went out
by chance by 10 and more."""


@dataclass(frozen=True, slots=True)
class Race:
    """How a race went."""

    out: Mapping[str, int]
    """System -> after how many questions it went out."""
    delta: float
    questions: int
    systems: int

    @property
    def saved(self) -> int:
        """Answers that did not have to be asked for."""
        return sum(self.questions - asked for asked in self.out.values())

    def __str__(self) -> str:
        total = self.questions * self.systems
        if not self.out:
            return f"raced: none of {self.systems} systems went out early"
        gone = ", ".join(f"{name} after {asked}" for name, asked in self.out.items())
        return (
            f"raced: out early were {gone} of {self.questions} questions, each shown to be more than "
            f"{100 * self.delta:g} points below another (5%); {self.saved:,} of {total:,} answers saved "
            f"({100 * self.saved / total:.0f}%); {LOW}"
        )


def order(examples: Sequence[Example], seed: int) -> list[Example]:
    """The examples in random order, each cluster together."""
    groups: dict[str, list[Example]] = defaultdict(list)
    for example in sorted(examples, key=lambda example: example.id):
        groups[example.group or f" {example.id}"].append(example)
    names = list(groups)
    random.Random(seed).shuffle(names)
    return [example for name in names for example in groups[name]]


def looks(examples: Sequence[Example]) -> list[int]:
    """After how many of the ordered examples to look: never in the middle of a cluster, and at the end."""
    ends = [
        place
        for place in range(1, len(examples))
        if not examples[place].group or examples[place].group != examples[place - 1].group
    ]
    found, wanted = [], float(FIRST)
    for end in ends:
        if end >= wanted:
            found.append(end)
            wanted = end * GROWTH
    return [*found, len(examples)]


def losers(scores: Mapping[str, Floats], groups: Sequence[str], running: Sequence[str], delta: float) -> list[str]:
    """Which of `running` are surely out; `scores`: system -> score of each question, NaN where it was not asked.

    Systems that went out before still speak by the questions that they were asked.
    """
    out = []
    for name in running:
        evidence = []
        for other in scores:
            if other != name:
                both = ~np.isnan(scores[name]) & ~np.isnan(scores[other])
                gaps = (scores[other] - scores[name])[both]
                clusters = [group for group, there in zip(groups, both, strict=True) if there]
                evidence.append(stats.e_value(gaps, clusters, delta))
        if evidence and np.mean(evidence) >= 1 / stats.LEVEL:
            out.append(name)
    return out


def save(race: Race, out: Path) -> None:
    write_json(
        out / FILE,
        {"out": dict(race.out), "delta": race.delta, "questions": race.questions, "systems": race.systems},
    )


def load(out: Path) -> Race | None:
    """None where nothing was raced."""
    path = out / FILE
    return Race(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
