from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bakeoff.corpus import Corpus
from bakeoff.models.embedders.hashing import Embedder
from bakeoff.retrieval import BM25, RRF, Dense, Hybrid, Merged, Reranked
from bakeoff.retrieval.context import pack, render
from bakeoff.trace import recording
from bakeoff.types import Chunk, Filter, Hit, Retriever


def hit(id: str, text: str, start: int = 0, document: str = "d", section: str = "") -> Hit:
    return Hit(Chunk(id, document, text, start, start + len(text), section=section), 1.0)


class Fixed:
    """A retriever that always returns the same ids."""

    def __init__(self, *ids: str) -> None:
        self.ids = ids

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        return [hit(id, id) for id in self.ids][:k]


class Scored:
    """A retriever of fixed ids and scores."""

    def __init__(self, name: str = "", **scores: float) -> None:
        self.name = name
        self.scores = scores

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        told = {id: {self.name: score} if self.name else {} for id, score in self.scores.items()}
        return [Hit(hit(id, id).chunk, score, told[id]) for id, score in self.scores.items()][:k]


class Backwards:
    """A reranker that turns the hits around."""

    def rerank(self, query: str, hits: Sequence[Hit]) -> list[Hit]:
        return list(reversed(hits))


def test_fusion_by_ranks_scores_by_reciprocal_ranks() -> None:
    hits = RRF(Fixed("a", "b", "c"), Fixed("c", "b")).retrieve("?", 3)
    assert [(h.chunk.id, round(h.score, 6)) for h in hits] == [
        ("c", round(1 / 63 + 1 / 61, 6)),
        ("b", round(1 / 62 + 1 / 62, 6)),
        ("a", round(1 / 61, 6)),
    ]


def test_a_hybrid_adds_standard_scores_and_what_was_not_found_counts_as_the_last() -> None:
    # The first part says 3, 1, 1 of a, b, c: mean 5/3, deviation sqrt(8)/3. The second says 0.2, 0.2, 0.5.
    hits = Hybrid(Scored("bm25", a=3, b=1), Scored("dense", c=0.5, a=0.2)).retrieve("?", 3)
    high, low = 2**0.5, -(2**-0.5)
    assert [h.chunk.id for h in hits] == ["a", "c", "b"]
    assert hits[0].scores == {"bm25": 3, "dense": 0.2}
    assert hits[1].scores == {"bm25": 1, "dense": 0.5}
    assert [h.score for h in hits] == pytest.approx([(high + low) / 2, (high + low) / 2, low], abs=1e-5)


def test_a_hybrid_follows_its_weights_and_does_not_mind_their_scale() -> None:
    one, other = Scored(a=30, b=10), Scored(b=0.9, a=0.8)
    assert Hybrid(one, other, weights=(0.9, 0.1)).retrieve("?", 1)[0].chunk.id == "a"
    assert Hybrid(one, other, weights=(0.1, 0.9)).retrieve("?", 1)[0].chunk.id == "b"


@pytest.mark.parametrize("fuse", [Hybrid, RRF])
def test_fusion_does_not_depend_on_the_order_of_its_retrievers(fuse: Callable[..., Retriever]) -> None:
    one, other = Scored(a=2, b=1), Scored(b=2, a=1)
    found = [[(h.chunk.id, h.score) for h in fuse(*parts).retrieve("?", 2)] for parts in ((one, other), (other, one))]
    assert found[0] == found[1]


def test_a_hybrid_of_nothing_found_is_empty() -> None:
    assert Hybrid(Fixed(), Fixed()).retrieve("?", 3) == []
    assert [h.chunk.id for h in Hybrid(Fixed(), Scored(a=1)).retrieve("?", 3)] == ["a"]


