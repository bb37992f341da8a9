"""The recommendation: clear, leaning, or honest about not knowing."""

from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np
import pytest

from bakeoff.errors import ConfigError
from bakeoff.evaluation.comparison import Comparison
from bakeoff.evaluation.costs import BreakEven, cheaper, cost, prompt_tokens
from bakeoff.evaluation.money import Accounts
from bakeoff.evaluation.prices import Book, Tokens
from bakeoff.evaluation.recommend import recommend
from bakeoff.evaluation.stats import Interval
from bakeoff.types import Answer, Example, Trial, Usage

COSTS = {"prompt": 100, "rag": 700, "lora-rag": 720, "big": 3000}


def synthetic(
    rates: Mapping[str, float],
    n: int,
    *,
    seed: int = 0,
    shared: float = 0.0,
    seconds: Mapping[str, float] | None = None,
) -> Comparison:
    """Systems that are right on exactly the share `rates`, on random questions; `shared` of their luck is common."""
    draw = np.random.default_rng(seed)
    luck = draw.random(n)
    trials, scores = [], {}
    for name, rate in rates.items():
        own = np.where(draw.random(n) < shared, luck, draw.random(n))
        right = np.zeros(n)
        right[np.argsort(own)[: round(rate * n)]] = 1
        for i in range(n):
            answer = Answer("x", usage=Usage(COSTS[name], 0, 0, 0.1))
            trials.append(Trial(name, f"q{i}", answer, (seconds or {}).get(name, 1.0)))
            scores[name, f"q{i}"] = {"recall": float(right[i])}
    examples = {f"q{i}": Example(f"q{i}", "?", ("x",)) for i in range(n)}
    return Comparison(tuple(rates), ("recall",), examples, tuple(trials), scores)


def test_a_clear_winner_is_shipped() -> None:
    choice = recommend(synthetic({"prompt": 0.3, "rag": 0.75, "big": 0.5}, 200))
    assert (choice.system, choice.confidence, choice.more_questions) == ("rag", "CLEAR", 0)
    assert len(choice.reasons) == 3
    text = str(choice)
    assert text.startswith("Ship rag: its recall is 75.0 [68.6, 80.5], the highest; ")
    assert "(cheaper but significantly worse: prompt)" in text
    assert "then prompt" in choice.flips_if[0]
    assert "\n" not in text


def test_inside_limits_the_highest_is_that_of_those_inside() -> None:
    choice = recommend(synthetic({"prompt": 0.4, "rag": 0.5, "big": 0.9}, 100), max_prompt_tokens=500)
    assert choice.outside == ("big", "rag")
    assert "the highest within the limits; " in str(choice)
    two = recommend(synthetic({"rag": 0.7, "lora-rag": 0.4, "prompt": 0.1, "big": 0.9}, 100), max_prompt_tokens=1000)
    assert two.system == "rag" and "the highest within the limits" in two.reasons[0]


def test_the_cheaper_of_two_equals_is_shipped() -> None:
    choice = recommend(synthetic({"rag": 0.748, "big": 0.75, "prompt": 0.4}, 2000, shared=0.9))
    assert (choice.system, choice.confidence) == ("rag", "CLEAR")
    assert "inside the 3 points allowed" in choice.reasons[0]
    assert choice.flips_if[1].endswith("then big")


def test_the_dearer_system_is_shipped_when_it_is_better_by_more_than_delta() -> None:
    comparison = synthetic({"prompt": 0.6, "rag": 0.68}, 3000)
    assert recommend(comparison).system == "rag"
    assert recommend(comparison, delta=0.2).system == "prompt"


def test_costs_within_a_tenth_do_not_decide() -> None:
    choice = recommend(synthetic({"rag": 0.74, "lora-rag": 0.75}, 3000, shared=0.95))
    assert (choice.system, choice.confidence) == ("lora-rag", "CLEAR")


