from __future__ import annotations

from bakeoff.retrieval import Hybrid
from bakeoff.retrieval.context import pack, render
from bakeoff.types import Chunk, Filter, Hit


def hit(id: str, text: str, start: int = 0, document: str = "d", section: str = "") -> Hit:
    return Hit(Chunk(id, document, text, start, start + len(text), section=section), 1.0)


class Fixed:
    """A retriever that always returns the same ids."""

    def __init__(self, *ids: str) -> None:
        self.ids = ids

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        return [hit(id, id) for id in self.ids][:k]


def test_fusion_scores_by_reciprocal_ranks() -> None:
    hits = Hybrid(Fixed("a", "b", "c"), Fixed("c", "b")).retrieve("?", 3)
    assert [(h.chunk.id, round(h.score, 6)) for h in hits] == [
        ("c", round(1 / 63 + 1 / 61, 6)),
        ("b", round(1 / 62 + 1 / 62, 6)),
        ("a", round(1 / 61, 6)),
    ]


def test_fusion_does_not_depend_on_the_order_of_its_retrievers() -> None:
    one, other = Fixed("a", "b"), Fixed("b", "a")
    assert Hybrid(one, other).retrieve("?", 2) == Hybrid(other, one).retrieve("?", 2)


def test_packing_keeps_whole_passages_within_the_budget_and_drops_overlaps() -> None:
    hits = [
        hit("a", "one two three", 0),
        hit("b", "two three four", 4),
        hit("c", "five six", 50),
        hit("d", "x " * 99, 90),
    ]
    packed = pack(hits, 12, lambda text: len(text.split()))
    assert [h.chunk.id for h in packed] == ["a", "c"]


def test_passages_are_numbered_by_rank_and_the_best_stands_last() -> None:
    assert render([hit("a", "Best\n text", section="Title"), hit("b", "Next")]) == "[2] Next\n[1] (Title) Best text"
