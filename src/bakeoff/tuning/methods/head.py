"""Head: frozen features and a classical classifier, for examples with a `label`; seconds instead of minutes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from bakeoff.errors import DataError, MissingPackageError
from bakeoff.files import write_json
from bakeoff.models import embedder, heads, weights
from bakeoff.types import Checkpoint, Embedder, Example, Vectors

Codes = NDArray[np.int64]
Kind = Literal["logistic", "forest", "boosting"]

STRENGTHS: dict[str, tuple[float, ...]] = {
    "logistic": (0.1, 1.0, 10.0, 100.0, 1000.0),  # C; unit vectors want weak regularisation
    "forest": (1, 2, 4),  # examples in a leaf, at least
    "boosting": (2, 4, 6),  # depth of a tree
}
"""What is tried for each kind."""
TREES = 200


def tune(
    base: str,
    train: Sequence[Example],
    valid: Sequence[Example],
    out: Path,
    *,
    seed: int = 0,
    features: str = "minilm-int8",
    kind: Kind = "logistic",
    progress: Callable[[int, int, str], None] | None = None,
) -> Checkpoint:
    """Fit on the vectors of the embedder `features`, or of the base itself: "base" takes its last states' mean.

    The one setting of each `kind` is chosen on `valid`, or by 5-fold cross-validation. Raises `DataError` for examples
    without labels, or with only one label.
    """
    model = embedder(f"pooled:{base}" if features == "base" else features)
    counts = Counter(_label(example) for example in train)
    if len(counts) < 2:
        raise DataError(f"all training examples have the label {next(iter(counts))!r}; a classifier needs two or more")
    start = time.perf_counter()
    classes = sorted(counts)
    rows, codes = _data(model, train, classes)
    measured = _data(model, [example for example in valid if example.label in counts], classes)
    rarest, count = counts.most_common()[-1]
    if not len(measured[1]) and count < 2:
        raise DataError(f"the label {rarest!r} has only one training example; add another, or validation examples")
    losses = _losses(kind, rows, codes, *measured, seed)
    strength = min(losses, key=lambda one: losses[one])
    fitted = _made(kind, strength, seed).fit(rows, codes)
    facts = {
        "features": model.name,
        "features_fingerprint": model.fingerprint,
        "classes": classes,
        "strength": strength,
    }
    heads.save(out, kind, facts, fitted)
    seconds = time.perf_counter() - start
    write_json(out / "training.json", {"valid_loss_after": losses[strength], "train_seconds": round(seconds, 3)})
    if progress:
        progress(len(train), len(train), f"training: loss {losses[strength]:.2f}")
    return Checkpoint(out, base, weights.resolve(base).fingerprint, "head")


def _losses(kind: Kind, rows: Vectors, codes: Codes, valid_rows: Vectors, valid_codes: Codes, seed: int) -> Any:
    """Mean log loss for each strength: on the validation examples, else by 5-fold cross-validation."""
    known = list(range(int(codes.max()) + 1))
    if len(valid_codes):
        return {
            one: log_loss(valid_codes, _made(kind, one, seed).fit(rows, codes).predict_proba(valid_rows), labels=known)
            for one in STRENGTHS[kind]
        }
    folds = StratifiedKFold(min(5, int(np.bincount(codes).min())), shuffle=True, random_state=seed)
    losses = {}
    for one in STRENGTHS[kind]:
        chances = cross_val_predict(_made(kind, one, seed), rows, codes, cv=folds, method="predict_proba")
        losses[one] = log_loss(codes, chances, labels=known)
    return losses


def _made(kind: Kind, strength: float, seed: int) -> Any:
    if kind == "logistic":
        return LogisticRegression(C=strength, max_iter=1000)
    if kind == "forest":
        # One thread: scikit-learn's clear the process's filters of warnings and put them back, in any order. In the end
        # there are none, and it warns of that for each tree, thousands of times (docs/log.md).
        return RandomForestClassifier(TREES, min_samples_leaf=int(strength), random_state=seed, n_jobs=1)
    try:
        import xgboost
    except ImportError as error:
        raise MissingPackageError("a head of kind boosting", "xgboost", "boost") from error
    return xgboost.XGBClassifier(
        n_estimators=TREES, max_depth=int(strength), learning_rate=0.1, random_state=seed, n_jobs=weights.cores()
    )


def _data(model: Embedder, examples: Sequence[Example], classes: Sequence[str]) -> tuple[Vectors, Codes]:
    codes = np.array([classes.index(_label(example)) for example in examples], dtype=np.int64)
    return heads.features(model, [example.question for example in examples]), codes


def _label(example: Example) -> str:
    if not example.label:
        raise DataError(f"example {example.id} has no label to learn; add one, or leave the example out")
    return example.label
