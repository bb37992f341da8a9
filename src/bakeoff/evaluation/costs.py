"""What a question costs: computed from tokens, so that the noise of the clock decides nothing; seconds are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bakeoff.evaluation.stats import Interval
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
    """Seconds that the machine of this run was busy, searching included."""
    fresh: float
    cached: float
    output: float


WORSE = 0.1
"""Share of the score from which a quicker system is no cheaper way to the same."""


@dataclass(frozen=True, slots=True)
class BreakEven:
    """After how many questions what a system saves on each has paid for its training; both in measured seconds."""

    system: str
    other: str
    """The best system that nothing was trained for."""
    build: float
    """Seconds of training, with trials that were thrown away; the questions that it learnt from are not counted."""
    saving: Interval
    """Seconds that the machine is busy less, a question."""
    gap: float
    """Its score less that of the other: what is saved may be no saving."""

    @property
    def questions(self) -> tuple[float | None, float | None, float | None]:
        """Estimate and the ends of the 95% interval; None is never. Dividing by a saving keeps its interval."""
        low, high = self.saving.high, self.saving.low
        return self._after(self.saving.estimate), self._after(low), self._after(high)

    def __str__(self) -> str:
        estimate, low, high = self.questions
        costs = f"{self.system} took {self.build:,.0f} s to train"
        if low is None:
            return f"{costs} and never pays it back against {self.other}: it is no quicker (measured)"
        points = f"{100 * self.gap:+.1f} points of score"
        if self.gap < -WORSE:
            return f"{costs} and is quicker than {self.other}, but at {points} that saves nothing (measured)"
        latest = "never" if high is None else f"{high:,.0f}"
        when = "may never pay it back" if estimate is None else f"pays it back after {estimate:,.0f} questions"
        return f"{costs} and {when} [{low:,.0f}, {latest}] against {self.other}, at {points} (measured)"

    def _after(self, saving: float) -> float | None:
        return self.build / saving if saving > 0 else None


def cheaper(a: float, b: float) -> bool:
    """Whether `a` is less than `b` by more than a tenth."""
    return a * SAME < b


def prompt_tokens(usage: Usage) -> float:
    """The cost of `usage` in prompt-token equivalents."""
    return usage.fresh + CACHED * usage.cached + OUTPUT * usage.output


def cost(trials: Sequence[Trial]) -> Cost:
    """Mean cost of a question; answers that failed are left out, since what they took is not known."""
    answered = [trial.answer.usage for trial in trials if not trial.error] or [Usage()]
    n, total = len(answered), sum(answered, Usage())
    return Cost(prompt_tokens(total) / n, total.seconds / n, total.fresh / n, total.cached / n, total.output / n)
