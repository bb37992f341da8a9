"""A trained head as an ONNX graph: the vectors of texts in, the probabilities of the classes out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from bakeoff.errors import MissingPackageError, ModelError
from bakeoff.models.graph import Graph, Port
from bakeoff.models.heads import FILE, Head, Probabilities
from bakeoff.types import Vectors

_TREES = "ai.onnx.ml"


def to_onnx(folder: Path, target: Path) -> None:
    """Write the head of a checkpoint. Input `vectors` float32 [N, dimension], output `probabilities` [N, classes].

    The metadata name the embedder, its fingerprint and the classes. Raises `ModelError` for boosted trees.
    """
    facts = json.loads((folder / FILE).read_text())
    graph = Graph("head")
    if facts["kind"] == "logistic":
        width = _linear(graph, facts)
    elif facts["kind"] == "forest":
        width = _forest(graph, folder)
    else:
        raise ModelError(
            f"{folder} holds boosted trees, which are not exported: its boosting.json is XGBoost's own portable form; "
            'take that, or tune the head with kind = "forest"'
        )
    noted = {
        "features": facts["features"],
        "features_fingerprint": facts["features_fingerprint"],
        "classes": json.dumps(facts["classes"], ensure_ascii=False),
    }
    size = len(facts["classes"])
    ports = [Port("vectors", "float32", ("N", width))], [Port("probabilities", "float32", ("N", size))]
    target.write_bytes(graph.model(*ports, {"": 17, _TREES: 3}, noted))


def load(file: Path) -> Head:
    """A head that was written by `to_onnx`, run by ONNX Runtime; raises `MissingPackageError` without the extra."""
    os.environ["ORT_DISABLE_TELEMETRY"] = os.environ["ORT_TELEMETRY_DISABLED"] = "1"  # as the embedder onnx does
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackageError("a head as ONNX", "onnxruntime", "onnx") from error
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    noted = session.get_modelmeta().custom_metadata_map

    def probabilities(vectors: Vectors) -> Probabilities:
        return np.asarray(session.run(None, {"vectors": vectors})[0], dtype=np.float64)

    return Head(noted["features"], noted["features_fingerprint"], json.loads(noted["classes"]), probabilities)


def _linear(graph: Graph, facts: dict[str, Any]) -> int | str:
    matrix = np.array(facts["weights"], dtype=np.float32)
    scores = graph.node("MatMul", ["vectors", graph.constant(matrix.T)])
    scores = graph.node("Add", [scores, graph.constant(np.array(facts["bias"], dtype=np.float32))])
    graph.node("Softmax", [scores], axis=1, name="probabilities")
    return int(matrix.shape[1])


def _forest(graph: Graph, folder: Path) -> int | str:
    from safetensors.numpy import load_file

    trees = load_file(folder / "forest.safetensors")
    nodes = len(trees["left"])
    tree = np.searchsorted(trees["roots"], np.arange(nodes), side="right") - 1
    start = trees["roots"][tree]
    own = np.arange(nodes) - start
    leaf = np.flatnonzero(trees["left"] == np.arange(nodes))
    # The trees compare floats with doubles; x <= t holds for the same floats if t is the next float below it.
    limits = trees["threshold"].astype(np.float32)
    limits = np.where(limits > trees["threshold"], np.nextafter(limits, np.float32(-np.inf)), limits)
    shares = trees["values"][trees["leaf"][leaf]] / len(trees["roots"])
    classes = shares.shape[1]
    modes = np.where(np.isin(np.arange(nodes), leaf), "LEAF", "BRANCH_LEQ")
    graph.node(
        "TreeEnsembleRegressor",
        ["vectors"],
        domain=_TREES,
        name="probabilities",
        n_targets=classes,
        nodes_treeids=tree.tolist(),
        nodes_nodeids=own.tolist(),
        nodes_featureids=trees["feature"].tolist(),
        nodes_values=limits.tolist(),
        nodes_modes=modes.tolist(),
        nodes_truenodeids=(trees["left"] - start).tolist(),
        nodes_falsenodeids=(trees["right"] - start).tolist(),
        target_treeids=np.repeat(tree[leaf], classes).tolist(),
        target_nodeids=np.repeat(own[leaf], classes).tolist(),
        target_ids=np.tile(np.arange(classes), len(leaf)).tolist(),
        target_weights=shares.ravel().tolist(),
    )
    return "D"
