"""The race: whom it puts out, how seldom wrongly, what it saves, and that what is left is told truly."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bakeoff.evaluation import race, stats
from bakeoff.evaluation.compare import compare, load
from bakeoff.evaluation.recommend import recommend
from bakeoff.evaluation.report import write
from bakeoff.types import Answer, Example, Question, Usage

LEVEL = 0.05


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """That every answer reaches the disk is tested elsewhere."""
    monkeypatch.setattr("bakeoff.evaluation.folder.os.fsync", lambda descriptor: None)


def run(
    draw: np.random.Generator, rates: list[float], n: int, delta: float, size: int = 1
) -> tuple[dict[int, int], float, np.ndarray]:
    """One race of systems right on shares `rates`, clusters around `size`: who is out, what is saved, all scores."""
    sizes = draw.integers(1, 2 * size, n)
    clusters = np.repeat(np.arange(n), sizes)[:n]
    common = draw.random(n)[clusters]
    own = draw.random((len(rates), n))
    luck = np.where(draw.random((len(rates), n)) < 0.6, common, own)
    right = (luck < np.array(rates)[:, None]).astype(float)
    groups = [str(cluster) for cluster in clusters]
    examples = [Example(str(place), "?", group=group) for place, group in enumerate(groups)]
    running = [str(i) for i in range(len(rates))]
    scores = {name: np.full(n, np.nan) for name in running}
    out: dict[int, int] = {}
    before, asked = 0, 0
    for look in race.looks(examples):
        for name in running:
            scores[name][before:look] = right[int(name), before:look]
        asked, before = asked + len(running) * (look - before), look
        so_far = {name: values[:look] for name, values in scores.items()}
        for name in race.losers(so_far, groups[:look], running, delta) if look < n else []:
            out[int(name)] = look
        running = [name for name in running if int(name) not in out]
    return out, 1 - asked / (n * len(rates)), right


def put_out_wrongly(rates: list[float], delta: float, draws: int, size: int = 1) -> float:
    """How often the first of `rates`, which is as good as any or within delta, went out."""
    draw = np.random.default_rng(5)
    return float(np.mean([0 in run(draw, rates, 120, delta, size)[0] for _ in range(draws)]))


EQUAL = {
    "2 equal": ([0.6, 0.6], 0.0, 1),
    "5 equal, on 30 documents": ([0.6] * 5, 0.0, 4),
    "12 equal": ([0.6] * 12, 0.0, 1),
    "within delta of the best": ([0.6, 0.7], 0.1, 1),
}


@pytest.mark.parametrize("regime", EQUAL)
def test_a_system_that_is_good_enough_is_seldom_put_out(regime: str) -> None:
    rates, delta, size = EQUAL[regime]
    assert put_out_wrongly(rates, delta, draws=200 // len(rates), size=size) <= 0.08


@pytest.mark.slow
@pytest.mark.parametrize("regime", EQUAL)
def test_a_system_that_is_good_enough_is_put_out_in_5_of_100_races_at_most(regime: str) -> None:
    rates, delta, size = EQUAL[regime]
    assert put_out_wrongly(rates, delta, draws=4000 // len(rates), size=size) <= LEVEL


def test_half_of_the_answers_are_saved_where_one_system_is_clearly_best() -> None:
    draw = np.random.default_rng(3)
    races = [run(draw, [0.9, 0.5, 0.5, 0.5, 0.5], 200, 0.03) for _ in range(20)]
    assert np.mean([saved for _, saved, _ in races]) >= 0.5
    assert all(set(out) == {1, 2, 3, 4} for out, _, _ in races)


def test_the_mean_of_a_system_that_went_out_is_low_and_its_interval_covers() -> None:
    draw = np.random.default_rng(8)
    low, covered, whole = [], [], []
    for _ in range(250):
        out, _, right = run(draw, [0.7, 0.5], 150, 0.03)
        asked = right[1, : out.get(1, 150)]
        found = stats.anytime_interval(asked) if 1 in out else stats.score_interval(asked)
        whole.append(found.low <= 0.5 <= found.high)
        if 1 in out:
            low.append(found.estimate - 0.5)
            covered.append(whole[-1])
    assert len(low) > 100 and np.mean(low) < -0.02
    assert np.mean(covered) >= 0.95 and np.mean(whole) >= 0.95


def test_an_interval_of_a_race_covers_the_truth_even_when_stopped_at_the_worst_moment() -> None:
    """Looked at after every question from the tenth on, and stopped where the mean is lowest."""
    draw = np.random.default_rng(4)
    covered, naive = [], []
    for _ in range(150):
        x = (draw.random(80) < 0.4).astype(float)
        worst = 10 + int(np.argmin(x.cumsum()[9:] / np.arange(10, 81)))
        anytime, fixed = stats.anytime_interval(x[:worst]), stats.score_interval(x[:worst])
        covered.append(anytime.low <= 0.4 <= anytime.high)
        naive.append(fixed.low <= 0.4 <= fixed.high)
    assert np.mean(covered) >= 0.95 > np.mean(naive)


def test_an_interval_has_an_end_where_all_or_none_are_right() -> None:
    right, wrong = stats.anytime_interval(np.ones(30)), stats.anytime_interval(np.zeros(30))
    assert (right.high, wrong.low) == (1.0, 0.0)
    assert 0.7 < right.low < 1 and right.low == pytest.approx(1 - wrong.high)


def test_evidence_is_one_on_average_where_there_is_nothing_to_find() -> None:
    draw = np.random.default_rng(6)
    values = [stats.e_value(draw.choice([-1.0, 0, 1], 30)) for _ in range(4000)]
    assert np.mean(values) == pytest.approx(1, abs=0.25)
    assert np.mean(np.array(values) >= 20) < 0.05


# ---------------------------------------------------------------- the questions


def test_clusters_stay_together_and_are_never_looked_into() -> None:
    examples = [Example(f"q{n:03}", "?", group=f"document {n % 25}") for n in range(100)]
    ordered = race.order(examples, seed=1)
    assert ordered == race.order(list(reversed(examples)), seed=1) != race.order(examples, seed=2)
    groups = [example.group for example in ordered]
    assert sum(a != b for a, b in pairwise(groups)) == 24
    found = race.looks(ordered)
    assert found[0] >= race.FIRST and found[-1] == 100
    assert all(groups[look - 1] != groups[look] for look in found[:-1])


# ---------------------------------------------------------------- the comparison


class Contestant:
    """Right on the first `share` of each ten questions."""

    def __init__(self, name: str, share: int) -> None:
        self.name = name
        self.share = share
        self.asked = 0

    def answer(self, question: Question | str) -> Answer:
        self.asked += 1
        number = int(Question.of(question).text.split()[-1])
        return Answer("yes" if number * 7 % 10 < self.share else "no", usage=Usage(100))


EXAMPLES = [Example(f"q{n:03}", f"question {n}", ("yes",)) for n in range(150)]


def contestants() -> list[Contestant]:
    return [Contestant("bad", 2), Contestant("good", 9), Contestant("close", 9), Contestant("worse", 4)]


def test_a_race_stops_asking_what_is_out_and_says_so_everywhere(tmp_path: Path) -> None:
    systems = contestants()
    result = compare(systems, EXAMPLES, ["recall"], out=tmp_path, race=0.03)
    assert result.race and set(result.race.out) == {"bad", "worse"}
    assert {system.name: system.asked for system in systems} == {
        "good": 150,
        "close": 150,
        **dict(result.race.out),
    }
    assert result.race.saved > 150
    assert result.running == ("good", "close")
    rows = {row.system: row for row in result.table()}
    assert [row.in_best_set for row in result.table()] == [True, True, False, False]
    assert rows["bad"].n == result.race.out["bad"]
    wide, usual = rows["bad"].metrics["recall"], stats.wilson(0.2 * rows["bad"].n, rows["bad"].n)
    assert wide and wide.high - wide.low > usual.high - usual.low
    difference = result.difference("bad", "good")
    assert difference and difference.p < LEVEL and difference.interval.high < 0
    assert "raced: out early were" in str(result) and "150 questions scored for all that ran to the end" in str(result)
    choice = recommend(result)
    assert choice.system in ("good", "close") and "out of the race early: bad, worse" in str(choice)
    paths = write(result, choice, tmp_path)
    for suffix in ("html", "md", "json"):
        assert "out of the race early" in paths[suffix].read_text() or suffix == "json"
        assert "their means are too low on average" in paths[suffix].read_text()
    assert "out after" in paths["html"].read_text()


def test_a_race_takes_the_same_course_when_it_goes_on_or_everything_stands_already(tmp_path: Path) -> None:
    first = compare(contestants(), EXAMPLES, ["recall"], out=tmp_path / "race", race=0.03)
    again = contestants()
    assert compare(again, EXAMPLES, ["recall"], out=tmp_path / "race", race=0.03).race == first.race
    assert not sum(system.asked for system in again)
    compare(contestants(), EXAMPLES, ["recall"], out=tmp_path / "whole")
    after = compare(contestants(), EXAMPLES, ["recall"], out=tmp_path / "whole", race=0.03)
    assert after.race == first.race
    assert after.table_text(timings=False) == first.table_text(timings=False)


def test_a_comparison_after_a_race_asks_the_rest(tmp_path: Path) -> None:
    compare(contestants(), EXAMPLES, ["recall"], out=tmp_path, race=0.03)
    systems = contestants()
    whole = compare(systems, EXAMPLES, ["recall"], out=tmp_path)
    assert whole.race is None and load(tmp_path).race is None
    assert Counter(trial.system for trial in whole.trials) == dict.fromkeys(["bad", "good", "close", "worse"], 150)
    assert systems[1].asked == 0 < systems[0].asked


def test_a_fresh_run_that_is_interrupted_keeps_nothing_of_the_race_before(tmp_path: Path) -> None:
    compare(contestants(), EXAMPLES, ["recall"], out=tmp_path, race=0.03)

    def stop(done: int, total: int, system: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(contestants(), EXAMPLES, ["recall"], out=tmp_path, fresh=True, progress=stop)
    assert race.load(tmp_path) is None


def test_a_race_of_equals_puts_nobody_out_and_says_that(tmp_path: Path) -> None:
    result = compare([Contestant("a", 5), Contestant("b", 5)], EXAMPLES[:60], ["recall"], out=tmp_path, race=0.03)
    assert result.race and not result.race.out
    assert "none of 2 systems went out early" in str(result)
