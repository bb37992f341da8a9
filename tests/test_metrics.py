"""Metrics: what counts as right, and how well retrieval found the evidence."""

import importlib
import math
import random
from collections import Counter
from dataclasses import replace
from types import ModuleType

import pytest

from bakeoff import plugins
from bakeoff.evaluation.metrics import (
    _labels,
    choice,
    citation_recall,
    citations,
    exact,
    f1,
    facts,
    macro_f1,
    mcc,
    mrr,
    ndcg,
    recall,
    retrieval_recall,
    support,
)
from bakeoff.evaluation.metrics._text import spoken, tokens
from bakeoff.retrieval.citing import cite
from bakeoff.types import Answer, Chunk, Citation, Evidence, Example, Hit, Step

GRADED = (recall, exact, f1)


def example(*references: str, answerable: bool = True, label: str = "") -> Example:
    return Example("q", "What is the capital of France?", references, answerable=answerable, label=label)


def graded(said: str, *references: str) -> float | None:
    return recall.score(example(*references), Answer(said))


def hit(text: str, document: str = "d", start: int = 0) -> Hit:
    return Hit(Chunk(f"{document}#{start}", document, text, start, start + len(text)), 1.0)


# ---------------------------------------------------------------- normalising


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,200", "1200.0"),
        ("twelve", "12"),
        ("twenty-one", "21"),
        ("twenty one", "21"),
        ("the third", "3rd"),
        ("20th century", "twentieth century"),
        ("1.2 million", "1,200,000"),
        ("three hundred", "300"),
        ("$5", "5 dollars"),
        ("€ 7.50", "7.5 euros"),
        ("$1.2 million", "1,200,000 dollars"),
        ("30%", "thirty percent"),
        ("30 per cent", "30 %"),
        ("5 km", "five kilometres"),
        ("5km", "5 kilometers"),
        ("90 min", "90 minutes"),
        ("10 seconds", "10 s"),
        ("2020-03-05", "5 March 2020"),
        ("5 Mar 2020", "5th March, 2020"),
        ("Röntgen's", "Rontgen"),
        ("U.S.A.", "USA"),
        ("8.5.", "8.5"),
        ("an apple", "The Apple!"),
        ("isn’t", "is not"),
    ],
)
def test_the_same_fact_in_other_clothes_is_the_same_tokens(one: str, other: str) -> None:
    assert tokens(one) == tokens(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It is 8.5.", "It is 85."),
        ("❶ Ann", "Ann"),
        ("1.2", "12"),
        ("1200", "120"),
        ("5 km", "5 kg"),
        ("2020-03-05", "2020-05-03"),
        ("0", "o"),
    ],
)
def test_other_facts_are_other_tokens(one: str, other: str) -> None:
    assert sorted(tokens(one)) != sorted(tokens(other))


def test_the_second_is_an_ordinal_unless_a_number_stands_before_it() -> None:
    assert tokens("the second plan") == ("2", "plan")
    assert tokens("1 second") == ("1", "s")


def test_an_article_that_is_the_whole_answer_stays() -> None:
    assert graded("A", "A") == 1
    assert graded("B", "A") == 0


@pytest.mark.parametrize(
    "said", ["<think>Lyon? No.</think> Paris [1]", "Lyon? No.</think>Paris[2, 3]", "Paris [1][2]<think>Or Lyon"]
)
def test_thinking_and_citation_marks_are_not_spoken(said: str) -> None:
    assert spoken(said) == "Paris"


# ---------------------------------------------------------------- right or wrong


@pytest.mark.parametrize("metric", GRADED)
def test_refusing_is_right_exactly_where_the_documents_do_not_say(metric: ModuleType) -> None:
    refusal = Answer("I don't know.", "abstained")
    assert metric.score(example("Paris"), refusal) == 0
    assert metric.score(example(answerable=False), refusal) == 1
    assert metric.score(example(answerable=False), Answer("Paris")) == 0
    assert metric.score(example(answerable=False), Answer("", "error")) == 0
    assert metric.score(example("Paris"), Answer("Paris", "fallback")) == 1