def test_few_questions_and_a_tie_with_a_cheaper_one_are_undecided() -> None:
    choice = recommend(synthetic({"prompt": 0.69, "rag": 0.70}, 60))
    assert (choice.system, choice.confidence, choice.between) == (None, "UNDECIDED", ("rag", "prompt"))
    assert choice.more_questions is not None
    assert choice.more_questions > 500
    assert str(choice).startswith("Undecided between rag and prompt: about ")
    assert len(choice.reasons) == 3


def test_a_handful_of_questions_never_makes_it_clear() -> None:
    for seed in range(10):
        choice = recommend(synthetic({"prompt": 1.0, "rag": 0.8, "big": 0.6}, 5, seed=seed))
        assert choice.confidence != "CLEAR"


def test_a_probable_winner_is_leant_towards_and_its_rival_named() -> None:
    choice = recommend(synthetic({"prompt": 0.52, "rag": 0.64}, 100, seed=4))
    assert (choice.system, choice.confidence, choice.between) == ("rag", "LEAN", ("rag", "prompt"))
    assert choice.more_questions is not None
    assert f"It may yet be prompt: about {choice.more_questions:,} more questions would settle it." in str(choice)
    assert "not shown to be as good" in choice.reasons[1]


def test_as_many_more_questions_as_promised_mostly_settle_it() -> None:
    rates = {"prompt": 0.52, "rag": 0.64}
    more = recommend(synthetic(rates, 100, seed=4)).more_questions
    assert more is not None
    settled = [recommend(synthetic(rates, 100 + more, seed=seed)).confidence == "CLEAR" for seed in range(30)]
    assert np.mean(settled) > 0.7


def test_what_is_called_clear_is_seldom_wrong() -> None:
    draw = np.random.default_rng(8)
    wrong, clear = 0, 0
    for seed in range(150):
        rates = {"prompt": 0.6, "rag": 0.68}
        sample = {name: draw.binomial(150, rate) / 150 for name, rate in rates.items()}
        choice = recommend(synthetic(sample, 150, seed=seed))
        clear += choice.confidence == "CLEAR"
        wrong += choice.confidence == "CLEAR" and choice.system == "prompt"
    assert clear > 20
    assert wrong / 150 < 0.05


def test_a_system_over_the_limit_is_out_and_said_so() -> None:
    comparison = synthetic({"rag": 0.6, "big": 0.9}, 200, seconds={"big": 8.0})
    assert recommend(comparison).system == "big"
    choice = recommend(comparison, max_p95_seconds=5)
    assert (choice.system, choice.confidence) == ("rag", "CLEAR")
    assert "inside the limit of 5.00 s at p95, unlike big" in choice.reasons[2]
    assert "8.00 s at p95 are allowed: then look at big" in choice.flips_if
    nobody = recommend(comparison, max_p95_seconds=0.5)
    assert (nobody.system, str(nobody)) == (None, "Undecided: no system stays within 500 ms at p95.")


def test_a_system_over_the_budget_is_out_and_said_so() -> None:
    comparison = synthetic({"rag": 0.6, "big": 0.9}, 200, seconds={"big": 8.0})
    choice = recommend(comparison, max_prompt_tokens=1000)
    assert (choice.system, choice.outside) == ("rag", ("big",))
    assert "inside the limit of 1,000 prompt-token equivalents a question, unlike big" in choice.reasons[2]
    both = recommend(comparison, max_p95_seconds=5, max_prompt_tokens=1000)
    assert any(
        flip.startswith("8.00 s at p95 and 3,000 prompt-token equivalents a question are") for flip in both.flips_if
    )


def test_a_budget_in_dollars_needs_a_price() -> None:
    comparison = synthetic({"rag": 0.6, "big": 0.9}, 200)
    prices = {"big": Tokens(1.0, 1.0, 1.0, "test"), "rag": Tokens(1.0, 1.0, 1.0, "test")}
    priced = Accounts(comparison, Book(models=prices, said=True))
    choice = recommend(comparison, max_dollars=2.0, accounts=priced)
    assert (choice.system, choice.outside) == ("rag", ("big",))
    assert "$3.00 for 1,000 questions are allowed: then look at big" in choice.flips_if
    with pytest.raises(ConfigError, match=r"give \[costs\] device_hour"):
        recommend(comparison, max_dollars=2.0, accounts=Accounts(comparison, Book()))


