"""Every routine against a simulation whose truth is known."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from scipy import stats as reference

from bakeoff.evaluation import stats
from bakeoff.evaluation.metrics import macro_f1
from bakeoff.evaluation.stats import Interval

DRAWS = 1500


def covers(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


@pytest.fixture
def draw() -> np.random.Generator:
    return np.random.default_rng(20261121)


def paired_rates(draw: np.random.Generator, n: int, wins: float, losses: float) -> tuple[np.ndarray, np.ndarray]:
    """0/1 scores of two systems that disagree on shares `wins` and `losses` of the questions."""
    u, both = draw.random(n), draw.random(n) < 0.6
    a = np.where(u < wins, 1, np.where(u < wins + losses, 0, both))
    b = np.where(u < wins, 0, np.where(u < wins + losses, 1, both))
    return a.astype(float), b.astype(float)


def clustered(draw: np.random.Generator, clusters: int, size: int, icc: float) -> tuple[np.ndarray, list[str]]:
    """Normal values of mean 0 and variance 1 with intraclass correlation `icc`."""
    shared = np.repeat(draw.normal(size=clusters), size) * math.sqrt(icc)
    groups = [str(cluster) for cluster in range(clusters) for _ in range(size)]
    return shared + draw.normal(size=clusters * size) * math.sqrt(1 - icc), groups


# ---------------------------------------------------------------- one system


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (5, 10), (81, 263), (10, 10)])
def test_wilson_agrees_with_scipy(successes: int, n: int) -> None:
    ours, theirs = stats.wilson(successes, n), reference.binomtest(successes, n).proportion_ci(0.95, "wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize("n", [10, 20, 50, 100, 300])
def test_a_rate_near_0_or_1_is_covered_by_at_least_92_percent_and_93_5_to_96_5_on_average(n: int) -> None:
    """Counted, not drawn, over all rates: no interval of a count keeps 95% at each of them."""
    rates, counts = np.linspace(0.002, 0.998, 997), np.arange(n + 1)
    ends = [stats.wilson(int(count), n) for count in counts]
    inside = np.array([[one.low <= rate <= one.high for one in ends] for rate in rates])
    covered = (reference.binom.pmf(counts, n, rates[:, None]) * inside).sum(axis=1)
    assert covered.min() > 0.915 and 0.935 < covered.mean() < 0.965
    assert all(one.low <= one.estimate <= one.high for one in ends)


def test_wilson_keeps_a_width_when_everything_is_right() -> None:
    interval = stats.score_interval([1] * 20)
    assert interval.high == 1
    assert interval.low == pytest.approx(0.839, abs=0.001)


def test_the_interval_of_a_mean_is_students_t() -> None:
    values = [0.2, 0.4, 0.9, 1.0, 0.0, 0.3]
    ours, theirs = stats.mean_interval(values), reference.ttest_1samp(values, 0).confidence_interval()
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_clustered_intervals_cover_where_naive_ones_do_not(draw: np.random.Generator) -> None:
    samples = [clustered(draw, 15, 8, icc=0.3) for _ in range(DRAWS)]
    naive = np.mean([covers(stats.mean_interval(x), 0) for x, _ in samples])
    robust = np.mean([covers(stats.mean_interval(x, groups), 0) for x, groups in samples])
    assert naive < 0.82
    assert 0.925 < robust < 0.975


@pytest.mark.parametrize("rate", [0.6, 0.9])
def test_clustered_rates_cover(draw: np.random.Generator, rate: float) -> None:
    def sample() -> Interval:
        x, groups = clustered(draw, 20, 5, icc=0.3)
        return stats.score_interval((x < reference.norm.ppf(rate)).astype(float), groups)

    assert 0.925 < np.mean([covers(sample(), rate) for _ in range(DRAWS)]) < 0.985


def test_right_answers_from_few_documents_count_as_few() -> None:
    groups = [str(i % 5) for i in range(50)]
    assert stats.score_interval([1] * 50, groups).low < 0.5 < stats.score_interval([1] * 50).low


def test_one_document_says_nothing_about_others() -> None:
    interval = stats.score_interval([1, 0, 1, 1], ["same"] * 4)
    assert (interval.low, interval.high) == (0, 1)
    half = stats.score_interval([0.5])
    assert (half.low, half.high) == (0, 1)


@pytest.mark.parametrize("size", [1, 4])
def test_the_jackknife_covers_macro_f1(draw: np.random.Generator, size: int) -> None:
    shares = np.array([[0.45, 0.03, 0.02], [0.1, 0.18, 0.02], [0.05, 0.02, 0.13]])
    pairs = [(right, said) for right in "abc" for said in "abc"]
    truth = macro_f1.pooled({pair: round(share * 1000) for pair, share in zip(pairs, shares.flat, strict=True)})

    def sample() -> Interval:
        # Half of a cluster's answers are its first one again.
        drawn = draw.choice(9, size=(60, size), p=shares.ravel())
        drawn = np.where(draw.random((60, size)) < 0.5, drawn[:, :1], drawn)
        groups = [str(cluster) for cluster in range(60) for _ in range(size)]
        return stats.jackknife(macro_f1.pooled, [pairs[place] for place in drawn.flat], groups)

    assert 0.92 < np.mean([covers(sample(), truth) for _ in range(300)]) < 0.98


def test_the_jackknife_of_a_mean_is_students_t_and_never_certain() -> None:
    def mean(counts: Mapping[float, int]) -> float:
        return sum(value * n for value, n in counts.items()) / sum(counts.values())

    values = [0.2, 0.4, 0.9, 1.0, 0.0, 0.4]
    ours, theirs = stats.jackknife(mean, values), stats.mean_interval(values)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))
    alike = stats.jackknife(mean, [1.0] * 20)
    assert (alike.high, alike.n) == (1, 20) and 0.7 < alike.low < 0.9
    below = stats.jackknife(lambda counts: 0.0, ["a"] * 20, least=-1.0)
    assert below.low < 0 < below.high
    one = stats.jackknife(mean, [0.5, 1.0], ["same", "same"], least=-1.0)
    assert (one.low, one.high) == (-1, 1)


def test_percentile_intervals_cover(draw: np.random.Generator) -> None:
    truth = reference.expon.ppf(0.95)
    covered = [covers(stats.percentile(draw.exponential(size=200), 0.95), truth) for _ in range(DRAWS)]
    assert 0.93 < np.mean(covered) < 0.985


def test_the_percentile_of_one_answer_is_that_answer() -> None:
    assert stats.percentile([2.5], 0.95) == Interval(2.5, 2.5, 2.5, 1)


# ---------------------------------------------------------------- two systems


@pytest.mark.parametrize("n", [20, 100])
def test_bonett_price_covers(draw: np.random.Generator, n: int) -> None:
    covered = [covers(stats.paired_difference(*paired_rates(draw, n, 0.18, 0.08)), 0.10) for _ in range(DRAWS)]
    assert 0.935 < np.mean(covered) < 0.99


def test_clustered_differences_cover(draw: np.random.Generator) -> None:
    def covered() -> bool:
        x, groups = clustered(draw, 20, 6, icc=0.3)
        return covers(stats.paired_difference(0.2 + 0.1 * x, np.zeros(len(x)), groups), 0.2)

    assert 0.925 < np.mean([covered() for _ in range(DRAWS)]) < 0.975


def test_mostly_equal_graded_scores_cover(draw: np.random.Generator) -> None:
    levels = np.array([-1, -0.5, 0, 0.5, 1])
    samples = draw.choice(levels, p=[0.03, 0.04, 0.8, 0.04, 0.09], size=(DRAWS, 60))
    covered = [covers(stats.paired_difference(np.maximum(d, 0), np.maximum(-d, 0)), 0.06) for d in samples]
    assert 0.92 < np.mean(covered) < 0.98


def test_equal_answers_do_not_prove_equality() -> None:
    few, many = stats.paired_difference([0.5] * 4, [0.5] * 4), stats.paired_difference([0.5] * 400, [0.5] * 400)
    assert few.low < -0.3
    assert -0.02 < many.low < 0


@pytest.mark.parametrize("test", [stats.mcnemar_mid_p, stats.paired_p])
def test_equal_systems_are_seldom_told_apart(draw: np.random.Generator, test: Callable[..., float]) -> None:
    found = [test(*paired_rates(draw, 60, 0.12, 0.12)) < 0.05 for _ in range(DRAWS)]
    assert np.mean(found) < 0.065


def test_mcnemar_has_the_power_that_was_promised(draw: np.random.Generator) -> None:
    gap = stats.detectable_difference(155, discordance=0.2)
    assert gap == pytest.approx(0.10, abs=0.001)
    assert stats.detectable_difference(626, discordance=0.2) == pytest.approx(0.05, abs=0.001)
    found = [stats.mcnemar_mid_p(*paired_rates(draw, 155, 0.15, 0.05)) < 0.05 for _ in range(DRAWS)]
    assert 0.76 < np.mean(found) < 0.86


@pytest.mark.parametrize("n", [5, 10, 20, 28])
def test_few_questions_show_only_what_they_can(n: int) -> None:
    """A difference above the usual share of disagreement: all of it in favour, and still 80% power."""
    gap = stats.detectable_difference(n, discordance=0.2)
    least = next(wins for wins in range(n + 1) if stats.mcnemar_mid_p([1] * wins, [0] * wins) < 0.05)
    assert reference.binom.sf(least - 1, n, gap) == pytest.approx(0.8)
    assert stats.detectable_difference(30) >= stats.detectable_difference(31) >= 0.2  # the curves meet
    assert stats.detectable_difference(4) == math.inf == stats.detectable_difference(7, tests=11)


def test_mcnemar_without_disagreement_is_one() -> None:
    assert stats.mcnemar_mid_p([1, 0, 1], [1, 0, 1]) == 1


def test_sign_flips_of_few_questions_are_counted_exactly() -> None:
    assert stats.sign_flip_p([1, 1, 1, 1, 1]) == 2 / 32
    assert stats.sign_flip_p([1, -1, 1, -1]) == 1


def test_sign_flips_agree_with_scipy(draw: np.random.Generator) -> None:
    x = draw.normal(0.3, 1, 50)
    theirs = reference.permutation_test((x,), np.mean, permutation_type="samples", n_resamples=10_000, rng=draw)
    assert stats.sign_flip_p(x, seed=1) == pytest.approx(theirs.pvalue, abs=0.02)


def test_clusters_are_flipped_together(draw: np.random.Generator) -> None:
    samples = [clustered(draw, 12, 6, icc=0.5) for _ in range(300)]
    assert np.mean([stats.sign_flip_p(x, groups) < 0.05 for x, groups in samples]) < 0.08
    assert np.mean([stats.sign_flip_p(x[:60]) < 0.05 for x, _ in samples[:100]]) > 0.15


# ---------------------------------------------------------------- several systems


def test_holm_is_the_textbook_example() -> None:
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_the_best_set_holds_all_of_equal_systems(draw: np.random.Generator) -> None:
    lost = [len(stats.best_set(draw.random((4, 40)))) < 4 for _ in range(200)]
    first = [0 in stats.best_set(draw.random((4, 40))) for _ in range(200)]
    assert np.mean(lost) < 0.25
    assert np.mean(first) > 0.88


def test_the_best_set_holds_the_best_and_drops_the_bad(draw: np.random.Generator) -> None:
    rates = np.array([0.7, 0.66, 0.4])
    sets = [stats.best_set((draw.random((3, 150)) < rates[:, None]).astype(float)) for _ in range(200)]
    assert np.mean([0 in kept for kept in sets]) > 0.93
    assert np.mean([2 in kept for kept in sets]) < 0.05
    assert np.mean([1 in kept for kept in sets]) > 0.5


def test_identical_systems_share_the_best_set() -> None:
    scores = [0, 1, 1, 0.5, 1, 0]
    assert stats.best_set([scores, scores]) == [0, 1]
    assert stats.best_set([scores]) == [0]


# ---------------------------------------------------------------- how many questions


def test_as_many_questions_as_announced_settle_it(draw: np.random.Generator) -> None:
    interval = stats.paired_difference([1] * 14 + [0] * 8 + [1] * 78, [0] * 14 + [1] * 8 + [1] * 78)
    more = stats.questions_needed(interval)
    assert more is not None
    found = [stats.paired_difference(*paired_rates(draw, 100 + more, 0.14, 0.08)).low > 0 for _ in range(400)]
    assert 0.7 < np.mean(found) < 0.9


def test_questions_needed_knows_nothing_and_never() -> None:
    assert stats.questions_needed(Interval(0.2, 0.1, 0.3, 50)) == 0
    assert stats.questions_needed(Interval(0.0, -0.1, 0.1, 50)) is None
    assert stats.questions_needed(Interval(0.0, -0.1, 0.1, 50), bound=-0.03) is not None


def test_the_chance_of_being_above_a_bound_follows_the_interval() -> None:
    interval = Interval(0.1, 0.0, 0.2, 50)
    assert stats.chance_above(interval, 0.1) == pytest.approx(0.5)
    assert stats.chance_above(interval, 0.0) == pytest.approx(0.975)


def test_of_all_looks_at_slices_few_are_flagged_by_chance() -> None:
    draw = np.random.default_rng(5)
    flagged = [min(stats.benjamini_hochberg(list(draw.random(28)))) < stats.LEVEL for _ in range(2000)]
    assert 0.03 < np.mean(flagged) < 0.07
    # Of ten that hold and eighteen that do not, five per cent of the flagged are false at most.
    false = []
    for _ in range(500):
        p = [*(draw.random(10) * 1e-4), *draw.random(18)]
        hits = [i for i, one in enumerate(stats.benjamini_hochberg(p)) if one < stats.LEVEL]
        false.append(sum(i >= 10 for i in hits) / max(1, len(hits)))
    assert np.mean(false) < 0.05
    assert stats.benjamini_hochberg([0.04, 0.01, 0.03]) == pytest.approx([0.04, 0.03, 0.04])
    assert stats.benjamini_hochberg([]) == []


def test_scores_that_happen_to_be_equal_are_no_certainty() -> None:
    two = stats.score_interval([0.5, 0.5])
    assert two.estimate == 0.5 and two.low < 0.2 and two.high > 0.8
    gap = stats.paired_difference([0.5] * 5, [0.25] * 5)
    assert gap.estimate == 0.25 and gap.low < 0 and gap.high > 0.5
    documents = stats.score_interval([0.0, 1.0, 0.25, 0.75], ["a", "a", "b", "b"])
    assert documents.estimate == 0.5 and documents.high - documents.low > 0.5
    assert [stats.wilson(0, n).low for n in range(1, 200)] == [0.0] * 199
    assert [stats.wilson(n, n).high for n in range(1, 200)] == [1.0] * 199
