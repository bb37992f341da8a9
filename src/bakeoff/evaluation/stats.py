"""Intervals and tests for systems that answered the same questions.

Everything is paired, and questions on one document form a cluster: `groups` gives the cluster of each question, and
None means that every question stands alone. Every routine is checked by simulation in `tests/test_stats.py`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, binom, gamma, norm, t

Floats = NDArray[np.float64]
Groups = Sequence[str] | None
T = TypeVar("T", bound=Hashable)

LEVEL = 0.05
POWER = 0.8
FLIPS = 10_000
EXACT_CLUSTERS = 13
"""2**13 sign patterns are fewer than `FLIPS`, so all of them are tried."""
FEW = 3
ADDED = 0.25
"""As much of a right and of a wrong answer is added to graded scores."""
Z = float(norm.ppf(1 - LEVEL / 2))
Z_POWER = float(norm.ppf(POWER))


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the ends of its 95% interval, from `n` questions."""

    estimate: float
    low: float
    high: float
    n: int

    def clip(self, low: float, high: float) -> Interval:
        """The part that is possible, as in 0 to 1 for a score."""
        return Interval(self.estimate, min(max(self.low, low), high), max(min(self.high, high), low), self.n)


# ---------------------------------------------------------------- one system


def wilson(successes: float, n: float, critical: float = Z) -> Interval:
    """Wilson's interval of a rate; it has a width even where all or none succeed.

    Up to `FEW` successes (or failures) the near end is Poisson's, after Brown, Cai and DasGupta (Statistical Science
    16, 2001): at its worst, where 0.2 successes are to be expected, Wilson's own covers 84% for 95. This one never
    covers less than 92%, and is 1 to 2% wider near 0 and 1.
    """
    rate = successes / n
    shrunk = (rate + critical**2 / (2 * n)) / (1 + critical**2 / n)
    half = critical / (1 + critical**2 / n) * math.sqrt(rate * (1 - rate) / n + critical**2 / (4 * n**2))
    low, high = max(0.0, shrunk - half), min(1.0, shrunk + half)
    if successes <= FEW:
        low = min(low, float(gamma.ppf(LEVEL, successes)) / n) if successes else 0.0
    if n - successes <= FEW:
        high = max(high, 1 - float(gamma.ppf(LEVEL, n - successes)) / n) if successes < n else 1.0
    return Interval(rate, low, high, round(n))


def mean_interval(values: ArrayLike, groups: Groups = None) -> Interval:
    """t interval of a mean, with the cluster-robust standard error and t(C-1) when groups repeat."""
    x = np.asarray(values, dtype=float)
    mean, error, clusters = _mean_and_error(x, groups)
    half = t_critical(clusters - 1) * error if clusters > 1 else math.inf
    return Interval(mean, mean - half, mean + half, len(x))


def score_interval(values: ArrayLike, groups: Groups = None) -> Interval:
    """Interval of a mean score from 0 to 1: Wilson's, at the number of right or wrong answers that has the same error.

    So it keeps a width where all scores are equal, and is skewed near 0 and 1, where t is not. The error is that after
    right and wrong answers are added, for few that are not 0 make it small just where the mean is far off: a quarter
    of each (of 50 scores, 94% of them 0 and the others .1 to 1, 97% are covered and 85 without it), and one of each
    where questions share a document (`make bench-coverage`).
    """
    x = np.asarray(values, dtype=float)
    if _binary(x) and not _repeat(groups):
        return wilson(float(x.sum()), len(x))
    mean, error, clusters = _mean_and_error(x, groups)
    if clusters < 2:
        return Interval(mean, 0.0, 1.0, len(x))
    independent = float(clusters)
    if error and 0 < mean < 1:
        if _repeat(groups):
            _, error, _ = _mean_and_error(np.append(x, [1, 0]), [*(groups or ()), "+ right", "+ wrong"])
        else:
            weights = np.append(np.ones(len(x)), [ADDED, ADDED])
            spread = np.cov(np.append(x, [1, 0]), aweights=weights, ddof=0)
            error = math.sqrt(spread / weights.sum() * clusters / (clusters - 1))
        independent = mean * (1 - mean) / error**2
        if _binary(x):
            independent = min(len(x), independent)
    ends = wilson(mean * independent, independent, t_critical(clusters - 1))
    return Interval(mean, ends.low, ends.high, len(x))