def test_one_system_has_no_rivals() -> None:
    assert recommend(synthetic({"rag": 0.6}, 20)).confidence == "CLEAR"


def test_without_scores_nothing_is_recommended() -> None:
    comparison = synthetic({"rag": 0.6, "big": 0.7}, 10)
    unscored = replace(comparison, scores={key: {} for key in comparison.scores})
    choice = recommend(unscored)
    assert (choice.system, choice.confidence, choice.more_questions) == (None, "UNDECIDED", None)
    assert "nan" not in str(unscored).lower()


def test_questions_on_one_document_do_not_settle_it() -> None:
    comparison = synthetic({"prompt": 0.3, "rag": 0.75}, 60)
    grouped = {id: replace(example, group="the only one") for id, example in comparison.examples.items()}
    assert recommend(comparison).confidence == "CLEAR"
    assert recommend(replace(comparison, examples=grouped)).confidence != "CLEAR"


def test_costs_come_from_tokens_and_failed_answers_do_not_make_them_low() -> None:
    assert prompt_tokens(Usage(fresh=100, cached=50, output=10)) == 100 + 5 + 50
    good = Trial("a", "1", Answer("x", usage=Usage(100, 0, 10, 2.0)), 2.0)
    bad = Trial("a", "2", Answer("", "error"), 0.0, "ValueError: no")
    assert asdict(cost([good, bad])) == {"computed": 150, "measured": 2.0, "fresh": 100, "cached": 0, "output": 10}
    assert cost([bad]).computed == 0


@pytest.mark.parametrize(("other", "less"), [(109, False), (112, True)])
def test_cheaper_means_by_more_than_a_tenth(other: int, less: bool) -> None:
    assert cheaper(100, other) is less


@pytest.mark.parametrize(
    ("rag", "lora", "says"),
    [
        ((2.0, 2.2), (0.9, 1.1), "took 300 s to train and pays it back after 2"),
        ((1.0, 1.2), (2.0, 2.1), "never pays it back against rag: it is no quicker"),
        ((0.5, 1.6), (0.5, 1.6), ", never] against rag"),
    ],
)
def test_training_is_paid_back_by_what_each_question_saves_or_never(
    rag: tuple[float, float], lora: tuple[float, float], says: str
) -> None:
    draw = np.random.default_rng(2)
    trials = [
        Trial(name, f"q{i}", Answer("x", usage=Usage(100, 0, 10, draw.uniform(*busy))), 1.0)
        for name, busy in (("rag", rag), ("lora", lora))
        for i in range(60)
    ]
    scores = {(name, f"q{i}"): {"recall": float(i % 2)} for name in ("rag", "lora") for i in range(60)}
    examples = {f"q{i}": Example(f"q{i}", "?", ("x",)) for i in range(60)}
    machine = {"build_seconds": {"lora": 300.0}}
    comparison = Comparison(("rag", "lora"), ("recall",), examples, tuple(trials), scores, machine=machine)
    (found,) = comparison.break_evens()
    _, low, high = found.questions
    truth = 2 * 300 / max(1e-9, sum(rag) - sum(lora))
    assert low is None or low <= truth <= (high or np.inf)
    assert (found.system, found.other) == ("lora", "rag")
    assert says in str(found) and says in str(comparison)
    assert not replace(comparison, machine={}).break_evens()


def test_a_system_that_is_quicker_and_much_worse_pays_nothing_back() -> None:
    found = BreakEven("lora", "rag", 60.0, Interval(1.0, 0.8, 1.2, 40), gap=-0.4)
    assert "at -40.0 points of score that saves nothing" in str(found)
    assert "pays it back after 60 questions" in str(replace(found, gap=-0.05))
