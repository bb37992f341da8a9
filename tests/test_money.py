"""What systems cost in dollars: every figure of one run recomputed by hand, and the price book."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bakeoff import config
from bakeoff.errors import ConfigError
from bakeoff.evaluation import ledger
from bakeoff.evaluation.comparison import Comparison
from bakeoff.evaluation.freshness import Freshness, Turn
from bakeoff.evaluation.money import Accounts, dollars
from bakeoff.evaluation.prices import Book, Tokens, book
from bakeoff.evaluation.recommend import recommend
from bakeoff.project import Project
from bakeoff.types import Answer, Example, Trial, Usage

ASKED = {
    "rag": (Usage(900, 600, 40, 1.0), Usage(1100, 0, 60, 2.0), Usage(1000, 600, 50, 1.5), Usage(1000, 0, 50, 1.5)),
    "lora": (Usage(50, 0, 10, 0.4), Usage(50, 0, 10, 0.8), Usage(50, 0, 10, 0.6), Usage(50, 0, 10, 0.6)),
    "api": (Usage(400, 100, 20, 9.0), Usage(400, 100, 20, 9.0), Usage(400, 100, 20, 9.0), Usage(400, 100, 20, 9.0)),
}
RIGHT = {"rag": (1, 1, 1, 0), "lora": (1, 1, 0, 0), "api": (1, 0, 0, 0)}
PRICES = Tokens(input=2.0, cached=0.5, output=8.0, source="bakeoff.toml")
BOOK = Book(hour=0.36, utilisation=0.5, models={"api": PRICES}, example=0.25, questions=10_000, wrong=0.01)


@pytest.fixture
def comparison() -> Comparison:
    trials = [
        Trial(system, f"q{i}", Answer("x", usage=usage), 1.0)
        for system, used in ASKED.items()
        for i, usage in enumerate(used)
    ]
    scores = {(name, f"q{i}"): {"recall": float(one)} for name, right in RIGHT.items() for i, one in enumerate(right)}
    return Comparison(
        systems=("rag", "lora", "api"),
        metrics=("recall",),
        examples={f"q{i}": Example(f"q{i}", "?", ("x",)) for i in range(4)},
        trials=tuple(trials),
        scores=scores,
        run={"settings": {"rag": {"corpus": "c"}, "lora": {"tuned": "t"}, "api": {"base": "https://host/v1#big"}}},
        machine={
            "build_seconds": {"lora": 1000.0},
            "lessons": {"lora": 80},
            "effort": {
                "indexing": 100.0,
                "documents": 50,
                "held": 25,
                "drafting": 240.0,
                "examples": 120,
                "training": {"t": 1000.0},
            },
        },
    )


def test_every_figure_of_a_run_is_what_comes_out_by_hand(comparison: Comparison) -> None:
    accounts = Accounts(comparison, BOOK)
    rag, lora, api = (accounts.bills[name] for name in ("rag", "lora", "api"))
    # A second of the machine is 0.36 / 3600 = $0.0001; half idle, one that answers is $0.0002.
    assert rag.question == pytest.approx(1.5 * 0.0002) and rag.band == pytest.approx((1.5 * 0.0001, 1.5 * 0.001))
    assert lora.question == pytest.approx(0.6 * 0.0002)
    # 400 tokens at $2, 100 at $0.50 and 20 at $8 for a million; the nine seconds it took are not paid.
    assert api.question == pytest.approx((800 + 50 + 160) / 1e6) and api.band == (api.question, api.question)
    assert rag.per_right == pytest.approx(0.0003 / 0.75) and lora.per_right == pytest.approx(0.00012 / 0.5)
    # Training 1,000 s and indexing 50 s without idle time; 80 lessons at 25 cents, two thirds of what 240 s drafted.
    assert (lora.training, lora.indexing, lora.labelling) == pytest.approx((0.1, 0.0, 20.0))
    assert lora.drafting == pytest.approx(0.016) and lora.build == pytest.approx(20.116) and rag.drafting == 0.0
    assert (rag.training, rag.indexing, rag.labelling) == pytest.approx((0.0, 0.005, 0.0))
    # 25 documents are held, and 50 took 100 s. To follow one changed document: 2 s; the LoRA is trained again.
    assert rag.refresh == pytest.approx(0.0002) and lora.refresh == pytest.approx(0.1) and api.refresh == 0.0
    # Over 10,000 questions, a quarter of which rag answers wrongly at a cent each.
    assert rag.at(10_000, 0.01) == pytest.approx(0.0003 + 0.005 / 10_000 + 0.25 * 0.01)
    # The evaluation: 4 questions of each, and 4 examples.
    assert accounts.evaluation() == pytest.approx(4 * (0.0003 + 0.00012 + 0.00101) + 4 * 0.25)
    # The LoRA cost 20.116 - 0.005 more to build, and saves 0.00012, 0.00024, 0.00018 and 0.00018: mean 0.00018,
    # standard deviation 0.0000489898, t(3) = 3.182446, so 0.00018 - 0.00007795 and + 0.00007795.
    (payback,) = accounts.paybacks
    assert (payback.system, payback.other) == ("lora", "rag") and payback.build == pytest.approx(20.111)
    assert payback.questions == pytest.approx((20.111 / 0.00018, 20.111 / 0.00025795, 20.111 / 0.00010205), rel=1e-4)
    # Wrong answers counted, rag at 0.0003005 a question beats lora at 0.0021316 at any value; and api above none.
    worth = accounts.worth("rag")
    assert worth and (worth.low, worth.high) == (0.0, None)
    # lora is the cheapest at no value, as it costs more and is worse.
    assert accounts.worth("lora") is None


def test_following_the_documents_is_part_of_the_bill_and_of_the_break_even(comparison: Comparison) -> None:
    machine: Mapping[str, Any] = {**comparison.machine, "retraining": {"lora": 400.0}}
    accounts = Accounts(replace(comparison, machine=machine), replace(BOOK, changes=20))
    rag, lora, api = (accounts.bills[name] for name in ("rag", "lora", "api"))
    # Twenty times 2 s of indexing, twenty times the 400 s that the last training took, at $0.0001 a second.
    assert (rag.upkeep, lora.upkeep, api.upkeep) == pytest.approx((0.004, 0.8, 0.0))
    assert rag.at(10_000, 0) == pytest.approx(0.0003 + (0.005 + 0.004) / 10_000)
    # Each question saves 0.00018 less its share of 0.796, which is 0.0000796 of 10,000.
    (payback,) = accounts.paybacks
    assert payback.build == pytest.approx(20.111) and payback.saving.estimate == pytest.approx(0.00018 - 0.0000796)
    assert payback.questions[0] == pytest.approx(20.111 / 0.0001004)
    # What follows its documents often enough never pays back.
    (never,) = Accounts(replace(comparison, machine=machine), replace(BOOK, changes=100)).paybacks
    assert never.questions == (None, None, None)
    # Where the command timed it, a change costs what it took, not the mean of the first indexing.
    timed = Freshness("rag", "index", turns=(Turn("q", "d", "edit", "new", "12", indexing=5.0, answering=1.0),))
    assert Accounts(replace(comparison, freshness={"rag": timed}), BOOK).bills["rag"].refresh == pytest.approx(0.0005)


def test_the_choice_flips_at_the_value_of_a_wrong_answer_that_is_said(comparison: Comparison) -> None:
    accounts = Accounts(comparison, replace(BOOK, questions=10_000_000, example=0.0))
    # Now lora costs 0.0001200116 and rag 0.0003000005, and rag is right on a quarter more.
    worth = accounts.worth("rag")
    assert worth and worth.below == "lora"
    assert worth.low == pytest.approx((0.0003 + 0.005 / 1e7 - 0.00012 - 0.116 / 1e7) / 0.25)
    assert f"costs less than {dollars(worth.low)}: then lora" in accounts.flips("rag")[0]
    other = accounts.worth("lora")
    assert other and other.above == "rag" and other.high == pytest.approx(worth.low)


def test_never_is_said_where_a_saving_is_none(comparison: Comparison) -> None:
    dear = replace(BOOK, models={"rag": Tokens(0.01, 0.01, 0.01, "bakeoff.toml")})
    (payback,) = Accounts(comparison, dear).paybacks
    assert payback.questions == (None, None, None)
    unclear = replace(
        comparison,
        trials=tuple(
            replace(one, answer=replace(one.answer, usage=replace(one.answer.usage, seconds=5.0)))
            if (one.system, one.example_id) == ("lora", "q0")
            else one
            for one in comparison.trials
        ),
    )
    (payback,) = Accounts(unclear, BOOK).paybacks
    assert payback.questions[0] is None and payback.questions[1] and payback.questions[2] is None


def test_what_is_built_cheaper_and_saves_pays_from_the_first_question(comparison: Comparison) -> None:
    machine: Mapping[str, Any] = {**comparison.machine, "build_seconds": {"lora": 20.0}, "lessons": {}}
    (payback,) = Accounts(replace(comparison, machine=machine), BOOK).paybacks
    assert payback.questions == (0.0, 0.0, 0.0)


def test_dollars_decide_where_a_price_is_known_and_tokens_where_none_is(comparison: Comparison) -> None:
    # By tokens, the endpoint is cheaper than rag; in dollars, at these prices, it is dearer.
    assert "prompt-token equivalents" in recommend(comparison, delta=0.9).reasons[1]
    said = recommend(comparison, delta=0.9, accounts=Accounts(comparison, replace(BOOK, said=True)))
    assert "$0.120 for 1,000 questions [$0.0600, $0.600] (computed)" in said.reasons[1]
    assert "prompt-token" in recommend(comparison, accounts=Accounts(comparison, BOOK)).reasons[1]


def test_the_price_book_knows_models_of_known_endpoints_and_counts_cached_tokens_as_cached(
    comparison: Comparison,
) -> None:
    pytest.importorskip("genai_prices")
    settings = {
        "rag": {"base": "https://api.openai.com/v1#gpt-4o-mini"},
        "lora": {"base": "http://localhost:8000/v1#mine"},
        "api": {"base": "https://api.openai.com/v1#no-such-model"},
    }
    asked = replace(comparison, run={"settings": settings})
    found = book(asked, config.Costs())
    assert found.said and not found.hour_said
    mini = found.models["rag"]
    assert 0 < mini.cached < mini.input < mini.output and mini.source.startswith("genai-prices ")
    assert set(found.unknown) == {"lora", "api"} and "does not know 'no-such-model'" in found.unknown["api"]
    said = book(asked, config.Costs(models={"mine": {"input": 1.0, "cached": 0.5, "output": 2.0}}))
    assert said.models["lora"] == Tokens(1.0, 0.5, 2.0, "bakeoff.toml")
    assert not book(comparison, config.Costs()).said  # that host has no price


def test_without_the_price_book_a_model_of_an_endpoint_says_how_to_get_it(
    comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    found = book(comparison, config.Costs())
    assert "pip install 'bakeoff[openai]'" in found.unknown["api"] and not found.models


@pytest.mark.parametrize(
    ("costs", "says"),
    [
        ({"models": {"m": {"input": 1.0}}}, r"\[costs.models\] 'm' must be a table of input, cached and output"),
        ({"models": {"m": {"input": 1.0, "cached": -1.0, "output": 1.0}}}, "prices are numbers from 0 on"),
        ({"models": {"m": {"input": "1", "cached": 1.0, "output": 1.0}}}, "prices are numbers from 0 on"),
        ({"device_hour": -1.0}, r"\[costs\] device_hour is below 0"),
        ({"utilisation": 0.0}, "utilisation lies above 0"),
        ({"questions": 0.0}, "questions from 1 on"),
        ({"changes": -1.0}, r"\[costs\] changes is below 0"),
    ],
)
def test_prices_that_cannot_be_are_refused(comparison: Comparison, costs: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        book(comparison, config.Costs(**costs))


def test_a_project_notes_what_building_took_and_reports_it(project: Path) -> None:
    toml = project / "bakeoff.toml"
    toml.write_text(toml.read_text() + "[costs]\ndevice_hour = 7.2\n")
    one = Project(project)
    one.ingest()
    first = ledger.read(project)
    assert first.documents == len(one.corpus.store.ids()) and first.indexing > 0
    one.ingest()
    assert ledger.read(project) == first  # nothing was read again
    comparison = one.compare(limit=6)
    paths = one.report("latest", comparison)[1]
    money = json.loads(paths["json"].read_text())["money"]
    assert money["prices"]["device_hour"] == {"value": 7.2, "tag": "given"}
    rag = money["systems"]["rag"]
    assert rag["indexing"]["value"] == pytest.approx(first.indexing * 7.2 / 3600)
    assert rag["refresh"]["value"] == pytest.approx(first.indexing / first.documents * 7.2 / 3600)
    assert money["systems"]["zero-shot"]["indexing"]["value"] == 0.0


def test_trainings_that_were_thrown_away_and_checkpoints_it_started_from_count(tmp_path: Path) -> None:
    for name, seconds in (("first", 60.0), ("second", 30.0), ("bought", 500.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "checkpoint.json").write_text(json.dumps({"seconds": seconds}))
    study = {"text_loss_change": 1, "knowledge_change": 2, "canaries": [], "verdict": "?"}
    (tmp_path / "second" / "study.json").write_text(json.dumps(study))
    for name, seconds in (("first", 60.0), ("second", 25.0), ("second", 30.0)):
        ledger.note(tmp_path, "tune", seconds, name=name)
    trained = {"chain": [tmp_path / "second", tmp_path / "first"], "own": [tmp_path / "bought"]}
    assert ledger.training_seconds(trained, ledger.read(tmp_path)) == {"chain": 115.0, "own": 500.0}
    assert ledger.retraining_seconds(trained) == {"chain": 90.0, "own": 500.0}
    assert ledger.studies(trained) == {"chain": {"text_loss_change": 1, "knowledge_change": 2, "canaries": []}}


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "$0"), (1234.5, "$1,234"), (1.234, "$1.23"), (0.04217, "$0.0422"), (12.34, "$12.3")],
)
def test_dollars_have_three_digits(value: float | None, text: str) -> None:
    assert dollars(value) == text