def jackknife(
    statistic: Callable[[Counter[T]], float], values: Sequence[T], groups: Groups = None, *, least: float = 0.0
) -> Interval:
    """Interval of what is no mean, such as macro-F1, made of how often each value occurs: t(C-1), a cluster left out.

    `statistic` goes from `least` to 1. Where leaving out any cluster changes nothing, that is no certainty: Wilson's
    interval at one observation a cluster, on that scale.
    """
    clusters: dict[str, Counter[T]] = defaultdict(Counter)
    for place, value in enumerate(values):
        clusters[groups[place] if groups else str(place)][value] += 1
    total, c = Counter(values), len(clusters)
    estimate = statistic(total)
    if c < 2:
        return Interval(estimate, least, 1.0, len(values))
    # Clusters that hold the same leave the same behind: most do.
    alike = Counter(frozenset(held.items()) for held in clusters.values())
    left = np.repeat([statistic(total - Counter(dict(held))) for held in alike], list(alike.values()))
    half = t_critical(c - 1) * math.sqrt((c - 1) / c * float(((left - left.mean()) ** 2).sum()))
    if half > 1e-12:
        return Interval(estimate, estimate - half, estimate + half, len(values)).clip(least, 1.0)
    ends = wilson((estimate - least) / (1 - least) * c, c, t_critical(c - 1))
    low, high = (least + (1 - least) * end for end in (ends.low, ends.high))
    return Interval(estimate, low, high, len(values))


def percentile(values: ArrayLike, share: float) -> Interval:
    """A percentile (`share` 0.95 for p95) with the interval between order statistics; few values cut its ends."""
    x = np.sort(np.asarray(values, dtype=float))
    low, high = binom.ppf((LEVEL / 2, 1 - LEVEL / 2), len(x), share)
    return Interval(
        float(np.quantile(x, share)), float(x[max(int(low) - 1, 0)]), float(x[min(int(high), len(x) - 1)]), len(x)
    )


# ---------------------------------------------------------------- two systems


def paired_difference(a: ArrayLike, b: ArrayLike, groups: Groups = None) -> Interval:
    """Interval of mean(a) - mean(b): Bonett-Price for 0/1 scores, else t over the differences.

    Clustered 0/1 scores take Bonett-Price at the number of independent questions that carries the same standard error,
    with t(C-1): where few answers differ, t alone covers 89% for 95 (20 clusters, 5% wins, 0.5% losses).
    Where nothing differs, t would claim certainty from any number of questions; Bonett-Price does not, and takes
    its place with one observation a cluster.
    """
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    difference = x - y
    wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
    if _binary(x) and _binary(y) and not _repeat(groups):
        return _bonett_price(wins, losses, len(x))
    if _binary(x) and _binary(y) and difference.any():
        _, error, clusters = _mean_and_error(difference, groups)
        if clusters > 1:
            independent = min(len(x), float(difference.var()) / error**2) if error else clusters
            scale = independent / len(x)
            ends = _bonett_price(wins * scale, losses * scale, independent, t_critical(clusters - 1))
            return Interval(float(difference.mean()), ends.low, ends.high, len(x))
    if not difference.any():
        alike = _bonett_price(0, 0, len(_cluster_sums(difference, groups)))
        return Interval(0.0, alike.low, alike.high, len(x))
    found = mean_interval(difference, groups).clip(-1, 1)
    clusters = len(_cluster_sums(difference, groups))
    if found.low < found.high or clusters < 2:
        return found
    won, lost = max(found.estimate, 0.0) * clusters, max(-found.estimate, 0.0) * clusters
    ends = _bonett_price(won, lost, clusters, t_critical(clusters - 1))
    return Interval(found.estimate, min(ends.low, found.estimate), max(ends.high, found.estimate), len(x))


