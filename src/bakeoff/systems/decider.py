"""Answer or not: a small calibrated model over what retrieval and generation know about a draft."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bakeoff.files import write_json
from bakeoff.retrieval.citing import held, words
from bakeoff.types import Answer, Generation

FEATURES = (
    "words",
    "words_margin",
    "meaning",
    "meaning_margin",
    "coverage",
    "together",
    "support",
    "logprob",
    "worst_logprob",
    "refused",
)
PENALTY = 10.0
"""Of the squared weights, for features of unit variance: there are few questions to fit to, and features that agree."""
PRECISION = 0.8
"""Share of refusals that should be right."""
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Draft:
    """One draft that the decider is fitted to."""

    features: Mapping[str, float]
    answerable: bool
    """Whether the documents held the answer."""
    right: bool
    """Whether the draft was right."""
    group: str = ""
    """Drafts of one group stay together when it is cross-validated."""
    removed: bool = False
    """Whether the documents with the answer were taken away for this draft."""


@dataclass(frozen=True, slots=True)
class Decider:
    """Two logistic models over the same features: can it be answered from the passages, and is the draft right."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    answerable: tuple[float, ...]
    """Weights, the intercept last."""
    right: tuple[float, ...]
    threshold: float
    """Refuse below this probability of being answerable."""
    precision: float
    """Of refusals at the threshold, cross-validated."""
    recall: float
    n: int

    def judge(self, features: Mapping[str, float]) -> tuple[bool, float]:
        """Whether to answer, and the probability that the draft is right."""
        row = self._row(features)
        return _probability(row, self.answerable) >= self.threshold, _probability(row, self.right)

    def answerability(self, features: Mapping[str, float]) -> float:
        """The probability that the passages hold the answer."""
        return _probability(self._row(features), self.answerable)

    def save(self, path: Path, made_from: str) -> None:
        """As JSON; `made_from` says what it was fitted to."""
        write_json(path, {"made_from": made_from, "features": FEATURES, **asdict(self)})

    def _row(self, features: Mapping[str, float]) -> NDArray[np.float64]:
        values = np.array([features[name] for name in FEATURES])
        return np.append((values - self.mean) / self.scale, 1.0)


def load(path: Path, made_from: str = "") -> Decider | None:
    """None where there is none, or one that was fitted to something else or saw other features."""
    if not path.is_file():
        return None
    held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    seen = tuple(held.pop("features", ()))
    if (held.pop("made_from") != made_from and made_from) or seen != FEATURES:
        return None
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in held.items()}
    return Decider(**values)


def features(question: str, draft: Answer, generation: Generation) -> dict[str, float]:
    """What is known about a draft.

    Best score and its lead over the second by words (BM25, per content word of the question) and by meaning (cosine);
    share of the question's words in the best passage, and in all together; support of the weakest sentence; mean and
    lowest log-probability of the tokens; whether the model refused.
    """
    asked = words(question)
    first, second = _best(draft, "bm25"), _best(draft, "dense")
    covered = max((len(asked & held(hit)) / max(1, len(asked)) for hit in draft.hits), default=0.0)
    together = asked & set[str]().union(*map(held, draft.hits))
    told = generation.logprobs
    return {
        "words": first[0] / max(1, len(asked)),
        "words_margin": first[1] / max(1, len(asked)),
        "meaning": second[0],
        "meaning_margin": second[1],
        "coverage": covered,
        "together": len(together) / max(1, len(asked)),
        "support": min((sentence.support for sentence in draft.sentences), default=0.0),
        "logprob": float(np.mean(told)) if told else 0.0,
        "worst_logprob": min(told, default=0.0),
        "refused": float(draft.outcome != "answered"),
    }


def fit(drafts: Sequence[Draft], precision: float = PRECISION) -> tuple[Decider, list[float]]:
    """Fit both models; the threshold refuses as many as it can while `precision` of the refusals are right.

    Where no threshold is so precise, it is the one of the best F1. It is read off cross-validated probabilities, with
    the groups of drafts kept together. Returns also the cross-validated probability of each draft of being right.
    """
    table = np.array([[draft.features[name] for name in FEATURES] for draft in drafts])
    mean, scale = table.mean(axis=0), table.std(axis=0)
    scale[scale == 0] = 1.0
    rows = np.column_stack([(table - mean) / scale, np.ones(len(table))])
    answerable = np.array([draft.answerable for draft in drafts], dtype=float)
    right = np.array([draft.right for draft in drafts], dtype=float)
    names = {group: n for n, group in enumerate(dict.fromkeys(draft.group for draft in drafts))}
    folds = np.array([names[draft.group] % FOLDS for draft in drafts])
    unseen = {"answerable": np.zeros(len(rows)), "right": np.zeros(len(rows))}
    for name, wanted in (("answerable", answerable), ("right", right)):
        for fold in range(FOLDS):
            out = folds == fold
            unseen[name][out] = _sigmoid(rows[out] @ _weights(rows[~out], wanted[~out]))
    threshold, reached, recall = _threshold(unseen["answerable"], answerable == 0, precision)
    decider = Decider(
        tuple(mean.tolist()),
        tuple(scale.tolist()),
        tuple(_weights(rows, answerable).tolist()),
        tuple(_weights(rows, right).tolist()),
        threshold,
        reached,
        recall,
        len(drafts),
    )
    return decider, unseen["right"].tolist()


def _threshold(chances: NDArray[np.float64], refuse: NDArray[np.bool_], precision: float) -> tuple[float, float, float]:
    """Threshold, precision and recall of refusing below it."""
    best = (0.0, 1.0, 0.0)
    fallback, highest = best, 0.0
    for threshold in np.unique(chances):
        refused = chances <= threshold
        hit = float((refused & refuse).sum())
        reached, recall = hit / refused.sum(), hit / max(1, refuse.sum())
        # Just above the last one that is refused.
        found = (float(np.nextafter(threshold, 2)), float(reached), float(recall))
        if reached >= precision and recall >= best[2]:
            best = found
        if hit and 2 * reached * recall / (reached + recall) > highest:
            fallback, highest = found, 2 * reached * recall / (reached + recall)
    return best if best[2] > 0 else fallback


def _weights(rows: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of logistic regression with an L2 penalty on all but the intercept."""
    from scipy.optimize import minimize

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = rows @ weights
        penalised = np.append(weights[:-1], 0.0)
        value = np.logaddexp(0, logits).sum() - target @ logits + PENALTY / 2 * penalised @ penalised
        return float(value), rows.T @ (_sigmoid(logits) - target) + PENALTY * penalised

    return np.asarray(minimize(loss, np.zeros(rows.shape[1]), jac=True, method="L-BFGS-B").x)


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(0.5 * (1 + np.tanh(logits / 2)))


def _probability(row: NDArray[np.float64], weights: Sequence[float]) -> float:
    return 0.5 * (1 + math.tanh(float(row @ np.array(weights)) / 2))


def _best(draft: Answer, retriever: str) -> tuple[float, float]:
    """Highest score, and its lead over the next document's."""
    scores: dict[str, float] = {}
    for hit in draft.hits:
        if retriever in hit.scores:
            id = hit.chunk.document_id
            scores[id] = max(scores.get(id, -math.inf), hit.scores[retriever])
    ranked = sorted(scores.values(), reverse=True)
    return (ranked[0] if ranked else 0.0), (ranked[0] - ranked[1] if len(ranked) > 1 else 0.0)