@pytest.mark.parametrize("metric", GRADED)
def test_without_a_reference_the_label_counts_and_without_both_nothing_is_scored(metric: ModuleType) -> None:
    assert metric.score(example(label="refund"), Answer("Refund")) == 1
    assert metric.score(example(), Answer("Paris")) is None


@pytest.mark.parametrize("metric", GRADED)
def test_the_best_reference_counts(metric: ModuleType) -> None:
    assert metric.score(example("Lutetia", "Paris"), Answer("Paris")) == 1


def test_recall_forgives_chatting_and_the_others_do_not() -> None:
    chatty = Answer("The capital of France is, as everybody knows, the beautiful city of Paris [1].")
    assert recall.score(example("Paris"), chatty) == 1
    assert exact.score(example("Paris"), chatty) == 0
    assert f1.score(example("Paris"), chatty) == pytest.approx(2 / 12)


def test_recall_is_the_share_of_the_reference_that_was_said() -> None:
    assert graded("Conrad", "Wilhelm Conrad Röntgen") == pytest.approx(1 / 3)
    assert graded("twelve apple", "12 apples") == 1
    assert graded("", "Paris") == 0


@pytest.mark.parametrize(
    ("said", "reference", "score"),
    [
        ("the Bank, England", "the Bank of England", 1),
        ("guilty", "not guilty", 0.5),
        ("There is a fee.", "no fee", 0.5),
        ("of", "of", 1),
        ("1 May", "the first of May", 1),
        ("The first day of the leave year is 2022-01-01.", "the first of May", 0.25),
        ("They met on 1 March.", "1 May", 0.25),
    ],
)
def test_recall_counts_words_that_matter_and_halves_for_another_month(said: str, reference: str, score: float) -> None:
    assert graded(said, reference) == score


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ("It is not Paris.", 0),
        ("It isn't Paris", 0),
        ("It is not Paris but Lyon", 0),
        ("It is not Lyon but Paris.", 1),
        ("No, it is not. Paris it is.", 1),
        ("Not Paris? Yes, Paris!", 1),
        ("not only Paris", 1),
    ],
)
def test_what_is_denied_is_not_said(said: str, score: float) -> None:
    assert graded(said, "Paris") == score


def test_a_reference_that_denies_is_matched_as_it_is() -> None:
    assert graded("He was found not guilty.", "not guilty") == 1


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ("Paris, Lyon or Marseille", 0),
        ("The capital is Lyon, Paris, or Marseille.", 0),
        ("It is either Paris or Lyon.", 0),
        ("Paris, also called the City of Light or the City of Love by its visitors from abroad", 1),
        ("Paris (or Lutetia)", 1),
        ("Paris. Do you need trains, hotels or restaurants?", 1),
        ("Paris, Lyon and Marseille", 1),
    ],
)
def test_a_list_of_alternatives_is_no_answer(said: str, score: float) -> None:
    assert graded(said, "Paris") == score


def test_another_number_is_not_right_even_if_the_rest_agrees() -> None:
    assert (graded("on 5 March 2019", "5 March 2020") or 0) < 0.5
    assert (graded("in March 2020", "5 March 2020") or 0) > 0.5
    assert graded("5 March 2020, at 9 o'clock", "5 March 2020") == 1


def test_long_references_are_compared_by_content_words() -> None:
    reference = "Employees must submit their expenses within thirty days of the trip, and their managers approve them"
    assert graded(
        "Expense reports: submitted within 30 days of trips; the manager approves.", reference
    ) == pytest.approx(7 / 9, abs=0.12)
    assert (graded("and the of within their", reference) or 0) < 0.2


# ---------------------------------------------------------------- support


def test_copied_answers_are_supported_and_invented_ones_are_not() -> None:
    hits = (hit("Members of staff take 30 days of leave a year, says Anna Schmidt."),)
    copied = support.score(example(), Answer("Staff take 30 days of leave a year [1].", hits=hits))
    invented = support.score(example(), Answer("Cats sleep for 16 hours, says Carl.", hits=hits))
    assert copied == 1
    assert invented is not None
    assert invented < 0.1


@pytest.mark.parametrize("wrong", ["Staff take 40 days of leave a year", "Members of staff, says Bert Schmidt"])
def test_one_wrong_number_or_name_costs_more_than_its_words(wrong: str) -> None:
    hits = (hit("Members of staff take 30 days of leave a year, says Anna Schmidt."),)
    guarded = support.score(example(), Answer(wrong, hits=hits))
    assert guarded is not None
    assert guarded < 0.45