def mcnemar_mid_p(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided mid-p McNemar test of 0/1 scores; the exact test is needlessly conservative (power .78 for .82)."""
    difference = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
    fewer, n = min(wins, losses), wins + losses
    return min(1.0, float(2 * binom.cdf(fewer, n, 0.5) - binom.pmf(fewer, n, 0.5))) if n else 1.0


def sign_flip_p(differences: ArrayLike, groups: Groups = None, seed: int = 0) -> float:
    """Two-sided sign-flip permutation test that the mean difference is 0; whole clusters are flipped together."""
    sums = _cluster_sums(np.asarray(differences, dtype=float), groups)[:, None]
    flipped, exact = _flipped(sums, seed)
    return _share_as_large(np.abs(flipped[:, 0]), abs(float(sums.sum())), exact)


def paired_p(a: ArrayLike, b: ArrayLike, groups: Groups = None, seed: int = 0) -> float:
    """The p-value that belongs to `paired_difference`."""
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if _binary(x) and _binary(y) and not _repeat(groups):
        return mcnemar_mid_p(x, y)
    return sign_flip_p(x - y, groups, seed)


# ---------------------------------------------------------------- hand checks


def hand_checked(metric: ArrayLike, checked: Sequence[int], hand: ArrayLike, groups: Groups = None) -> Interval:
    """What people would give all answers on average, from the metric on all and people's scores, 0 to 1, of some.

    `metric` has a value for every answer, `hand` one for each place in `checked`, which are a random sample. The metric
    narrows the interval as far as it agrees with people, and cannot bias it: PPI++ (Angelopoulos, Duchi and Zrnic,
    2023, arXiv 2311.01453), with t(C-1) of the checked clusters. The ends are those after one right and one wrong
    answer are added, as Agresti and Coull do it: ten checks that are all right leave a doubt.
    """
    m, y = np.asarray(metric, dtype=float), np.asarray(hand, dtype=float)
    places = np.asarray(checked, dtype=int)
    rest = np.setdiff1d(np.arange(len(m)), places)
    n, others = len(places), len(rest)
    trust = predicted = error_rest = 0.0
    if others and n > 2 and (spread := float(m.var(ddof=1))):
        trust = float(np.cov(y, m[places])[0, 1]) / (spread * (1 + n / others))
        predicted, error_rest, _ = _mean_and_error(trust * m[rest], _of(groups, rest))
    corrections, where = y - trust * m[places], _of(groups, places)
    usual = trust * float(m.mean())
    centre, error, _ = _mean_and_error(
        np.append(corrections, [1 - usual, -usual]), None if where is None else [*where, "+ right", "+ wrong"]
    )
    clusters = len(_cluster_sums(corrections, where))
    half = t_critical(clusters - 1) * math.hypot(error, error_rest) if clusters > 1 else math.inf
    estimate, middle = float(corrections.mean()) + predicted, centre + predicted
    return Interval(estimate, min(estimate, middle - half), max(estimate, middle + half), len(m))


# ---------------------------------------------------------------- several systems


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for the number of tests, in the order given."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted so that of those below a level no more than this share is by chance, in the order given."""
    adjusted, smallest = [1.0] * len(p_values), 1.0
    for rank, i in sorted(enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i]), start=1), reverse=True):
        smallest = min(smallest, p_values[i] * len(p_values) / rank)
        adjusted[i] = smallest
    return adjusted


def best_set(scores: ArrayLike, groups: Groups = None, level: float = LEVEL, seed: int = 0) -> list[int]:
    """Rows of `scores`, shape [systems, questions], that may be the best: it holds the truly best one at 1 - level.

    A system leaves the set when another beats it, by a sign-flip test of the largest standardised difference over
    all the others (max-T); so the top by mean never leaves.
    """
    table = np.asarray(scores, dtype=float)
    # Less the first system, so that what all got alike is 0; signs are drawn once for all.
    sums = np.array([_cluster_sums(row - table[0], groups) for row in table]).T
    flipped, exact = _flipped(sums, seed)
    kept = []
    for i in range(len(table)):
        gaps, patterns = (np.delete(x - x[:, [i]], i, axis=1) for x in (sums, flipped))
        if gaps.size:
            lengths = np.linalg.norm(gaps, axis=0)
            scale = np.where(lengths == 0, 1, lengths)
            largest = (gaps.sum(axis=0) / scale).max()
            if _share_as_large((patterns / scale).max(axis=1), float(largest), exact) < level:
                continue
        kept.append(i)
    return kept


