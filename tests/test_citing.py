from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.retrieval.citing import MARK, cite, cite_json, split_marks
from bakeoff.retrieval.conflicts import notes
from bakeoff.types import Chunk, Hit

DOCUMENT = "Lamps burn oil. The Titan weighs 90 grams [4]. It floats.\nRepairs take 14 days; brass is polished by hand."


def hit(text: str, document: str = "d", offset: int = 0, section: str = "") -> Hit:
    return Hit(Chunk(f"{document}#{offset}", document, text, offset, offset + len(text), section=section), 1.0)


TITAN = hit("Lamps burn oil. The Titan weighs 90 grams. It floats.", "b", 100)
OTHER = hit("Nothing of the kind here.", "a")


def test_a_mark_becomes_a_citation_of_the_sentence_that_holds_what_is_said() -> None:
    cited = cite("90 grams [2]", [OTHER, TITAN])
    (citation,) = cited.citations
    assert (cited.text, cited.removed) == ("90 grams [2]", 0)
    assert (citation.number, citation.start, citation.end) == (2, 116, 142)
    assert (citation.quote, citation.made_by) == ("The Titan weighs 90 grams.", "generator")


def test_a_mark_that_points_to_no_passage_is_removed_and_counted() -> None:
    cited = cite("90 grams [7] and [0].", [OTHER])
    assert (cited.text, cited.citations, cited.removed) == ("90 grams and.", (), 2)


def test_a_mark_at_a_passage_that_does_not_hold_it_is_removed_and_the_right_one_found() -> None:
    cited = cite("The Titan weighs 90 grams [1].", [OTHER, TITAN])
    (citation,) = cited.citations
    assert (cited.text, cited.removed) == ("The Titan weighs 90 grams.", 1)
    assert (citation.number, citation.made_by) == (2, "locator")


def test_each_sentence_has_its_own_citations_and_support() -> None:
    repairs = hit("Repairs take 14 days.", "c")
    text = "The Titan weighs 90 grams. [1] Repairs take 14 days [2]. Elephants sing opera [1]!"
    cited = cite(text, [TITAN, repairs])
    assert cited.text == "The Titan weighs 90 grams. [1] Repairs take 14 days [2]. Elephants sing opera!"
    assert [cited.text[s.start : s.end] for s in cited.sentences] == [
        "The Titan weighs 90 grams. [1]",
        "Repairs take 14 days [2].",
        "Elephants sing opera!",
    ]
    assert [(s.citations, s.support) for s in cited.sentences] == [((1,), 1.0), ((2,), 1.0), ((), 0.0)]


def test_passages_that_are_cited_together_may_share_the_words() -> None:
    cited = cite("The Titan burns oil and repairs take 14 days [1][2].", [TITAN, hit("Repairs take 14 days.", "c")])
    assert [citation.number for citation in cited.citations] == [1, 2]


def test_an_answer_without_marks_is_located_where_a_passage_holds_its_numbers_and_most_words() -> None:
    hits = [hit("It weighs 80 grams.", "a"), hit("The Titan weighs 90 grams.", "b")]
    (citation,) = cite("The Titan lamp weighs 90 grams", hits).citations
    assert (citation.number, citation.made_by, citation.quote) == (2, "locator", "The Titan weighs 90 grams.")
    assert cite("95 grams", hits).citations == ()  # another number
    assert cite("Ninety wolves howl at grams", hits).citations == ()  # one word of four
    assert cite("90 grams", []).citations == ()


def test_a_name_that_no_passage_holds_is_not_cited() -> None:
    passage = hit("Oracle was founded by three engineers; the founder of the firm is Larry Ellison.", "a")
    assert cite("The founder of the firm Oracle is Larry Ellison.", [passage]).citations
    assert cite("The founder of the firm Oracle is Elon Musk.", [passage]).citations == ()


def test_words_that_a_passage_says_in_another_connexion_are_not_cited() -> None:
    passage = hit("Brass lamps that burn oil are heavy. Steel lamps float, and repairs of wood take days.", "a")
    assert cite("Brass lamps that burn oil are heavy.", [passage]).citations
    assert cite("Wood burn days, steel oil repairs brass.", [passage]).citations == ()


@pytest.mark.parametrize(
    "frame", ["", "The answer is: ", "According to the passages, ", "Based on the given context, "]
)
def test_how_a_reply_begins_is_no_claim(frame: str) -> None:
    assert cite(f"{frame}90 grams", [TITAN]).citations
    assert cite(f"{frame}95 grams", [TITAN]).citations == ()


@pytest.mark.parametrize("said", ["The answer is: 2.87 million.", "$37.6 billion", "1,200 lamps", "2.87 Million"])
def test_a_number_is_cited_with_its_unit(said: str) -> None:
    held = hit("2.87 million people live there, on $37.6 billion, with 1,200 lamps.")
    assert cite(said, [held]).citations


@pytest.mark.parametrize("said", ["2.87%", "The answer is: 37.", "14.25", "6 billion", "87 million", "It was a"])
def test_a_number_that_is_a_part_of_another_is_not_cited(said: str) -> None:
    held = hit("2.87 million people live there, on $37.6 billion [14,25-28].")
    assert not cite(said, [held], "How many people live there?").citations