def test_how_a_reply_begins_does_not_count_against_its_support() -> None:
    hits = (Hit(Chunk("d#0", "d", "The mill opened in 2002 near the river.", 0, 39), 1.0),)
    scores = {
        text: support.score(Example("q", "When did it open?"), Answer(text, hits=hits))
        for text in ("2002", "The answer is: 2002", "According to the passages, 2002", "The answer is: 2003")
    }
    assert scores["2002"] == scores["The answer is: 2002"] == scores["According to the passages, 2002"] == 1.0
    assert scores["The answer is: 2003"] == 0.0


def test_support_of_nothing_is_not_scored() -> None:
    hits = (hit("Paris is the capital."),)
    assert support.score(example("Paris"), Answer("Paris")) is None
    assert support.score(example("Paris"), Answer("I don't know.", "abstained", hits=hits)) is None
    assert support.score(example("Paris"), Answer("Paris", hits=hits)) == 1
    assert support.score(example("Paris"), Answer("The answer is: Yes.", hits=hits)) is None


def test_a_number_is_found_with_its_million_and_the_mark_of_an_item_is_no_number() -> None:
    hits = (Hit(Chunk("a", "a", "It has 7.3 billion masks and a lamp, 2.3 a head.", 0, 48), 1.0),)
    asked = Example("q", "What is there?")
    for said in ("7.3 billion masks", "The answer is: 7.3 billion.", "1. masks and a lamp", "2.3."):
        assert (support.score(asked, Answer(said, hits=hits)) or 0) > 0.6, said
    assert support.score(asked, Answer("7.3 million masks", hits=hits)) == 0


# ---------------------------------------------------------------- retrieval


def sought(*evidence: Evidence) -> Example:
    return replace(example("x"), evidence=evidence)


def test_evidence_counts_by_span_or_by_quote_whatever_the_chunking() -> None:
    text = "a" * 100
    half = (hit(text, start=50),)
    assert retrieval_recall.score(sought(Evidence("d", 40, 60)), Answer("", hits=half)) == 1
    assert retrieval_recall.score(sought(Evidence("d", 30, 60)), Answer("", hits=half)) == 0
    assert retrieval_recall.score(sought(Evidence("other", 50, 60)), Answer("", hits=half)) == 0
    quoted = (hit("They take 30\n days of leave."),)
    assert retrieval_recall.score(sought(Evidence("d", -1, -1, "30 days  of leave")), Answer("", hits=quoted)) == 1


def test_recall_at_k_is_the_share_of_evidence_found() -> None:
    wanted = sought(Evidence("d", 0, 10), Evidence("d", 500, 510))
    assert retrieval_recall.score(wanted, Answer("", hits=(hit("a" * 50),))) == 0.5


def test_ndcg_falls_with_the_rank_and_is_one_for_the_ideal() -> None:
    wanted = sought(Evidence("d", 0, 10))
    found, other = hit("a" * 50), hit("b" * 50, "other")
    assert ndcg.score(wanted, Answer("", hits=(found, other))) == 1
    assert ndcg.score(wanted, Answer("", hits=(other, found))) == pytest.approx(1 / math.log2(3))
    assert ndcg.score(wanted, Answer("", hits=(other,))) == 0
    assert ndcg.score(wanted, Answer("", hits=(*[other] * 10, found))) == 0


def test_one_passage_with_all_the_evidence_is_ideal_and_a_second_copy_gains_nothing() -> None:
    wanted = sought(Evidence("d", 0, 10), Evidence("d", 20, 30))
    assert ndcg.score(wanted, Answer("", hits=(hit("a" * 50), hit("a" * 40)))) == 1


def test_the_reciprocal_rank_is_that_of_the_first_passage_with_evidence() -> None:
    wanted = sought(Evidence("d", 0, 10))
    found, other = hit("a" * 50), hit("b" * 50, "other")
    assert mrr.score(wanted, Answer("", hits=(found, found))) == 1
    assert mrr.score(wanted, Answer("", hits=(other, other, found, found))) == pytest.approx(1 / 3)
    assert mrr.score(wanted, Answer("", hits=(other,))) == 0


