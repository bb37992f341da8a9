"""Head: frozen features and logistic regression, for examples with a `label`; seconds instead of minutes.

The checkpoint is one file, head.json: `features` and `features_fingerprint` (the embedder), `classes`, `weights`
[classes, dimension], `bias` [classes] and `C`. To predict, with x the embedder's vector of the question:
`classes[argmax(weights @ x + bias)]`; the softmax of the same numbers gives the probabilities.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_score

from bakeoff.errors import DataError
from bakeoff.files import write_json
from bakeoff.models import embedder, weights
from bakeoff.types import Checkpoint, Embedder, Example, Vectors

Labels = NDArray[np.str_]

STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""Values of C that are tried; unit vectors want weak regularisation."""


def tune(
    base: str,
    train: Sequence[Example],
    valid: Sequence[Example],
    out: Path,
    *,
    seed: int = 0,
    features: str = "minilm",
    progress: Callable[[int, int, str], None] | None = None,
) -> Checkpoint:
    """Fit on the vectors of the embedder `features`; C is chosen on `valid`, or by 5-fold cross-validation.

    `base` is only remembered. Raises `DataError` for examples without labels, or with only one label.
    """
    model = embedder(features)
    counts = Counter(_label(example) for example in train)
    if len(counts) < 2:
        raise DataError(f"all training examples have the label {next(iter(counts))!r}; a classifier needs two or more")
    start = time.perf_counter()
    rows, labels = _data(model, train)
    losses = _losses(rows, labels, *_data(model, [example for example in valid if example.label in counts]), seed)
    strength = min(losses, key=lambda c: losses[c])
    fitted = _logistic(strength).fit(rows, labels)
    matrix, bias = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:  # scikit-learn keeps one row for two classes; halves give the same probabilities
        matrix, bias = np.concatenate([-matrix, matrix]) / 2, np.concatenate([-bias, bias]) / 2
    head = {
        "features": features,
        "features_fingerprint": model.fingerprint,
        "classes": [str(label) for label in fitted.classes_],
        "weights": matrix.tolist(),
        "bias": bias.tolist(),
        "C": strength,
    }
    write_json(out / "head.json", head)
    seconds = time.perf_counter() - start
    write_json(out / "training.json", {"valid_loss_after": losses[strength], "train_seconds": round(seconds, 3)})
    if progress:
        progress(len(train), len(train), f"training: loss {losses[strength]:.2f}")
    return Checkpoint(out, base, weights.resolve(base).fingerprint, "head")


def _losses(rows: Vectors, labels: Labels, valid_rows: Vectors, valid_labels: Labels, seed: int) -> dict[float, float]:
    """Mean log loss for each value of C: on the validation examples, else by 5-fold cross-validation."""
    if len(valid_labels):
        fitted = {c: _logistic(c).fit(rows, labels) for c in STRENGTHS}
        return {
            c: log_loss(valid_labels, head.predict_proba(valid_rows), labels=head.classes_)
            for c, head in fitted.items()
        }
    rarest, count = Counter(labels.tolist()).most_common()[-1]
    if count < 2:
        raise DataError(f"the label {rarest!r} has only one training example; add another, or validation examples")
    folds = StratifiedKFold(min(5, count), shuffle=True, random_state=seed)
    return {
        c: -float(cross_val_score(_logistic(c), rows, labels, cv=folds, scoring="neg_log_loss").mean())
        for c in STRENGTHS
    }


def _data(model: Embedder, examples: Sequence[Example]) -> tuple[Vectors, Labels]:
    return model.embed([example.question for example in examples]), np.array([_label(e) for e in examples], dtype=str)


def _label(example: Example) -> str:
    if not example.label:
        raise DataError(f"example {example.id} has no label to learn; add one, or leave the example out")
    return example.label


def _logistic(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=1000)
