"""What a race promises of the verdict: under equal systems, a dearer one is seldom called clear, by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from bakeoff.evaluation import race
from bakeoff.evaluation.comparison import Comparison
from bakeoff.evaluation.race import Race
from bakeoff.evaluation.recommend import recommend
from bakeoff.types import Answer, Example, Trial, Usage

DELTA = 0.03
LEVEL = 0.05


def raced(right: np.ndarray, groups: list[str]) -> Comparison:
    """The comparison that a race of systems with these 0/1 scores, shape [systems, n], ends with.

    System 0 is the cheapest, and each other costs half as much again as the one before it.
    """
    count, n = right.shape
    names = [f"system {i}" for i in range(count)]
    examples = [Example(f"q{place:03}", "?", ("x",), group=group) for place, group in enumerate(groups)]
    scores = {name: np.full(n, np.nan) for name in names}
    out: dict[str, int] = {}
    running, before = list(names), 0
    for look in race.looks(examples):
        for name in running:
            scores[name][before:look] = right[names.index(name), before:look]
        before = look
        if look < n:
            so_far = {name: values[:look] for name, values in scores.items()}
            out |= dict.fromkeys(race.losers(so_far, groups[:look], running, DELTA), look)
            running = [name for name in running if name not in out]
    return Comparison(
        tuple(names),
        ("recall",),
        {example.id: example for example in examples},
        tuple(Trial(name, "q000", Answer("x", usage=Usage(round(100 * 1.5**i))), 1.0) for i, name in enumerate(names)),
        {
            (name, example.id): {"recall": float(value)}
            for name in names
            for example, value in zip(examples, scores[name], strict=True)
            if not np.isnan(value)
        },
        race=Race(out, DELTA, n, count),
    )


def drawn(draw: np.random.Generator, rates: list[float], n: int, size: int = 1) -> tuple[np.ndarray, list[str]]:
    """0/1 scores that share 0.6 of their luck, in clusters of about `size`, and the clusters."""
    clusters = np.repeat(np.arange(n), draw.integers(1, 2 * size, n))[:n]
    common = draw.random(n)[clusters if size > 1 else np.arange(n)]
    luck = np.where(draw.random((len(rates), n)) < 0.6, common, draw.random((len(rates), n)))
    return (luck < np.array(rates)[:, None]).astype(float), [f"document {c}" if size > 1 else "" for c in clusters]


def false_clear(systems: int, n: int, draws: int, size: int = 1) -> float:
    """How often a system that costs more than another which is as good is called clear after a race."""
    draw, false = np.random.default_rng(17), 0
    for _ in range(draws):
        right, groups = drawn(draw, [0.6] * systems, n, size)
        groups = groups if size > 1 else [f"alone {place}" for place in range(n)]
        choice = recommend(raced(right, groups), delta=DELTA)
        false += choice.confidence == "CLEAR" and choice.system != "system 0"
    return false / draws


def test_a_race_among_unequal_systems_still_ends_clear_and_puts_out_the_losers() -> None:
    right, _ = drawn(np.random.default_rng(1), [0.9, 0.3, 0.3], 200)
    comparison = raced(right, [f"alone {place}" for place in range(200)])
    assert comparison.race and set(comparison.race.out) == {"system 1", "system 2"}
    choice = recommend(comparison, delta=DELTA)
    assert (choice.system, choice.confidence) == ("system 0", "CLEAR")


@pytest.mark.parametrize(("systems", "n", "draws"), [(2, 60, 60), (12, 60, 12)])
def test_after_a_race_a_dearer_system_that_is_no_better_is_seldom_clear(systems: int, n: int, draws: int) -> None:
    assert false_clear(systems, n, draws) <= 0.085  # one in twelve


@pytest.mark.slow
@pytest.mark.parametrize(
    ("systems", "n", "draws", "size"),
    [(2, 40, 1500, 1), (2, 150, 1500, 1), (3, 150, 1000, 4), (5, 100, 500, 1), (8, 120, 300, 1), (12, 60, 300, 1)],
)
def test_after_a_race_a_dearer_system_that_is_no_better_is_clear_in_5_of_100_at_most(
    systems: int, n: int, draws: int, size: int
) -> None:
    assert false_clear(systems, n, draws, size) <= LEVEL