def test_citations_are_judged_by_evidence() -> None:
    good, bad = hit("a" * 50).chunk, hit("b" * 50, "other").chunk
    cited = tuple(Citation(n, chunk, 0, 5, "q") for n, chunk in enumerate((good, bad), start=1))
    assert citations.score(sought(Evidence("d", 0, 10)), Answer("", citations=cited)) == 0.5


def test_citation_recall_is_the_share_of_sentences_that_are_cited_and_supported() -> None:
    hits = (hit("Staff take 30 days of leave."), hit("Leave is asked for in writing.", "e"))

    def answered(text: str) -> Answer:
        cited = cite(text, hits)
        return Answer(cited.text, citations=cited.citations, hits=hits, sentences=cited.sentences)

    assert citation_recall.score(example(), answered("Staff take 30 days [1]. Leave is asked for in writing [2].")) == 1
    assert citation_recall.score(example(), answered("Staff take 30 days [1]. Cats sleep [2]. Dogs bark.")) == 1 / 3
    assert citation_recall.score(example(), answered("Staff take 40 days of leave [1].")) == 0
    assert citation_recall.score(example(), answered("This is it. Staff take 30 days.")) == 1
    assert citation_recall.score(example(), Answer("I don't know.", "abstained", hits=hits)) is None


@pytest.mark.parametrize("metric", [retrieval_recall, ndcg, mrr, citations])
def test_retrieval_is_not_scored_without_evidence_or_passages(metric: ModuleType) -> None:
    cited = Answer("", hits=(hit("a"),), citations=(Citation(1, hit("a").chunk, 0, 1, "a"),))
    assert metric.score(example("x"), cited) is None
    assert metric.score(sought(Evidence("d", 0, 1)), Answer("x")) is None


@pytest.mark.parametrize("metric", [retrieval_recall, ndcg, mrr])
@pytest.mark.parametrize("step", [Step("pack", ""), Step("action", "search[Titan]")])
def test_a_search_that_finds_nothing_missed_the_evidence(metric: ModuleType, step: Step) -> None:
    assert metric.score(sought(Evidence("d", 0, 1)), Answer("x", trace=(step,))) == 0
    assert metric.score(sought(Evidence("d", 0, 1)), Answer("x", trace=(Step("action", "calculate[1]"),))) is None
    assert metric.score(example("x"), Answer("x", trace=(step,))) is None


def test_retrieval_metrics_agree_with_ir_measures() -> None:
    ir = pytest.importorskip("ir_measures")
    draw = random.Random(3)
    for _ in range(40):
        places = draw.sample(range(30), 12)
        wanted = draw.sample(range(30), draw.randint(1, 4))
        hits = tuple(hit("a" * 100, start=100 * place) for place in places)
        asked = sought(*(Evidence("d", 100 * place, 100 * place + 50) for place in wanted))
        qrels = {"q": {str(place): 1 for place in wanted}}
        run = {"q": {str(place): float(-rank) for rank, place in enumerate(places)}}
        theirs = ir.calc_aggregate([ir.nDCG @ 10, ir.R @ 12, ir.RR], qrels, run)
        assert retrieval_recall.score(asked, Answer("", hits=hits)) == pytest.approx(theirs[ir.R @ 12])
        assert ndcg.score(asked, Answer("", hits=hits)) == pytest.approx(theirs[ir.nDCG @ 10])
        assert mrr.score(asked, Answer("", hits=hits)) == pytest.approx(theirs[ir.RR])


# ---------------------------------------------------------------- facts, choices and labels

NOTICE = Example("q", "How is the contract ended?", facts=("90 days", "in writing", "5 March 2020", "not by e-mail"))


@pytest.mark.parametrize(
    ("said", "stated"),
    [
        ("In writing, ninety days before its end, by 2020-03-05, and not by e-mail [1].", 4),
        ("In writing and 30 days before.", 1),
        ("90 days before 5 March 2019.", 1),
        ("Not in writing, 90 days or 3 months or 1 year.", 0),
        ("", 0),
    ],
)
def test_a_fact_is_stated_in_any_clothes_and_never_by_half(said: str, stated: int) -> None:
    assert facts.score(NOTICE, Answer(said)) == stated / 4