def test_the_mark_of_an_item_is_no_claim_and_goes_with_its_item() -> None:
    cited = cite("1. Lamps burn oil.\n2. It floats.\n3. Cats sing.", [TITAN])
    assert [(cited.text[one.start : one.end], one.citations) for one in cited.sentences] == [
        ("1. Lamps burn oil.", (1,)),
        ("2. It floats.", (1,)),
        ("3. Cats sing.", ()),
    ]


def test_a_bare_yes_is_about_its_question() -> None:
    assert cite("Yes [1]", [TITAN], "Does the Titan weigh 90 grams?").text == "Yes [1]"
    assert cite("Yes [1]", [TITAN], "Does the Titan weigh 95 grams?").text == "Yes"
    assert cite("Yes [1]", [TITAN], "Is the moon made of cheese?").text == "Yes"


@pytest.mark.parametrize(
    ("written", "kept", "removed"),
    [
        ("[1, 2]", "[1][2]", 0),
        ("[1,9]", "[1]", 1),
        ("[1; 2]", "[1][2]", 0),
        ("[1-2]", "[1][2]", 0),
        ("[2–3]", "[2]", 1),
    ],
)
def test_marks_between_the_same_brackets_are_verified_one_by_one(written: str, kept: str, removed: int) -> None:
    lamps = "The Titan lamp weighs 90 grams."
    cited = cite(f"The Titan lamp weighs 90 grams {written}.", [hit(lamps), hit(lamps, "b"), OTHER])
    assert (cited.text, cited.removed) == (f"The Titan lamp weighs 90 grams {kept}.", removed)
    assert [(s.citations, s.support) for s in cited.sentences] == [(tuple(map(int, MARK.findall(kept))), 1.0)]


def test_a_range_beyond_the_passages_is_no_mark() -> None:
    assert cite("Rated on [0-100].", [OTHER]).text == "Rated on [0-100]."


def test_a_title_supports_what_stands_under_it() -> None:
    assert cite("The Titan weighs 90 grams [1]", [hit("It weighs 90 grams.", section="Titan")]).removed == 0


def test_values_of_json_are_located_and_the_text_stays() -> None:
    cited = cite_json('{"weight": "90 grams", "lamp": "Titan", "price": null}', [OTHER, TITAN])
    assert (cited.text[0], cited.citations[0].number, cited.sentences[0].support) == ("{", 2, 1.0)
    assert cite_json('{"weight": 91}', [OTHER, TITAN]).citations == ()


WORDS = st.sampled_from(
    [
        "the",
        "Titan",
        "weighs",
        "90",
        "91",
        "grams",
        "oil",
        "moon.",
        "It",
        "floats!",
        "[1]",
        "[2]",
        "[9]",
        "[1, 2]",
        "[1-3]",
        "\n",
    ]
)


@given(st.lists(WORDS, max_size=25), st.integers(0, 3))
def test_whatever_is_said_citations_resolve_and_nothing_else_is_lost(said: list[str], passages: int) -> None:
    hits = [
        hit(text, str(n), 10 * n) for n, text in enumerate([TITAN.chunk.text, OTHER.chunk.text, DOCUMENT][:passages])
    ]
    text = " ".join(said)
    cited = cite(text, hits)
    text = split_marks(text, len(hits))
    for citation in cited.citations:
        assert citation.chunk == hits[citation.number - 1].chunk
        start = citation.start - citation.chunk.start
        assert citation.chunk.text[start : start + len(citation.quote)] == citation.quote
    left = [int(number) for number in MARK.findall(cited.text)]
    assert set(left) <= {citation.number for citation in cited.citations}
    assert len(left) + cited.removed == len(MARK.findall(text))
    assert MARK.sub("", cited.text).split() == MARK.sub("", text).split()
    assert all(0 <= s.start < s.end <= len(cited.text) for s in cited.sentences)
    covered = "".join(cited.text[s.start : s.end] for s in cited.sentences)
    assert [c for c in covered if c not in string.whitespace] == [c for c in cited.text if c not in string.whitespace]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The Titan lamp weighs 90 grams.", "The Titan lamp weighs 95 grams."),
        ("Travel costs are refunded within 14 days.", "Travel costs are refunded within 30 days."),
        ("Used lamps can be returned to the shop.", "Used lamps can not be returned to the shop."),
    ],
)
def test_sentences_that_differ_in_a_number_or_a_not_are_said(one: str, other: str) -> None:
    (note,) = notes([hit(f"Before. {one}", "a"), hit(f"{other} After.", "b")])
    assert one.rstrip(".") in note and other.rstrip(".") in note and note.startswith("passages 1 and 2 differ")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The Titan lamp weighs 90 grams.", "The Mouse lamp weighs 95 grams."),
        ("The Titan lamp weighs 90 grams.", "The Titan lamp weighs 90 grams and holds 2 litres."),
        ("product: Titan, weight: 90", "product: Mouse, weight: 9"),
        ("It was founded in 1900.", "It was sold in 1950."),
        ("The Titan is not for sale.", "The shop opens early in summer."),
    ],
)
def test_sentences_about_other_things_are_no_contradiction(one: str, other: str) -> None:
    assert notes([hit(one, "a"), hit(other, "b")]) == ()


def test_a_passage_that_calls_itself_superseded_is_said() -> None:
    (note,) = notes([OTHER, hit("All is well. This policy was superseded in 2024.", "b")])
    assert note == "passage 2 may be out of date: 'This policy was superseded in 2024'"
