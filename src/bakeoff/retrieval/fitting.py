"""Fit the learned reranker on questions whose evidence is known, and test on others whether it helps.

Pairwise logistic regression, a pair weighing as much as its passages differ: RankNet (Burges and others, ICML 2005)
with a linear scorer. LambdaMART over like features was within .02 of it, either way (docs/log.md).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.stats import t as student

from bakeoff.errors import DataError
from bakeoff.files import write_atomically
from bakeoff.retrieval.features import NAMES, features
from bakeoff.types import Example, Retriever, Vectors

DEPTH = 50
FOLDS = 5
PENALTY = 0.3
"""On the squared weights: .3 was best on 20, 50 and 100 questions of MedQuAD, .002 to .02 before .03 (docs/log.md)."""
FEWEST = 20
"""Questions below which nothing is fitted."""
_DISCOUNTS = 1 / np.log2(np.arange(2, 12))


@dataclass(frozen=True, slots=True)
class Fit:
    """Weights, and what they changed on questions they were not fitted on: nDCG@10 less that of the retriever."""

    weights: tuple[float, ...]
    questions: int
    gain: float
    low: float
    """The 95% interval of `gain`."""
    high: float
    features: tuple[str, ...] = NAMES

    @property
    def helps(self) -> bool:
        return self.low > 0

    def __str__(self) -> str:
        verdict = "the reranker is used" if self.helps else "the reranker stands aside"
        interval = f"{self.gain:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"
        return f"{verdict}: nDCG@10 {interval} on {self.questions} questions it was not fitted on"

    def save(self, path: Path) -> None:
        write_atomically(path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Fit:
        """Raises `DataError` for a file that this version did not write."""
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
            found = cls(**{**row, "weights": tuple(row["weights"]), "features": tuple(row["features"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is not the fit of a reranker ({error}); run `bakeoff fit` to make it") from error
        if found.features != NAMES or len(found.weights) != len(NAMES):
            raise DataError(f"{path} was fitted by another version of bakeoff; run `bakeoff fit` to make it again")
        return found


@dataclass(frozen=True, slots=True)
class Judged:
    """What a question's hits are like, and what each is worth."""

    table: Vectors
    """Shape [hits, features], in the retriever's order."""
    gains: Vectors
    """Shape [hits]; 0 for a passage that is of no use."""
    group: str
    """Questions of one group are never on both sides of a split."""


def judge(retriever: Retriever, examples: Sequence[Example], depth: int = DEPTH) -> list[Judged]:
    """Those of `examples` whose evidence is among the first `depth` hits: the others teach nothing."""
    judged = []
    for example in examples:
        hits = retriever.retrieve(example.question, depth)
        gains = np.array([any(e.in_chunk(hit.chunk) for e in example.evidence) for hit in hits], dtype=np.float32)
        if gains.any():
            judged.append(Judged(features(example.question, hits), gains, example.group or example.id))
    return judged


def fit(judged: Sequence[Judged]) -> Fit:
    """Weights from all of `judged`, and their gain by cross-validation over groups.

    Raises `DataError` where there are too few.
    """
    folds = np.array([zlib.crc32(one.group.encode()) % FOLDS for one in judged])
    if len(judged) < FEWEST or len(set(folds.tolist())) < 2:
        raise DataError(
            f"{len(judged)} questions with evidence that is found, but a reranker needs {FEWEST} or more, of different "
            "groups; add questions with evidence"
        )
    gains = np.zeros(len(judged), dtype=np.float32)
    for fold in set(folds.tolist()):
        weights = fit_weights([one for one, other in zip(judged, folds, strict=True) if other != fold])
        for place in np.flatnonzero(folds == fold).tolist():
            one = judged[place]
            gains[place] = ndcg(one.gains[_order(one.table @ weights)]) - ndcg(one.gains)
    low, high = _interval(gains, [one.group for one in judged])
    weights = fit_weights(judged)
    return Fit(tuple(round(float(x), 4) for x in weights), len(judged), float(gains.mean()), low, high)


def fit_weights(judged: Sequence[Judged]) -> Vectors:
    """Shape [features]; every question counts the same."""
    pairs, shares = [], []
    for one in judged:
        better, worse = np.nonzero(one.gains[:, None] > one.gains[None, :])
        if len(better) == 0:
            continue
        pairs.append(one.table[better] - one.table[worse])
        share = one.gains[better] - one.gains[worse]
        shares.append(share / share.sum() / len(judged))
    differences, weight = np.concatenate(pairs).astype(np.float64), np.concatenate(shares).astype(np.float64)

    def loss(weights: Vectors) -> tuple[float, Vectors]:
        margins = differences @ weights
        value = weight @ np.logaddexp(0, -margins) + PENALTY * weights @ weights / 2
        return float(value), -(weight / (1 + np.exp(margins))) @ differences + PENALTY * weights

    return np.asarray(minimize(loss, np.zeros(len(NAMES)), jac=True, method="L-BFGS-B").x, dtype=np.float32)


def ndcg(gains: Vectors) -> float:
    """At 10, of gains in the order of the hits."""
    ideal = np.sort(gains)[::-1][:10]
    first = gains[:10]
    return float(first @ _DISCOUNTS[: len(first)] / (ideal @ _DISCOUNTS[: len(ideal)]))


def _order(scores: Vectors) -> Vectors:
    return np.asarray(np.argsort(-scores, kind="stable"))


def _interval(values: Vectors, groups: Sequence[str]) -> tuple[float, float]:
    """95%, by Student's t over groups, whose questions are not independent."""
    mean, names = values.mean(), sorted(set(groups))
    place = np.array([names.index(group) for group in groups])
    sums = np.bincount(place, weights=values - mean, minlength=len(names))
    error = np.sqrt(len(names) / (len(names) - 1) * (sums**2).sum()) / len(values)
    margin = float(student.ppf(0.975, len(names) - 1) * error)
    return float(mean) - margin, float(mean) + margin
