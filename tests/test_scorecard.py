"""The scorecard: privacy, what was forgotten, what building took, and limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bakeoff.evaluation.comparison import Comparison
from bakeoff.evaluation.freshness import Freshness, Turn
from bakeoff.evaluation.money import Accounts
from bakeoff.evaluation.prices import Book
from bakeoff.evaluation.report.scorecard import Cell, cells, columns
from test_report import clear, made_up

STUDY = {
    "knowledge_change": {"estimate": -0.2, "low": -0.3, "high": -0.1, "n": 40},
    "text_loss_change": {"estimate": 0.02, "low": -0.01, "high": 0.05, "n": 12},
    "canaries": [{"repeats": 1, "exposure": 1.2}, {"repeats": 4, "exposure": 6.0}],
}
SETTINGS: dict[str, dict[str, Any]] = {
    "prompt": {"base": "smollm2-135m"},
    "few-shot": {"base": "http://127.0.0.1:8000/v1#m"},
    "rag": {"base": "https://api.example.com/v1#m", "corpus": "c"},
    "lora": {"base": "smollm2-135m", "tuned": "l"},
}


def shown(comparison: Comparison, system: str, limit: float | None = None) -> dict[str, Cell]:
    recommendation = replace(clear(), max_p95_seconds=limit)
    row = next(row for row in comparison.table() if row.system == system)
    trials = [trial for trial in comparison.trials if trial.system == system]
    bill = Accounts(comparison, Book()).bills[system]
    found = cells(comparison, recommendation, bill, row, trials)
    return {column.title: cell for column, cell in zip(columns(comparison, recommendation), found, strict=True)}


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    plain = made_up()
    machine = {**plain.machine, "build_seconds": {"lora": 5400.0}, "studies": {"lora": STUDY}}
    return replace(plain, run={"settings": SETTINGS}, machine=machine)


@pytest.mark.parametrize(
    ("system", "leaves", "weights", "deleted"),
    [
        ("prompt", Cell("no"), Cell("no"), Cell("yes", "nothing is kept")),
        ("few-shot", Cell("no"), Cell("no"), Cell("yes", "nothing is kept")),
        ("rag", Cell("yes", "api.example.com", bad=True), Cell("no"), Cell("yes", "bakeoff forget")),
        ("lora", Cell("no"), Cell("yes", "memorised 1 of 2 planted secrets", bad=True), Cell("by training again")),
        ("lora + rag", Cell("-"), Cell("-"), Cell("-")),  # a system of the user's own says nothing
    ],
)
def test_privacy_says_where_data_go_and_stay(
    comparison: Comparison, system: str, leaves: Cell, weights: Cell, deleted: Cell
) -> None:
    found = shown(comparison, system)
    assert found["data leave this host"] == leaves
    assert found["data in the weights"] == weights
    assert found["data can be deleted"] == deleted


def test_an_index_on_another_host_takes_the_data_of_those_who_search_it_there(comparison: Comparison) -> None:
    def leaves(store: str, system: str) -> Cell:
        there = replace(comparison, machine={**comparison.machine, "store": store})
        return shown(there, system)["data leave this host"]

    assert leaves("db.example.com", "rag") == Cell("yes", "api.example.com, db.example.com", bad=True)
    assert leaves("127.0.0.1", "rag") == Cell("yes", "api.example.com", bad=True)
    assert leaves("db.example.com", "few-shot") == Cell("no")


def test_what_was_forgotten_is_bad_news_where_it_is_sure(comparison: Comparison) -> None:
    found = shown(comparison, "lora")
    assert found["general questions, change"] == Cell("-20.0", "[-30.0, -10.0]", bad=True)
    assert found["general texts, nats more"] == Cell("+0.020", "[-0.010, +0.050]", bad=False)
    assert shown(comparison, "rag")["general texts, nats more"] == Cell("-")
    assert "general texts, nats more" not in shown(replace(comparison, machine={}), "lora")


@pytest.mark.parametrize(
    ("learning", "cell"),
    [
        (
            "It overfitted after epoch 2: the validation loss rose from 1.10 to 1.42. Epoch 2 was kept.",
            Cell("overfitted after epoch 2", bad=True),
        ),
        (
            "It learns the lessons by heart: their loss is 0.61 below validation's. More examples would help.",
            Cell("learns the lessons by heart", bad=True),
        ),
        ("It was still learning after epoch 3: more epochs may help.", Cell("was still learning after epoch 3")),
        (
            "The mean reward went from 0.10 in the first tenth of the steps to 0.42 in the last.",
            Cell("The mean reward went from 0.10 in the first tenth of the steps to 0.42 in the last"),
        ),
    ],
)
def test_a_training_that_overfitted_is_bad_news(comparison: Comparison, learning: str, cell: Cell) -> None:
    machine = {**comparison.machine, "studies": {"lora": {**STUDY, "learning": learning}}}
    studied = replace(comparison, machine=machine)
    assert shown(studied, "lora")["curve"] == cell
    assert shown(studied, "rag")["curve"] == shown(comparison, "lora")["curve"] == Cell("-")


def test_building_takes_hours_only_where_something_is_trained(comparison: Comparison) -> None:
    assert shown(comparison, "lora")["hours"] == Cell("1.5", "5400 s")
    assert shown(comparison, "rag")["hours"] == Cell("0")
    assert shown(replace(comparison, machine={}), "lora")["hours"] == Cell("-")


def test_limits_are_said_to_be_met_or_not(comparison: Comparison) -> None:
    assert shown(comparison, "prompt", 2.0)["inside the limit"] == Cell("yes", "at most 2 s")
    assert shown(comparison, "rag", 2.0)["inside the limit"] == Cell("no", "at most 2 s", bad=True)
    assert "inside the limit" not in shown(comparison, "rag")


def test_staleness_is_said_only_of_what_was_asked(comparison: Comparison) -> None:
    turn = Turn("q", "d", "edit", "old", "11", indexing=1.0, answering=0.5)
    found = {
        "prompt": Freshness("prompt", "never"),
        "lora": Freshness("lora", "retrain", 5400.0),
        "rag": Freshness("rag", "index", turns=(turn,)),
    }
    measured = replace(comparison, freshness=found)
    for system, follows in (("prompt", Cell("never")), ("lora", Cell("5400 s of training"))):
        cells = shown(measured, system)
        assert cells["stale after an edit"] == Cell("-", "not measured") and cells["follow in"] == follows
    rag = shown(measured, "rag")
    assert rag["stale after an edit"].text == "100.0" and rag["follow in"] == Cell("-", "no answer did")
