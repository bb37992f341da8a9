"""Approximate search: what it may miss, and what it may never do."""

from __future__ import annotations

import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from bakeoff import plugins
from bakeoff.corpus import Corpus, vectors
from bakeoff.corpus.stores import sqlite
from bakeoff.errors import MissingPackageError, StoreError, UnknownNameError
from bakeoff.models.embedders.hashing import Embedder
from bakeoff.types import Chunk, Document, Filter, Hit, Store, Vectors

DOCUMENTS, EACH, DIMENSION = 150, 10, 24
NOISE = np.random.default_rng(3)
CENTRES = NOISE.standard_normal((40, DIMENSION), dtype=np.float32)


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "NEWEST", 100)


def near(count: int) -> Vectors:
    """Unit vectors around some centres, as passages on some subjects are."""
    rows = CENTRES[NOISE.integers(len(CENTRES), size=count)]
    rows = rows + 0.5 * NOISE.standard_normal((count, DIMENSION), dtype=np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def put(store: Store, number: int, text: str = "oil") -> Vectors:
    """One document of `EACH` chunks; every thirtieth is for members of `hr` only."""
    id, rows, size = f"s/{number:04}", near(EACH), len(text) + 2
    chunks = [Chunk(f"{id}#{n}", id, f"{text} {n}", n * size, (n + 1) * size) for n in range(EACH)]
    groups = ["hr"] if number % 30 == 0 else []
    source = "rare" if number % 75 == 0 else "s"
    whole = Document(id, "".join(chunk.text for chunk in chunks), source, {"groups": groups})
    store.put(whole, "1", chunks, rows, [chunk.id for chunk in chunks])
    return rows


def approximate(folder: Path) -> Store:
    return sqlite.Store(folder / "corpus.db", approximate=True)


def exact(folder: Path) -> Store:
    return sqlite.Store(folder / "corpus.db")


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("corpus.db-vectors-*"))


def ids(hits: list[Hit]) -> list[str]:
    return [hit.chunk.id for hit in hits]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    before, vectors.NEWEST = vectors.NEWEST, 100
    store = approximate(folder)
    for number in range(DOCUMENTS):
        put(store, number)
    store.optimize()
    store.close()
    vectors.NEWEST = before
    return folder


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path / "index")
    return tmp_path / "index"


def test_nearly_all_of_the_true_nearest_are_found_and_scores_are_exact(folder: Path) -> None:
    store, truth = approximate(folder), exact(folder)
    assert len(files(folder)) == 1
    found = right = 0
    for asked in near(50):
        hits, true = store.search_vectors(asked, 10), truth.search_vectors(asked, 10)
        found += len(set(ids(hits)) & set(ids(true)))
        scores = {hit.chunk.id: hit.score for hit in true}
        right += all(
            hit.score == pytest.approx(scores[hit.chunk.id], abs=1e-6) for hit in hits if hit.chunk.id in scores
        )
        assert len(hits) == 10
    assert found >= 0.97 * 500 and right == 50


@pytest.mark.parametrize(
    "filter",
    [{"groups": []}, {"groups": ["hr"]}, {"source": ["rare"]}, {"document_id": ["s/0007"]}, {"source": ["none"]}],
)
def test_filters_let_nothing_forbidden_through_and_lose_nothing(filter: dict[str, list[str]], folder: Path) -> None:
    store, truth = approximate(folder), exact(folder)
    same = 0
    for asked in near(20):
        hits, true = store.search_vectors(asked, 15, filter), truth.search_vectors(asked, 15, filter)
        assert len(hits) == len(true)
        assert {hit.chunk.id for hit in hits} <= {hit.chunk.id for hit in truth.search_vectors(asked, 10_000, filter)}
        same += ids(hits) == ids(true)
    assert same >= 18


def test_deleted_and_edited_text_is_never_returned_and_new_text_at_once(folder: Path) -> None:
    store, truth, dice = approximate(folder), exact(folder), random.Random(5)
    kept = dict.fromkeys(range(DOCUMENTS), "oil")
    for step in range(60):
        number = dice.randrange(DOCUMENTS + 20)
        if number in kept and dice.random() < 0.5:
            store.delete(f"s/{number:04}")
            del kept[number]
        else:
            rows = put(store, number, f"version {step}")
            kept[number] = f"version {step}"
            assert store.search_vectors(rows[0], 1)[0].chunk.document_id == f"s/{number:04}"
        if step % 20 == 19:
            store.optimize()
        asked = near(1)[0]
        hits = store.search_vectors(asked, 10)
        assert len(hits) == 10
        for hit in hits:
            assert hit.chunk.text.startswith(kept[int(hit.chunk.document_id[2:])])
        assert len(set(ids(hits)) & set(ids(truth.search_vectors(asked, 10)))) >= 8
    assert store.check() == []


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