# ---------------------------------------------------------------- looking as often as one likes


def e_value(differences: ArrayLike, groups: Groups = None, bound: float = 0.0) -> float:
    """Evidence that the mean of `differences`, each from -1 to 1, is above `bound`: under the contrary, 1 on average.

    The capital of a gambler who bets on it, averaged over nineteen stakes (Waudby-Smith and Ramdas, JRSS B 86, 2024).
    The chance that it ever reaches 1 / 0.05 is 0.05, however often one looks and whenever one stops (Ville). The bets
    are on the means of clusters, so that large ones weigh no more than small ones.
    """
    units = _cluster_means(np.asarray(differences, dtype=float) - bound, groups)
    return float(np.exp(_log_capital(units / (1 + bound))))


def anytime_interval(values: ArrayLike, groups: Groups = None, *, least: float = 0.0, most: float = 1.0) -> Interval:
    """Interval of a mean of values from `least` to `most` that covers it however the number of questions came about.

    The means at which neither a bet on more nor one on less has made 2 / 0.05 (a confidence sequence at its end).
    """
    x = np.asarray(values, dtype=float)
    means = _cluster_means(x, groups)
    estimate, middle = float(x.mean()), float(means.mean())

    def refuted(mean: float) -> bool:
        # A bet on less for what stands above the middle, and on more for what stands below.
        units = (mean - means) / (most - mean) if mean > middle else (means - mean) / (mean - least)
        return _log_capital(units) > math.log(2 / LEVEL)

    def end(outside: float) -> float:
        inside = middle
        if inside == outside:
            return outside
        for _ in range(40):
            halfway = (inside + outside) / 2
            inside, outside = (inside, halfway) if refuted(halfway) else (halfway, outside)
        return inside

    return Interval(estimate, min(end(least), estimate), max(end(most), estimate), len(x))


# ---------------------------------------------------------------- how many questions


def detectable_difference(n: int, discordance: float = 0.2, tests: int = 1) -> float:
    """Smallest difference that `n` questions show with 80% power (McNemar, 5%), from 0 to 1.

    `discordance` is the share of questions on which exactly one of two systems is right: .18 to .30 between real ones.
    `tests`: how many differences are tested together; the first of them must pass Holm's sharpest level. A difference
    above `discordance` needs more of it: then one system is never right alone, and the other often enough. Infinite
    where so few questions can show none.
    """
    level = LEVEL / tests
    z = float(norm.ppf(1 - level / 2))
    root = math.sqrt(max(0.0, n - z**2 + Z_POWER**2))
    found = math.sqrt(discordance) * (z * math.sqrt(n) + Z_POWER * root) / (n + Z_POWER**2)
    if found <= discordance:
        return found
    wins = math.floor(-math.log2(level)) + 1  # of so many and no loss the mid-p value, 2**-wins, is below the level
    return max(discordance, float(beta.ppf(POWER, wins, n - wins + 1))) if n >= wins else math.inf


def questions_needed(interval: Interval, bound: float = 0.0) -> int | None:
    """How many more questions until the interval excludes `bound` with 80% power, if the estimate is the truth.

    0 when it excludes it already, None when it never will (more than 100,000).
    """
    if not interval.low <= bound <= interval.high:
        return 0
    distance, half = abs(interval.estimate - bound), (interval.high - interval.low) / 2
    if distance == 0:
        return None
    wanted = interval.n * (half / distance * (Z + Z_POWER) / Z) ** 2
    return None if wanted > 100_000 else max(1, math.ceil(wanted - interval.n))


