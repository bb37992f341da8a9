"""Classifiers on frozen features, as files without pickle: linear, a forest, boosted trees.

head.json says what the features are, the classes and the kind. A linear head is in it whole: with x a text's vector,
`classes[argmax(weights @ x + bias)]`, and the softmax of the same numbers gives the probabilities. Trees are beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bakeoff.errors import MissingPackageError, ModelError
from bakeoff.files import write_json
from bakeoff.types import Embedder, Vectors

FILE = "head.json"
Probabilities = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Head:
    """A trained classifier."""

    features: str
    """Name of the embedder."""
    features_fingerprint: str
    classes: Sequence[str]
    probabilities: Callable[[Vectors], Probabilities]
    """[N, dimension] -> [N, classes]"""


def features(model: Embedder, texts: Sequence[str]) -> Vectors:
    """A unit vector a text, [N, dimension]; of one that does not fit the window, the mean of its pieces' by tokens."""
    cut = [_pieces(model, text) for text in texts]
    vectors = iter(model.embed([piece for pieces in cut for piece in pieces]))
    rows = np.zeros((len(cut), model.dimension), np.float32)
    for row, pieces in zip(rows, cut, strict=True):
        for piece, vector in zip(pieces, vectors, strict=False):
            row += vector * (model.count(piece) if len(pieces) > 1 else 1)
        if len(pieces) > 1:
            row /= max(float(np.linalg.norm(row)), 1e-12)
    return rows


def _pieces(model: Embedder, text: str) -> list[str]:
    if model.count(text) <= model.window:
        return [text]
    from semchunk.semchunk import chunk

    return cast(list[str], chunk(text, model.window, model.count, memoize=False)) or [""]


def save(folder: Path, kind: str, facts: Mapping[str, Any], fitted: Any) -> None:
    """Write what scikit-learn or XGBoost has fitted; `facts`: features, features_fingerprint, classes and more."""
    entries = {"kind": kind, **facts}
    if kind == "logistic":
        matrix, bias = fitted.coef_, fitted.intercept_
        if len(fitted.classes_) == 2:  # scikit-learn keeps one row for two classes; halves give the same probabilities
            matrix, bias = np.concatenate([-matrix, matrix]) / 2, np.concatenate([-bias, bias]) / 2
        entries |= {"weights": matrix.tolist(), "bias": bias.tolist()}
    elif kind == "forest":
        from safetensors.numpy import save_file

        save_file(_trees(fitted), folder / "forest.safetensors")
    else:
        fitted.get_booster().save_model(folder / "boosting.json")
    write_json(folder / FILE, entries)


def load(folder: Path) -> Head:
    """The head of a checkpoint; raises `ModelError` where there is none."""
    if not (folder / FILE).is_file():
        raise ModelError(f"{folder} holds no {FILE}; a classifier needs a checkpoint of the method 'head'")
    facts = json.loads((folder / FILE).read_text())
    readers = {"logistic": _linear, "forest": _forest, "boosting": _boosting}
    return Head(
        facts["features"],
        facts["features_fingerprint"],
        list(facts["classes"]),
        readers[facts.get("kind", "logistic")](folder, facts),
    )


def _linear(folder: Path, facts: Mapping[str, Any]) -> Callable[[Vectors], Probabilities]:
    weights, bias = np.array(facts["weights"]), np.array(facts["bias"])

    def probabilities(vectors: Vectors) -> Probabilities:
        scores = vectors @ weights.T + bias
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    return probabilities


def _trees(forest: Any) -> dict[str, NDArray[Any]]:
    """All trees in one row of nodes; a leaf points at itself, and at its row of `values`."""
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in ("left", "right", "feature", "threshold", "leaf")}
    roots, values, nodes, leaves = [], [], 0, 0
    for tree in (estimator.tree_ for estimator in forest.estimators_):
        own = np.arange(tree.node_count)
        is_leaf = tree.children_left < 0
        roots.append(nodes)
        columns["left"].append(np.where(is_leaf, own, tree.children_left) + nodes)
        columns["right"].append(np.where(is_leaf, own, tree.children_right) + nodes)
        columns["feature"].append(np.where(is_leaf, 0, tree.feature))
        columns["threshold"].append(tree.threshold)
        columns["leaf"].append(np.where(is_leaf, np.cumsum(is_leaf) - 1 + leaves, 0))
        found = tree.value[is_leaf, 0, :]
        values.append(found / found.sum(axis=1, keepdims=True))
        nodes, leaves = nodes + tree.node_count, leaves + int(is_leaf.sum())
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    whole = {name: array.astype(np.int32) for name, array in joined.items() if name != "threshold"}
    return {
        **whole,
        "threshold": joined["threshold"],
        "roots": np.array(roots, np.int32),
        "values": np.concatenate(values).astype(np.float32),
    }


def _forest(folder: Path, facts: Mapping[str, Any]) -> Callable[[Vectors], Probabilities]:
    try:
        from safetensors.numpy import load_file
    except ImportError as error:
        raise MissingPackageError("a head of kind forest", "safetensors", "tune") from error
    trees = load_file(folder / "forest.safetensors")

    def probabilities(vectors: Vectors) -> Probabilities:
        places = np.tile(trees["roots"], (len(vectors), 1))
        rows = np.arange(len(vectors))[:, None]
        while True:
            low = vectors[rows, trees["feature"][places]] <= trees["threshold"][places]
            further = np.where(low, trees["left"][places], trees["right"][places])
            if (further == places).all():
                return np.asarray(trees["values"][trees["leaf"][places]].mean(axis=1), dtype=np.float64)
            places = further

    return probabilities


def _boosting(folder: Path, facts: Mapping[str, Any]) -> Callable[[Vectors], Probabilities]:
    try:
        import xgboost
    except ImportError as error:
        raise MissingPackageError("a head of kind boosting", "xgboost", "boost") from error
    booster = xgboost.Booster(model_file=folder / "boosting.json")

    def probabilities(vectors: Vectors) -> Probabilities:
        found = np.asarray(booster.predict(xgboost.DMatrix(vectors)), dtype=np.float64)
        return found if found.ndim == 2 else np.stack([1 - found, found], axis=1)

    return probabilities