def test_facts_are_scored_where_some_are_listed_and_must_be_said() -> None:
    assert facts.score(example("Paris"), Answer("Paris")) is None
    assert facts.score(replace(NOTICE, answerable=False), Answer("90 days")) is None
    assert facts.score(NOTICE, Answer("90 days? I don't know.", "abstained")) == 0


CAPITAL = "What is the capital of France?\nA) Lyon\nB) Paris\nC) Paris and Lyon\nD) the city of Nice"


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("B", 1),
        ("b.", 1),
        ("(B) Paris", 1),
        ("B) Lyon", 1),
        ("The answer is B, the largest city.", 1),
        ("The correct answer is: **B**", 1),
        ("Option A is wrong, so is option C. Answer: B [1]", 1),
        ("A city of France: Paris.", 1),
        ("I think it is Paris.", 1),
        ("A", 0),
        ("The answer is C.", 0),
        ("Paris and Lyon", 0),
        ("(A) or (B)", 0),
        ("Nice city, Paris", 0),
        ("Marseille", 0),
        ("", 0),
    ],
)
def test_a_choice_is_told_by_letter_or_in_words_and_must_be_one(said: str, right: int) -> None:
    for reference in ("B", "Paris", "B) Paris"):
        assert choice.score(Example("q", CAPITAL, (reference,)), Answer(said)) == right


def test_a_choice_needs_options_and_a_reference_among_them() -> None:
    assert choice.score(Example("q", "What is the capital?", ("B",)), Answer("B")) is None
    assert choice.score(Example("q", "Which?\nA) one\nC) three", ("A",)), Answer("A")) is None
    assert choice.score(Example("q", CAPITAL, ("Berlin",)), Answer("B")) is None
    refusal = Answer("I don't know.", "abstained")
    assert choice.score(Example("q", CAPITAL, ("B",)), refusal) == 0
    assert choice.score(Example("q", CAPITAL, answerable=False), refusal) == 1


def test_macro_f1_and_mcc_agree_with_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    draw = random.Random(5)
    for _ in range(30):
        right = [draw.choice("aaaab") if draw.random() < 0.8 else draw.choice("cd") for _ in range(draw.randint(2, 60))]
        said = [label if draw.random() < 0.6 else draw.choice(["a", "b", "e"]) for label in right]
        labels = sorted(set(right))
        counts = Counter(zip(right, said, strict=True))
        theirs = sklearn.f1_score(right, said, labels=labels, average="macro", zero_division=0)
        assert macro_f1.pooled(counts) == pytest.approx(theirs)
        known = [label if label in labels else "" for label in said]
        assert mcc.pooled(counts) == pytest.approx(sklearn.matthews_corrcoef(right, known))


def test_a_label_is_read_as_exact_reads_it_and_a_refusal_is_none() -> None:
    asked = example(label="Card lost")
    for text in ("card lost.", "The card-lost", "lost", "It is card lost", ""):
        pair = _labels.pair(asked, Answer(text))
        assert pair is not None
        assert float(pair[0] == pair[1]) == exact.score(asked, Answer(text))
    assert _labels.pair(asked, Answer("card lost", "abstained")) == ("card lost", "")
    assert _labels.pair(example("card lost"), Answer("card lost")) is None
    assert macro_f1.score(asked, Answer("card lost")) is None and mcc.score(asked, Answer("card lost")) is None


# ---------------------------------------------------------------- plug-ins


def test_every_metric_says_what_it_is_about() -> None:
    found = plugins.names("metrics")
    assert {
        "recall",
        "exact",
        "f1",
        "support",
        "retrieval_recall",
        "ndcg",
        "mrr",
        "citations",
        "citation_recall",
        "facts",
        "format",
        "choice",
        "macro_f1",
        "mcc",
    } <= set(found)
    for name in found:
        module = importlib.import_module(f"bakeoff.evaluation.metrics.{name}")
        assert module.ABOUT
        assert "\n" not in module.ABOUT
        assert module.VERSION >= 1
    assert plugins.module("metrics", "ndcg").NAME == "ndcg@10"