def errors_above(interval: Interval, bound: float) -> float:
    """By how many standard errors the middle of the interval is above `bound`."""
    middle, half = (interval.low + interval.high) / 2, (interval.high - interval.low) / 2
    return (middle - bound) / half * Z if half else math.inf if middle > bound else -math.inf


def errors_of(chance: float) -> float:
    """The number of standard errors that a chance is, on the normal curve."""
    return float(norm.ppf(chance))


def chance_above(interval: Interval, bound: float) -> float:
    """How likely the true value is above `bound`, by the normal curve that the interval spans."""
    return float(norm.cdf(errors_above(interval, bound)))


def t_critical(degrees: int) -> float:
    """Half the width of a 95% t interval, in standard errors."""
    return float(t.ppf(1 - LEVEL / 2, degrees))


# ---------------------------------------------------------------- inside


def _binary(x: Floats) -> bool:
    return bool(np.isin(x, (0.0, 1.0)).all())


STAKES = np.arange(1, 20) / 20
"""Shares of its capital that a gambler stakes; the average over them needs no tuning."""


def _log_capital(units: Floats) -> float:
    """Logarithm of what the stakes on `units`, none below -1, have become on average."""
    return float(np.logaddexp.reduce(np.log1p(STAKES[:, None] * units).sum(axis=1)) - math.log(len(STAKES)))


def _of(groups: Groups, places: NDArray[np.int_]) -> Groups:
    return None if groups is None else [groups[place] for place in places]


def _repeat(groups: Groups) -> bool:
    return groups is not None and len(set(groups)) < len(groups)


def _cluster_sums(x: Floats, groups: Groups) -> Floats:
    """Sum of `x` over each group, shape [groups]."""
    if groups is None:
        return x
    places = np.unique(np.asarray(groups), return_inverse=True)[1]
    return np.bincount(places, weights=x).astype(float)


def _cluster_means(x: Floats, groups: Groups) -> Floats:
    return _cluster_sums(x, groups) / _cluster_sums(np.ones(len(x)), groups)


def _mean_and_error(x: Floats, groups: Groups) -> tuple[float, float, int]:
    """Mean, its cluster-robust standard error, and the number of clusters C."""
    mean = float(x.mean())
    sums = _cluster_sums(x - mean, groups)
    clusters = len(sums)
    return mean, math.sqrt(clusters / max(clusters - 1, 1) * float(sums @ sums)) / len(x), clusters


def _bonett_price(wins: float, losses: float, n: float, critical: float = Z) -> Interval:
    """Wald's paired interval after one win and one loss are added."""
    up, down = (wins + 1) / (n + 2), (losses + 1) / (n + 2)
    half = critical * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    return Interval((wins - losses) / n, max(-1.0, up - down - half), min(1.0, up - down + half), round(n))


def _flipped(sums: Floats, seed: int) -> tuple[Floats, bool]:
    """Column totals of `sums`, shape [clusters, columns], under sign patterns; and whether all patterns were tried."""
    sums = sums[np.any(sums != 0, axis=1)]  # a sign before 0 changes nothing
    clusters = len(sums)
    if clusters <= EXACT_CLUSTERS:
        bits = np.arange(2**clusters)[:, None] >> np.arange(clusters) & 1
        return (1.0 - 2.0 * bits) @ sums, True
    draws = np.random.default_rng(seed)
    # In blocks, so that thousands of questions need megabytes, not gigabytes.
    # Not by BLAS, whose threads wait for each other where other work has the cores: 25 times as long.
    blocks = [
        np.einsum("fc,cs->fs", draws.integers(0, 2, (1000, clusters), dtype=np.int8).astype(float), sums)
        for _ in range(FLIPS // 1000)
    ]
    return sums.sum(axis=0) - 2.0 * np.concatenate(blocks), False


def _share_as_large(flipped: Floats, observed: float, exact: bool) -> float:
    """p-value; the observed pattern counts among the drawn ones, so that it is never 0."""
    # Rounding must not make a pattern equal to the observed one look smaller.
    count = int((flipped >= observed - 1e-9 * max(1.0, abs(observed))).sum())
    return count / len(flipped) if exact else (1 + count) / (1 + len(flipped))
