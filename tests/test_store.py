"""The contract of a store, held by every one that is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from bakeoff import plugins
from bakeoff.corpus import vectors
from bakeoff.errors import ConfigError, StoreError
from bakeoff.types import Chunk, Document, Filter, Hit, Store, Vectors


@pytest.fixture(params=plugins.names("stores"))
def location(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path | str]:
    """The name of a store, and a place for a new one."""
    if request.param == "postgresql":
        url = str(request.getfixturevalue("postgresql"))
        return request.param, f"{url}{'&' if '?' in url else '?'}schema=test-{uuid4()}"
    return request.param, tmp_path / "corpus.db"


@pytest.fixture(params=[False, True], ids=["exact", "approximate"])
def store(
    location: tuple[str, Path | str], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    monkeypatch.setattr(vectors, "NEWEST", 0)  # so that the graph holds even one chunk
    opened = plugins.get("stores", location[0])(location[1], approximate=request.param)
    yield opened
    opened.close()


def unit(*values: float) -> Vectors:
    vector = np.array(values, dtype=np.float32)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def put(store: Store, id: str, texts: list[str], rows: list[Vectors], source: str = "s", stamp: str = "1") -> None:
    whole = "\n".join(texts)
    starts = [whole.index(text) for text in texts]
    chunks = [Chunk(f"{id}#{s}", id, t, s, s + len(t), 3, "Head") for s, t in zip(starts, texts, strict=True)]
    store.put(
        Document(id, whole, source, {"title": "T"}),
        stamp,
        chunks,
        np.array(rows, dtype=np.float32),
        [c.text for c in chunks],
    )
    store.optimize()


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
    assert list(store.stamps("s")) == [("s/a", "2", "")]
    store.delete("s/a")
    assert (store.ids(), store.search_text("brass", 5), store.search_vectors(unit(1, 0), 5)) == ([], [], [])


def test_a_failure_is_remembered_and_its_text_is_gone(store: Store) -> None:
    put(store, "s/a", ["oil"], [unit(1, 0)])
    store.fail("s/a", "s", "9", "torn")
    assert list(store.stamps("s")) == [("s/a", "9", "torn")]
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


def test_everything_is_there_after_opening_again(store: Store, location: tuple[str, Path | str]) -> None:
    put(store, "s/a", ["oil"], [unit(1, 0)])
    store.set("key", "value")
    store.close()
    again = plugins.get("stores", location[0])(location[1])
    assert (again.ids(), again.get("key"), again.get("other")) == (["s/a"], "value", None)
    assert again.check() == []
    again.close()


def test_vectors_are_held_exactly_by_their_keys(store: Store) -> None:
    vector = unit(*np.random.default_rng(0).normal(size=7))
    put(store, "s/a", ["oil", "wick"], [vector, -vector])
    held = store.vectors(["wick", "oil", "none"])
    assert set(held) == {"oil", "wick"}
    assert held["oil"].tolist() == vector.tolist() and held["wick"].tolist() == (-vector).tolist()


def test_a_rare_word_counts_more_than_frequent_ones(store: Store) -> None:
    for n in range(30):
        put(store, f"s/{n:02}", [f"the lamp burns oil number {n}"], [unit(1, 0)])
    put(store, "s/rare", ["a quokka"], [unit(1, 0)])
    assert store.search_text("lamp oil quokka burns", 1)[0].chunk.document_id == "s/rare"


def test_groups_are_a_filter_like_others(store: Store) -> None:
    for name, groups in {"open": [], "hr": ["hr", "board"]}.items():
        document = Document(f"s/{name}", "oil", "s", {"groups": groups})
        chunk = Chunk(f"s/{name}#0", f"s/{name}", "oil", 0, 3)
        store.put(document, "1", [chunk], unit(1, 0)[None], ["oil"])
    for mine, seen in {(): ["s/open"], ("x",): ["s/open"], ("board", "x"): ["s/hr", "s/open"]}.items():
        assert [hit.chunk.document_id for hit in store.search_text("oil", 5, {"groups": mine})] == seen
        assert [hit.chunk.document_id for hit in store.search_vectors(unit(1, 0), 5, {"groups": mine})] == seen


def test_purging_leaves_the_rest_as_it_was(store: Store) -> None:
    put(store, "s/a", ["oil"], [unit(1, 0)])
    put(store, "s/b", ["wick"], [unit(0, 1)])
    store.delete("s/a")
    store.purge()
    assert (store.ids(), [hit.chunk.text for hit in store.search_text("wick oil", 5)]) == (["s/b"], ["wick"])
    assert store.check() == []


def test_an_index_beside_is_not_seen_until_it_is_swapped_in(store: Store) -> None:
    store.set("embedder", "old")
    store.set("source:s", "here")
    put(store, "s/a", ["oil lamps"], [unit(1, 0)])
    put(store, "s/b", ["brass"], [unit(0, 1)])
    beside = store.beside("new")
    put(beside, "s/a", ["oil", "lamps"], [unit(1, 0, 0), unit(0, 1, 0)], stamp="2")
    assert (store.ids(), store.get("embedder"), len(store.search_vectors(unit(1, 0), 5))) == (["s/a", "s/b"], "old", 2)
    beside.close()
    store.swap("new")
    assert (store.ids(), store.get("embedder"), store.get("source:s")) == (["s/a"], "new", "here")
    assert [hit.chunk.text for hit in store.search_vectors(unit(0, 1, 0), 5)] == ["lamps", "oil"]
    assert [hit.chunk.text for hit in store.search_text("lamp", 5)] == ["lamps"]
    assert store.search_text("brass", 5) == []
    store.optimize()
    assert store.check() == []
    assert [hit.chunk.text for hit in store.search_vectors(unit(0, 1, 0), 5)] == ["lamps", "oil"]


def test_what_was_begun_beside_is_kept_for_its_embedder_and_dropped_for_another(store: Store) -> None:
    put(begun := store.beside("new"), "s/a", ["oil"], [unit(1, 0)])
    begun.close()
    kept = store.beside("new")
    assert kept.ids() == ["s/a"]
    kept.close()
    other = store.beside("newer")
    assert other.ids() == []
    other.close()
    with pytest.raises(StoreError, match="another process renewed the index"):
        store.swap("new")
    put(other := store.beside("newer"), "s/a", ["oil"], [unit(1, 0)])
    other.close()
    store.purge()
    empty = store.beside("newer")
    assert empty.ids() == []
    empty.close()


def test_mending_a_sound_store_changes_nothing(store: Store) -> None:
    put(store, "s/a", ["oil"], [unit(1, 0)])
    assert store.mend() == []
    assert (store.check(), [hit.chunk.text for hit in store.search_text("oil", 5)]) == ([], ["oil"])


def test_text_of_any_characters_comes_back(store: Store) -> None:
    text = "oil 灯 \U0001f4a1 \u202e'; DROP TABLE chunks; -- %s {} \\"
    put(store, "s/a", [text], [unit(1, 0)])
    document = store.document("s/a")
    assert document is not None and document.text == text
    assert [hit.chunk.text for hit in store.search_text("oil", 5)] == [text]


def test_writers_at_once_take_turns(store: Store) -> None:
    def write(name: str) -> None:
        for n in range(20):
            put(store, f"{name}/{n}", ["oil lamps"], [unit(1, 0)], source=name)
        store.close()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(write, name) for name in "abcd"]:
            done.result()
    store.optimize()
    assert store.sources() == dict.fromkeys("abcd", 20)
    assert store.check() == []


def test_a_server_that_is_not_there_is_one_line_with_the_cure_and_without_the_password() -> None:
    with pytest.raises(StoreError, match="is the server up, and the URL right") as caught:
        plugins.get("stores", "postgresql")("postgresql://ada:geheim@127.0.0.1:1/none")
    assert "geheim" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_no_store_is_one_line_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "corpus.db").write_bytes(b"not a database" * 400)
    with pytest.raises(StoreError, match=r"is damaged .* move it away and run `bakeoff ingest`"):
        plugins.get("stores", "sqlite")(tmp_path / "corpus.db")
