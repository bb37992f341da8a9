"""How often intervals hold the truth, the set of the best the best one, and verdicts are wrong, where all is known.

    make bench-coverage

The regimes are those of tests/test_coverage.py. Single rates are also counted, exactly, over all outcomes. Writes
docs/results.md.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from results import machine, publish, table
from scipy.stats import binom

from bakeoff.evaluation import stats
from test_coverage import CLOSE, EQUAL, NOMINAL, SAFE, SHORT, drawn, false_clear, holds_the_best

LOW, HIGH = 93.5, 96.5
"""What nominal 95% should stay between."""


def main() -> None:
    """Draw, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=20_000, help="of each interval; fewer of sets and verdicts")
    draws = parser.parse_args().draws
    rows, found = [], []
    for regime, sample in {**NOMINAL, **SAFE, **SHORT}.items():
        intervals = drawn(sample, draws)
        found.append(100 * float(np.mean([one.low <= truth <= one.high for one, truth in intervals])))
        width = float(np.mean([one.high - one.low for one, _ in intervals]))
        rows.append([regime, _said(found[-1]), f"{width:.2f}"])
    text = (
        f"{table(['regime', 'held, percent', 'mean width'], rows)}\n\n{draws:,} draws each, so +-{_error(draws):.1f}; "
        f"in bold what is not {LOW} to {HIGH}: {sum(share > HIGH for share in found)} above and "
        f"{sum(share < LOW for share in found)} below, of {len(found)}. `make bench-coverage` on {machine()}."
    )
    few = draws // 10
    sets = [[systems, str(n), f"{100 * holds_the_best(rates, n, few):.1f}"] for systems, (rates, n) in CLOSE.items()]
    best = table(["systems", "questions", "best one in the set, percent"], sets)
    fewer = draws // 40
    clear = [[str(systems), str(n), f"{100 * false_clear(systems, n, fewer):.1f}"] for systems, n in EQUAL]
    verdicts = table(["systems as good as each other", "questions", "a dearer one is CLEAR, percent"], clear)
    text = "\n\n".join(
        [rates(), text, best, f"{few:,} draws each.", verdicts, f"{fewer:,} draws each; at most 5 are promised."]
    )
    publish("coverage", text)
    print(text)


def rates() -> str:
    """Exact, over 997 rates: no interval of a count holds each of them in 95% of draws."""
    truths, rows = np.linspace(0.002, 0.998, 997), []
    near = (truths <= 0.1) | (truths >= 0.9)
    for n in (10, 20, 50, 100, 300):
        counts = np.arange(n + 1)
        ends = [stats.wilson(int(count), n) for count in counts]
        inside = np.array([[one.low <= truth <= one.high for one in ends] for truth in truths])
        share = 100 * (binom.pmf(counts, n, truths[:, None]) * inside).sum(axis=1)
        rows.append([str(n), *(_said(value) for value in (share.mean(), share[near].mean())), f"{share.min():.1f}"])
    return table(["questions, each right or wrong", "mean of all rates", "below .1 and above .9", "worst rate"], rows)


def _error(draws: int) -> float:
    return 100 * stats.Z * math.sqrt(0.05 * 0.95 / draws)


def _said(share: float) -> str:
    return f"{share:.1f}" if LOW <= share <= HIGH else f"**{share:.1f}**"


if __name__ == "__main__":
    main()
