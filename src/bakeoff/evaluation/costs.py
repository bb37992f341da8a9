"""What a question costs: computed from tokens, so that the noise of the clock decides nothing; seconds are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bakeoff.types import Trial, Usage

CACHED = 0.1
"""A cached prompt token, in fresh ones: the factor by which model APIs discount them."""
OUTPUT = 5.0
"""A generated token, in fresh prompt tokens: the ratio of prompt to generation speed of llama.cpp on a 2-core CPU."""
SAME = 1.1
"""Costs within this factor count as the same: a word more or less in the answers is no reason to choose."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Means over the questions of one system; build and refresh costs are not part of it."""

    computed: float
    """Prompt-token equivalents: fresh + 0.1 x cached + 5 x output tokens."""
    measured: float
    """Seconds that the model was busy, on the machine of this run."""
    fresh: float
    cached: float
    output: float

    def cheaper_than(self, other: Cost) -> bool:
        """Whether it is cheaper by more than a tenth."""
        return self.computed * SAME < other.computed


def prompt_tokens(usage: Usage) -> float:
    """The cost of `usage` in prompt-token equivalents."""
    return usage.fresh + CACHED * usage.cached + OUTPUT * usage.output


def cost(trials: Sequence[Trial]) -> Cost:
    """Mean cost of a question; answers that failed are left out, since what they took is not known."""
    answered = [trial.answer.usage for trial in trials if not trial.error] or [Usage()]
    n, total = len(answered), sum(answered, Usage())
    return Cost(prompt_tokens(total) / n, total.seconds / n, total.fresh / n, total.cached / n, total.output / n)
