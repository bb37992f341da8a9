"""The contract of a store, held by every one that is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bakeoff import plugins
from bakeoff.errors import ConfigError, StoreError
from bakeoff.types import Chunk, Document, Filter, Hit, Store, Vectors


@pytest.fixture(params=plugins.names("stores"))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return plugins.get("stores", request.param)(tmp_path / "corpus.db")


def unit(*values: float) -> Vectors:
    vector = np.array(values, dtype=np.float32)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def put(store: Store, id: str, texts: list[str], vectors: list[Vectors], source: str = "s", stamp: str = "1") -> None:
    whole = "\n".join(texts)
    starts = [whole.index(text) for text in texts]
    chunks = [Chunk(f"{id}#{s}", id, t, s, s + len(t), 3, "Head") for s, t in zip(starts, texts, strict=True)]
    store.put(Document(id, whole, source, {"title": "T"}), stamp, chunks, np.array(vectors, dtype=np.float32))


def test_what_is_put_is_found_by_words_and_by_vector(store: Store) -> None:
    put(store, "s/a", ["oil lamps burn", "brass is polished"], [unit(1, 0), unit(0, 1)])
    (hit,) = store.search_text("burning lamp", 5)  # stemmed
    assert (hit.chunk.text, hit.chunk.page, hit.chunk.section) == ("oil lamps burn", 3, "Head")
    near = store.search_vectors(unit(0.2, 1), 2)
    assert [h.chunk.text for h in near] == ["brass is polished", "oil lamps burn"]
    assert near[0].score == pytest.approx(1 / np.sqrt(1.04), abs=1e-6)
    assert store.document("s/a") == Document("s/a", "oil lamps burn\nbrass is polished", "s", {"title": "T"})


def test_putting_again_replaces_and_deleting_removes(store: Store) -> None:
    put(store, "s/a", ["oil lamps burn"], [unit(1, 0)])
    put(store, "s/a", ["brass"], [unit(0, 1)], stamp="2")
    assert store.search_text("oil", 5) == []
    assert [h.chunk.text for h in store.search_vectors(unit(1, 0), 5)] == ["brass"]
    assert store.stamps("s") == {"s/a": ("2", "")}
    store.delete("s/a")
    assert (store.ids(), store.search_text("brass", 5), store.search_vectors(unit(1, 0), 5)) == ([], [], [])


def test_a_failure_is_remembered_and_its_text_is_gone(store: Store) -> None:
    put(store, "s/a", ["oil"], [unit(1, 0)])
    store.fail("s/a", "s", "9", "torn")
    assert store.stamps("s") == {"s/a": ("9", "torn")}
    assert (store.ids(), store.document("s/a"), store.search_text("oil", 5)) == ([], None, [])


def test_filters_hold_in_both_searches_and_unknown_ones_are_refused(store: Store) -> None:
    put(store, "s/a", ["oil one"], [unit(1, 0)])
    put(store, "t/b", ["oil two"], [unit(1, 0.1)], source="t")
    searches: list[Callable[[Filter], list[Hit]]] = [
        lambda f: store.search_text("oil", 5, f),
        lambda f: store.search_vectors(unit(1, 0), 5, f),
    ]
    for search in searches:
        assert [h.chunk.document_id for h in search({"source": ["t"]})] == ["t/b"]
        assert [h.chunk.document_id for h in search({"document_id": ["s/a"], "source": ["t"]})] == []
        with pytest.raises(ConfigError, match="unknown filter field 'sorce'"):
            search({"sorce": ["t"]})


@pytest.mark.parametrize("query", ['oil" OR "', "NEAR(oil", "oil AND", "text:oil", "oil*", "-oil", "(oil", "^ oil ;--"])
def test_a_query_is_words_and_never_operators(store: Store, query: str) -> None:
    put(store, "s/a", ["oil lamps"], [unit(1, 0)])
    assert len(store.search_text(query, 5)) == 1


@pytest.mark.parametrize("query", ["", "  ", "!?", '"'])
def test_a_query_without_words_finds_nothing(store: Store, query: str) -> None:
    put(store, "s/a", ["oil lamps"], [unit(1, 0)])
    assert store.search_text(query, 5) == []


def test_ties_are_settled_by_id(store: Store) -> None:
    for id in ("s/c", "s/a", "s/b"):
        put(store, id, ["oil"], [unit(1, 0)])
    assert [h.chunk.document_id for h in store.search_text("oil", 2)] == ["s/a", "s/b"]
    assert [h.chunk.document_id for h in store.search_vectors(unit(1, 0), 2)] == ["s/a", "s/b"]


def test_everything_is_there_after_opening_again(store: Store, tmp_path: Path) -> None:
    put(store, "s/a", ["oil"], [unit(1, 0)])
    store.set("key", "value")
    store.close()
    again = type(store)(tmp_path / "corpus.db")  # type: ignore[call-arg]
    assert (again.ids(), again.get("key"), again.get("other")) == (["s/a"], "value", None)
    assert again.check() == []


def test_a_file_that_is_no_store_is_one_line_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "corpus.db").write_bytes(b"not a database" * 400)
    with pytest.raises(StoreError, match=r"is damaged .* move it away and run `bakeoff ingest`"):
        plugins.get("stores", "sqlite")(tmp_path / "corpus.db")
