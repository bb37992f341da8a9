from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from bakeoff.errors import ModelError
from bakeoff.evaluation.money import Accounts
from bakeoff.evaluation.prices import Book
from bakeoff.models.embedders.hashing import Embedder
from bakeoff.models.heads import features
from bakeoff.project import Project
from bakeoff.systems.classifier import Classifier
from bakeoff.tuning.methods.head import _made

ROWS = [
    ("Where is my parcel?", "delivery"),
    ("Has my order left?", "delivery"),
    ("When does the parcel arrive?", "delivery"),
]
ROWS += [("My lamp is broken", "repair"), ("The glass broke", "repair"), ("Can you mend a broken lamp?", "repair")]


def test_a_head_is_tuned_compared_and_classifies(tmp_path: Path) -> None:
    lines = [
        json.dumps({"id": f"{n}-{copy}", "question": q, "label": label})
        for copy in range(4)
        for n, (q, label) in enumerate(ROWS)
    ]
    (tmp_path / "questions.jsonl").write_text("\n".join(lines))
    (tmp_path / "bakeoff.toml").write_text(
        'base = "smollm2-135m"\n[systems.head]\ntype = "classifier"\ntuned = "intent"\n'
        '[tune.intent]\nmethod = "head"\nfeatures = "hashing"\n'
        '[compare]\nmetrics = ["exact"]\n[examples]\ntest = 0.4\nvalid = 0\n[corpus]\nembedder = "hashing"\n'
    )
    project = Project(tmp_path)
    (row,) = project.compare().table()
    assert row.right is not None and row.right.estimate > 0.9
    assert row.cost.measured > 0 and Accounts(project.rescore(), Book()).bills["head"].question > 0
    assert project.answer("Is the lamp broken?").text == "repair"
    long = "To whom it may concern. " * 150
    assert project.answer(long + "Is the lamp broken? Can you mend it? " * 60).text == "repair"
    assert project.answer(long + "Where is my parcel? Has my order left? " * 60).text == "delivery"


def test_a_text_longer_than_the_window_is_read_whole() -> None:
    model = Embedder(512)
    model.window = 12
    short, long = "the lamp is broken", "the lamp is broken and the parcel with the glass has not arrived. " * 9
    rows = features(model, [short, long, " " * 40])
    assert (rows[0] == model.embed([short])[0]).all()
    whole = Embedder(512).embed([long])[0]
    assert np.linalg.norm(rows[1]) == pytest.approx(1) and float(rows[1] @ whole) > 0.99
    assert features(model, []).shape == (0, 512)


def test_a_forest_leaves_the_filters_of_warnings_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakeoff.models.weights.cores", lambda: 4)
    before, interval = list(warnings.filters), sys.getswitchinterval()
    rows = np.random.default_rng(0).normal(size=(100, 16)).astype(np.float32)
    sys.setswitchinterval(1e-6)  # threads take turns at every step
    try:
        for seed in range(4):
            _made("forest", 1, seed).fit(rows, np.arange(100) % 5).predict_proba(rows)
    finally:
        sys.setswitchinterval(interval)
    assert list(warnings.filters) == before


def test_a_folder_without_a_head_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no head\.json"):
        Classifier(tmp_path)