def test_reranking_reads_deeper_than_what_is_asked_for() -> None:
    assert [h.chunk.id for h in Reranked(Fixed("a", "b", "c", "d"), Backwards(), depth=3).retrieve("?", 1)] == ["c"]


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Two documents on lamps, one of them for the group `hr` alone."""
    (tmp_path / "docs").mkdir()
    text = " ".join(f"Lamp number {n} is heavy and burns oil." for n in range(8))
    (tmp_path / "docs" / "open.txt").write_text(text)
    (tmp_path / "docs" / "secret.txt").write_text(text.replace("heavy", "light"))
    corpus = Corpus(tmp_path / "index", Embedder(), chunk_tokens=24)
    corpus.sync(tmp_path / "docs", access={"docs/secret*": ["hr"]})
    return corpus


COMPOSITIONS: list[Callable[[Corpus], Retriever]] = [
    lambda c: Hybrid(BM25(c), Dense(c)),
    lambda c: RRF(BM25(c), Dense(c)),
    lambda c: Reranked(Hybrid(BM25(c), Dense(c)), Backwards()),
    lambda c: Merged(Hybrid(BM25(c), Dense(c)), c),
    lambda c: Merged(Reranked(RRF(Dense(c), BM25(c)), Backwards()), c),
]


@pytest.mark.parametrize("compose", COMPOSITIONS)
def test_filters_and_readers_groups_pass_through_every_part(
    compose: Callable[[object], Retriever], corpus: Corpus
) -> None:
    def found(index: object, filter: Filter | None = None) -> set[str]:
        return {hit.chunk.document_id for hit in compose(index).retrieve("heavy lamp", 20, filter=filter)}

    assert found(corpus) == {"docs/open.txt", "docs/secret.txt"}
    assert found(corpus, {"document_id": ["docs/secret.txt"]}) == {"docs/secret.txt"}
    assert found(corpus, {"source": ["elsewhere"]}) == set()
    assert found(corpus.readable_by([])) == {"docs/open.txt"}
    assert found(corpus.readable_by(["hr"])) == {"docs/open.txt", "docs/secret.txt"}


def test_merged_neighbours_are_one_passage_with_the_offsets_of_both(corpus: Corpus) -> None:
    chunks = corpus.store.chunks("docs/open.txt")
    assert len(chunks) > 3
    text = corpus.store.document("docs/open.txt")
    assert text is not None

    class Some:
        def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
            return [Hit(chunks[1], 3.0), Hit(chunks[3], 2.0), Hit(chunks[0], 1.0)]

    first, second = Merged(Some(), corpus).retrieve("?", 3)
    assert (first.chunk.start, first.chunk.end, first.score) == (chunks[0].start, chunks[1].end, 3.0)
    assert first.chunk.text == text.text[first.chunk.start : first.chunk.end]
    assert second.chunk == chunks[3]


def test_packing_keeps_whole_passages_within_the_budget_and_drops_overlaps() -> None:
    hits = [
        hit("a", "one two three", 0),
        hit("b", "two three four", 4),
        hit("c", "five six", 50),
        hit("d", "x " * 99, 90),
    ]
    packed = pack(hits, 12, lambda text: len(text.split()))
    assert [h.chunk.id for h in packed] == ["a", "c"]


def test_a_passage_that_does_not_fit_leaves_its_room_to_those_behind_it() -> None:
    hits = [hit("a", "x " * 99), hit("b", "one two three", 400), hit("c", "four five", 500)]
    assert [h.chunk.id for h in pack(hits, 12, lambda text: len(text.split()))] == ["b", "c"]


def test_a_question_longer_than_the_window_is_searched_for_by_its_beginning(corpus: Corpus) -> None:
    mail = "How heavy is the Titan lamp? " + "Kind regards. " * 400
    with recording() as steps:
        hits = Dense(corpus).retrieve(mail, 3)
    assert len(hits) == 3 and [step.name for step in steps] == ["cut query", "dense"]
    read = int(re.findall(r"first (\d+) of 5629 characters", steps[0].detail)[0])
    assert corpus.embedder.count(mail[:read]) <= corpus.embedder.window < corpus.embedder.count(mail[: read + 1])
    assert hits == Dense(corpus).retrieve(mail[:read], 3)


def test_passages_are_numbered_by_rank_and_the_best_stands_last() -> None:
    assert render([hit("a", "Best\n text", section="Title"), hit("b", "Next")]) == "[2] Next\n[1] (Title) Best text"


def test_numbers_that_an_author_put_into_brackets_are_no_citations() -> None:
    assert render([hit("a", "As known [7], [1, 2] and [3-5].")]) == "[1] As known (7), (1, 2) and (3-5)."