HARMS: dict[str, Callable[[Path], object]] = {
    "damaged": flip,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_harmed_file_is_not_used_and_mending_makes_it_anew(harm: str, folder: Path) -> None:
    HARMS[harm](files(folder)[0])
    store, truth, asked = approximate(folder), exact(folder), near(10)
    assert [store.search_vectors(a, 10) for a in asked] == [truth.search_vectors(a, 10) for a in asked]
    assert store.check() == ["the vector index is damaged"]
    assert store.mend() == []
    assert store.check() == [] and len(files(folder)) == 1


def test_a_file_of_another_time_or_another_corpus_is_not_used(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "backup")
    store = approximate(folder)
    for number in range(60):
        store.delete(f"s/{number:04}")
    for number in range(DOCUMENTS, DOCUMENTS + 40):
        put(store, number)
    store.optimize()
    store.close()
    (newer,), (older,) = files(folder), files(tmp_path / "backup")
    assert newer.name != older.name
    for database, file in ((folder, older), (tmp_path / "backup", newer)):
        mixed = tmp_path / f"mixed {file.parent.name}"
        shutil.copytree(database, mixed)
        name = files(mixed)[0]
        shutil.copyfile(file, name)  # under the name that the database expects
        store, truth, asked = approximate(mixed), exact(mixed), near(10)
        assert [store.search_vectors(a, 10) for a in asked] == [truth.search_vectors(a, 10) for a in asked]
        assert store.check() == ["the vector index is damaged"]


def test_vectors_that_change_in_place_void_the_graph(folder: Path) -> None:
    store = approximate(folder)
    asked = near(1)[0]
    store.search_vectors(asked, 3)
    with sqlite3.connect(folder / "corpus.db") as connection:
        connection.create_function("turned", 1, lambda blob: (-np.frombuffer(blob, np.float32)).tobytes())
        connection.create_function("sum", 1, crc32)
        connection.execute("UPDATE chunks SET vector = turned(vector), vector_sum = sum(turned(vector))")
        connection.execute("UPDATE settings SET value = value + 1 WHERE key = 'writes'")
    connection.close()
    assert store.search_vectors(asked, 10) == exact(folder).search_vectors(asked, 10)
    assert store.check() == ["the vector index is missing"]


def test_purging_leaves_nothing_of_deleted_chunks_in_any_file(folder: Path) -> None:
    import faiss

    store = approximate(folder)
    (folder / "corpus.db-vectors-123.part").write_bytes(b"left by a crash")
    with sqlite3.connect(folder / "corpus.db") as connection:
        gone = [n for (n,) in connection.execute("SELECT number FROM chunks WHERE document_id = 's/0007'")]
    connection.close()
    before = files(folder)[0].name
    store.delete("s/0007")
    store.purge()
    (file,) = files(folder)
    held = faiss.vector_to_array(faiss.read_index(str(file)).id_map)
    assert file.name != before and len(held) == (DOCUMENTS - 1) * EACH
    assert gone and not set(gone) & set(held.tolist())
    assert store.check() == []


def test_purging_with_exact_search_removes_a_graph_of_before(folder: Path) -> None:
    store = exact(folder)
    store.delete("s/0007")
    store.purge()
    assert files(folder) == []


def test_readers_go_on_while_a_writer_renews_the_file(folder: Path) -> None:
    reader, writer, asked = approximate(folder), approximate(folder), near(1)[0]
    reader.search_vectors(asked, 5)
    for number in range(60):
        writer.delete(f"s/{number:04}")
    before = reader.search_vectors(asked, 10)
    old = files(folder)
    writer.optimize()
    assert len(files(folder)) == 1 and files(folder) != old
    after = reader.search_vectors(asked, 10)
    assert ids(before) == ids(after) == ids(exact(folder).search_vectors(asked, 10))


def words(seed: int) -> str:
    """A text that no other is near to."""
    return " ".join("".join(random.Random(f"{seed} {n}").choices("abcdefgh", k=6)) for n in range(12))


SYNC = (
    "import sys; from bakeoff.corpus import Corpus, vectors; vectors.NEWEST = 100\n"
    "from bakeoff.models.embedders.hashing import Embedder\n"
    "print('begun', flush=True)\n"
    "Corpus(sys.argv[1], Embedder(), vectors='approximate').sync(sys.argv[2])"
)


def test_a_process_that_syncs_renews_what_another_one_searches(tmp_path: Path) -> None:
    root = tmp_path / "docs"
    root.mkdir()
    for n in range(150):
        (root / f"{n}.md").write_text(words(n))
    corpus = Corpus(tmp_path / "index", Embedder(), vectors="approximate")
    for n in (150, 160):
        subprocess.run([sys.executable, "-c", SYNC, str(tmp_path / "index"), str(root)], check=True)
        asked = corpus.embedder.embed([words(n - 1)])[0]
        (hit,) = corpus.store.search_vectors(asked, 1)
        assert (hit.chunk.document_id, round(hit.score, 5)) == (f"docs/{n - 1}.md", 1.0)
        assert len(files(tmp_path / "index")) == 1
        for more in range(150, 160):
            (root / f"{more}.md").write_text(words(more))


@pytest.mark.parametrize("trials", [2, pytest.param(40, marks=pytest.mark.slow)])
def test_kill_at_random_times_leaves_a_graph_or_none_and_never_a_wrong_one(trials: int, tmp_path: Path) -> None:
    root, dice = tmp_path / "docs", random.Random(trials)
    root.mkdir()
    for n in range(150):
        (root / f"{n}.md").write_text(words(n))
    for trial in range(trials):
        index = tmp_path / str(trial)
        command = [sys.executable, "-c", SYNC, str(index), str(root)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout and process.stdout.readline()
        time.sleep(dice.random() * 2)
        process.kill()
        process.communicate()
        this = Corpus(index, Embedder(), vectors="approximate")
        for asked in this.embedder.embed([words(n) for n in range(0, 150, 10)]):
            assert ids(this.store.search_vectors(asked, 1)) == ids(exact(index).search_vectors(asked, 1))
        this.sync(root)
        assert this.store.check() == [] and len([file for file in files(index) if file.suffix != ".part"]) == 1
        shutil.rmtree(index)


def test_another_embedder_voids_the_graph_and_the_sync_makes_it_anew(tmp_path: Path) -> None:
    root = tmp_path / "docs"
    root.mkdir()
    for n in range(150):
        (root / f"{n}.md").write_text(words(n))
    for dimension in (64, 32):
        this = Corpus(tmp_path / "index", Embedder(dimension), vectors="approximate")
        this.sync(root)
        assert this.store.check() == [] and len(files(tmp_path / "index")) == 1
        (hit,) = this.store.search_vectors(this.embedder.embed([words(7)])[0], 1)
        assert (hit.chunk.document_id, round(hit.score, 5)) == ("docs/7.md", 1.0)


def test_few_chunks_need_no_graph(tmp_path: Path) -> None:
    store = approximate(tmp_path)
    for number in range(5):
        put(store, number)
    store.optimize()
    assert files(tmp_path) == [] and store.check() == []
    assert len(store.search_vectors(near(1)[0], 10)) == 10


def test_a_graph_that_cannot_be_written_is_one_line_with_the_cure_and_nothing_else_is_lost(folder: Path) -> None:
    store = approximate(folder)
    for number in range(60):
        store.delete(f"s/{number:04}")
    before, limits = files(folder), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(StoreError, match="the vector index beside .* cannot be written .*; free some space"):
            store.optimize()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files(folder) == before
    assert len(store.search_vectors(near(1)[0], 10)) == 10


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'bakeoff\[ann\]'"):
        approximate(tmp_path)


def test_another_word_than_exact_or_approximate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'approximate'"):
        Corpus(tmp_path, Embedder(), vectors="aproximate")


def test_postgresql_keeps_the_same_promises(postgresql: str) -> None:
    make = plugins.get("stores", "postgresql")
    place = f"{postgresql}{'&' if '?' in postgresql else '?'}schema=near"
    store, truth = make(place, approximate=True), make(place)
    for number in range(100):
        put(store, number)
    assert store.check() == ["1000 chunks without the vector index"]
    assert store.mend() == [] and store.check() == []
    found = 0
    for asked in near(20):
        hits, true = store.search_vectors(asked, 10), truth.search_vectors(asked, 10)
        found += len(set(ids(hits)) & set(ids(true)))
        filters: list[Filter] = [{"groups": []}, {"source": ["rare"]}, {"document_id": ["s/0007"]}]
        for filter in filters:
            assert len(store.search_vectors(asked, 15, filter)) == len(truth.search_vectors(asked, 15, filter))
    assert found >= 0.97 * 200
    store.delete("s/0007")
    rows = put(store, 8, "newer")
    assert store.search_vectors(rows[0], 1)[0].chunk.text.startswith("newer")
    assert all(hit.chunk.document_id != "s/0007" for hit in store.search_vectors(rows[1], 500))
    store.close()
    truth.close()
