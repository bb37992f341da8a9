from __future__ import annotations

import contextlib
import errno
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bakeoff.corpus import Corpus, chunking, sync
from bakeoff.errors import ConfigError, DataError, StoreError, UnknownNameError
from bakeoff.models.embedders.hashing import Embedder
from bakeoff.types import Evidence, Vectors


def corpus(folder: Path, embedder: Embedder | None = None) -> Corpus:
    return Corpus(folder / "index", embedder or Embedder(), chunk_tokens=32)


def documents(folder: Path, **texts: str) -> Path:
    root = folder / "docs"
    root.mkdir(exist_ok=True)
    for name, text in texts.items():
        (root / f"{name}.md").write_text(text)
    return root


def test_sync_adds_updates_removes_and_leaves_the_rest(tmp_path: Path) -> None:
    root = documents(tmp_path, a="# A\nAlpha.", b="# B\nBeta.", c="# C\nGamma.")
    this = corpus(tmp_path)
    assert this.sync(root).added == ("docs/a.md", "docs/b.md", "docs/c.md")
    (root / "b.md").write_text("# B\nChanged.")
    (root / "c.md").unlink()
    changes = this.sync(root)
    assert (changes.updated, changes.removed, changes.unchanged) == (("docs/b.md",), ("docs/c.md",), ("docs/a.md",))
    assert [hit.chunk.document_id for hit in this.store.search_text("changed beta gamma", 5)] == ["docs/b.md"]


def test_unchanged_files_are_neither_parsed_nor_embedded_again(tmp_path: Path) -> None:
    class Counting(Embedder):
        calls = 0

        def embed(self, texts: Sequence[str]) -> Vectors:
            self.calls += 1
            return super().embed(texts)

    root, embedder = documents(tmp_path, a="Alpha", b="Beta"), Counting()
    this = corpus(tmp_path, embedder)
    this.sync(root)
    assert embedder.calls == 1
    os.utime(root / "a.md", (1, 1))
    this.sync(root)
    assert embedder.calls == 1


def test_the_same_content_under_two_names_is_two_documents(tmp_path: Path) -> None:
    this = corpus(tmp_path)
    this.sync(documents(tmp_path, a="Same words", b="Same words"))
    assert {hit.chunk.document_id for hit in this.store.search_text("same", 5)} == {"docs/a.md", "docs/b.md"}


class Counting(Embedder):
    """Counts the texts it embeds."""

    def __init__(self) -> None:
        super().__init__()
        self.embedded: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.embedded += texts
        return super().embed(texts)


def test_what_was_embedded_before_is_not_embedded_again(tmp_path: Path) -> None:
    root = documents(tmp_path, a="Oil lamps burn. " * 20)
    embedder = Counting()
    this = corpus(tmp_path, embedder)
    this.sync(root)
    whole = len(embedder.embedded)
    (root / "a.md").rename(root / "b.md")
    changes = this.sync(root)
    assert (changes.added, changes.removed, len(embedder.embedded)) == (("docs/b.md",), ("docs/a.md",), whole)
    (root / "b.md").write_text((root / "b.md").read_text() + "\n\nWicks are trimmed.")
    this.sync(root)
    assert [text for text in embedder.embedded[whole:] if "Wicks" in text] == embedder.embedded[whole:]
    (hit,) = this.store.search_text("wicks", 5)
    assert this.store.search_vectors(embedder.embed([hit.chunk.text])[0], 1)[0].chunk == hit.chunk


def test_a_renamed_file_whose_name_another_took_is_two_documents(tmp_path: Path) -> None:
    root = documents(tmp_path, leave="Leave is 25 days.")
    embedder = Counting()
    this = corpus(tmp_path, embedder)
    this.sync(root)
    (root / "leave.md").rename(root / "leave_old.md")
    documents(tmp_path, leave="Leave is 30 days.")
    changes = this.sync(root)
    assert (changes.updated, changes.added) == (("docs/leave.md",), ("docs/leave_old.md",))
    assert embedder.embedded == ["Leave is 25 days.", "Leave is 30 days."]


def test_a_section_that_moves_from_a_file_that_is_now_empty_keeps_its_vector(tmp_path: Path) -> None:
    root = documents(tmp_path, b="The warranty is five years.")
    embedder = Counting()
    this = corpus(tmp_path, embedder)
    this.sync(root)
    documents(tmp_path, a="The warranty is five years.", b="")
    changes = this.sync(root)
    assert (changes.added, list(changes.failed)) == (("docs/a.md",), ["docs/b.md"])
    assert len(embedder.embedded) == 1
    (hit,) = this.store.search_vectors(embedder.embed(["warranty"])[0], 5)
    assert hit.chunk.document_id == "docs/a.md"


def test_documents_that_need_no_embedding_are_put_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0

    def counted(*arguments: Any) -> Any:
        nonlocal read
        read += 1
        return chunking.chunk(*arguments)

    def stop(done: int, total: int, text: str) -> None:
        if done == 30:
            raise Crash

    monkeypatch.setattr(sync, "WAITING", 10, raising=False)
    root = documents(tmp_path, **{f"d{n:02}": f"lamp number {n}" for n in range(60)})
    this = corpus(tmp_path)
    this.sync(root)
    monkeypatch.setattr(sync, "chunking", SimpleNamespace(VERSION=chunking.VERSION, chunk=counted))
    with pytest.raises(Crash):
        this.sync(root, access={"docs/*": ["hr"]}, progress=stop)
    assert read == 30  # the others are not held in memory
    assert len(this.readable_by(()).store.search_text("lamp", 60)) == 30


def test_headers_are_embedded_unless_they_are_not_wanted(tmp_path: Path) -> None:
    root = documents(tmp_path, a="# Lamps\n\n## Titan\n\nBurns oil.")
    for headers in (True, False):
        embedder = Counting()
        Corpus(tmp_path / str(headers), embedder, chunk_tokens=4, headers=headers).sync(root)
        assert any(text.startswith("Lamps > Titan\n") for text in embedder.embedded) is headers


def test_the_case_of_a_name_is_part_of_it(tmp_path: Path) -> None:
    root = documents(tmp_path, a="Alpha")
    this = corpus(tmp_path)
    this.sync(root)
    (root / "a.md").rename(root / "A.md")
    changes = this.sync(root)
    assert (changes.added, changes.removed) == (("docs/A.md",), ("docs/a.md",))


def test_a_dry_run_says_what_it_would_do_and_does_nothing(tmp_path: Path) -> None:
    root = documents(tmp_path, a="Alpha", b="Beta", c="Gamma")
    this = corpus(tmp_path)
    (root / "d.xyz").write_text("?")
    planned = this.sync(root, dry_run=True)
    assert (planned.added, list(planned.failed)) == (("docs/a.md", "docs/b.md", "docs/c.md"), ["docs/d.xyz"])
    assert this.store.ids() == []
    this.sync(root)
    before = this.fingerprint()
    (root / "a.md").write_text("Other")
    (root / "b.md").unlink()
    changes = this.sync(root, dry_run=True)
    assert (changes.updated, changes.removed, changes.unchanged) == (("docs/a.md",), ("docs/b.md",), ("docs/c.md",))
    assert this.fingerprint() == before


def test_what_was_not_read_of_a_document_is_told(tmp_path: Path) -> None:
    root = documents(tmp_path)
    message = "From: a@b.c\nSubject: Lamps\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n"
    body = "--x\nContent-Type: text/plain\n\nOil.\n--x\nContent-Disposition: attachment; filename=p.pdf\n\nz\n--x--\n"
    (root / "a.eml").write_text(message + body)
    changes = corpus(tmp_path).sync(root)
    assert changes.unread == {"docs/a.eml": ("the attachment p.pdf",)}


def test_a_row_is_found_and_placed_by_sheet_and_cell(tmp_path: Path) -> None:
    root = documents(tmp_path)
    (root / "prices.csv").write_text("lamp,price\n" + "\n".join(f"L{n},{n} crowns" for n in range(40)))
    this = corpus(tmp_path)
    this.sync(root)
    hit = this.store.search_text("L17", 1)[0]
    offset = hit.chunk.start + hit.chunk.text.index("lamp: L17")
    assert this.place("docs/prices.csv", offset) == "line 19"
    assert this.place("docs/none.csv", 0) == ""


def test_groups_are_enforced_in_every_search_and_reading(tmp_path: Path) -> None:
    root = documents(tmp_path, open="oil for all", pay="oil wages", plans="oil secrets")
    access = {"docs/pay*": ["hr", "board"], "docs/plans*": ["board"]}
    this = corpus(tmp_path)
    this.sync(root, access=access)
    asked = this.embedder.embed(["oil"])[0]
    for groups, seen in {
        (): {"docs/open.md"},
        ("hr",): {"docs/open.md", "docs/pay.md"},
        ("hr", "board"): {"docs/open.md", "docs/pay.md", "docs/plans.md"},
        ("[]", "%", "h"): {"docs/open.md"},
    }.items():
        view = this.readable_by(groups).store
        assert {hit.chunk.document_id for hit in view.search_text("oil", 9)} == seen
        assert {hit.chunk.document_id for hit in view.search_vectors(asked, 9)} == seen
        # A filter that came with the question opens nothing.
        assert {hit.chunk.document_id for hit in view.search_text("oil", 9, {"groups": ["board"]})} == seen
        assert {id for id in this.store.ids() if view.document(id)} == seen
        assert {id for id in this.store.ids() if view.chunks(id)} == seen
    embedder = Counting()
    again = corpus(tmp_path, embedder)
    changes = again.sync(root, access={"docs/pay*": ["hr"]})
    assert (changes.updated, embedder.embedded) == (("docs/pay.md", "docs/plans.md"), [])
    assert {hit.chunk.document_id for hit in again.readable_by(()).store.search_text("oil", 9)} == {
        "docs/open.md",
        "docs/plans.md",
    }


def test_a_document_that_could_not_be_read_can_be_forgotten(tmp_path: Path) -> None:
    root = documents(tmp_path, a="Alpha")
    (root / "b.pdf").write_text("no PDF")
    this = corpus(tmp_path)
    assert set(this.sync(root).failed) == {"docs/b.pdf"}
    assert this.forget("docs/b.pdf") == 1
    assert [id for id, _, _ in this.store.stamps("docs")] == ["docs/a.md"]
    with pytest.raises(UnknownNameError):
        this.forget("docs/b.pdf")


@pytest.mark.parametrize("whole_source", [True, False])
def test_after_forgetting_and_purging_no_byte_of_the_text_is_left(tmp_path: Path, whole_source: bool) -> None:
    secret = [f"zq{n:04}xv" for n in range(400)]
    root = documents(tmp_path, a=" ".join(secret), b="Beta stays")
    this = corpus(tmp_path)
    this.sync(root)
    (root / "b.md").unlink()
    this.sync(root)
    (root / "b.md").write_text("Beta stays")
    assert this.forget("docs" if whole_source else "docs/a.md") == 1
    this.purge()
    left = b"".join(path.read_bytes() for path in (tmp_path / "index").rglob("*") if path.is_file()).lower()
    assert not [word for word in secret if word.encode() in left]
    assert b"zq0" not in left
    assert whole_source or b"docs/a.md" not in left  # nor its name
    assert not this.store.check()
    with pytest.raises(UnknownNameError, match="unknown source or document 'docs/zzz'"):
        this.forget("docs/zzz")


def test_an_index_of_another_version_is_refused_with_the_cure(tmp_path: Path) -> None:
    corpus(tmp_path).sync(documents(tmp_path, a="Alpha"))
    with sqlite3.connect(tmp_path / "index" / "corpus.db") as connection:
        connection.execute("PRAGMA user_version = 1")
    with pytest.raises(StoreError, match="another version of bakeoff; delete it and run `bakeoff ingest`"):
        corpus(tmp_path)


def test_what_cannot_be_read_is_remembered_and_tried_again_when_it_changes(tmp_path: Path) -> None:
    root = documents(tmp_path, a="Alpha")
    (root / "b.pdf").write_bytes(b"%PDF-1.7 nothing")
    (root / "c.zzz").write_text("?")
    (root / "d.md").write_text("   \n")
    (root / ".hidden.md").write_text("x")
    this = corpus(tmp_path)
    failed = this.sync(root).failed
    assert set(failed) == {"docs/b.pdf", "docs/c.zzz", "docs/d.md"}
    assert failed["docs/b.pdf"].startswith("not a readable PDF")
    assert failed["docs/c.zzz"].startswith("no loader for .zzz")
    assert failed["docs/d.md"].startswith("no text found")
    assert this.sync(root).failed == failed
    (root / "d.md").write_text("Delta")
    assert this.sync(root).added == ("docs/d.md",)


def test_other_sources_stay_and_a_forgotten_one_goes(tmp_path: Path) -> None:
    this = corpus(tmp_path)
    root = documents(tmp_path, a="Alpha")
    (tmp_path / "note.txt").write_text("Noted")
    this.sync(root)
    this.sync(tmp_path / "note.txt")
    assert this.store.sources() == {"docs": 1, "note.txt": 1}
    this.forget("docs")
    assert this.store.ids() == ["note.txt"]


def test_two_sources_of_one_name_are_refused_with_the_cure(tmp_path: Path) -> None:
    one, other = tmp_path / "x" / "docs", tmp_path / "y" / "docs"
    for folder in (one, other):
        folder.mkdir(parents=True)
        (folder / "a.md").write_text("A")
    this = corpus(tmp_path)
    with pytest.raises(DataError, match="two sources are named 'docs'"):
        this.sync(one, other)
    this.sync(one)
    with pytest.raises(DataError, match="is .* already; give .* another name"):
        this.sync(other)
    assert this.sync(f"second={other}").added == ("second/a.md",)


def test_a_missing_source_removes_nothing(tmp_path: Path) -> None:
    root = documents(tmp_path, a="Alpha")
    this = corpus(tmp_path)
    this.sync(root)
    with pytest.raises(DataError, match="there is no source"):
        this.sync(root, tmp_path / "gone")
    assert this.store.ids() == ["docs/a.md"]


def test_a_rule_that_comes_while_its_documents_are_out_of_reach_closes_them(tmp_path: Path) -> None:
    root = documents(tmp_path, open="oil for all", pay="oil wages")
    this, shop = corpus(tmp_path), tmp_path / "shop.db"
    with contextlib.closing(sqlite3.connect(shop)) as connection:
        connection.executescript(
            "CREATE TABLE pay (id INTEGER PRIMARY KEY, who TEXT); INSERT INTO pay VALUES (1, 'oil')"
        )
        this.sync(root, f"sqlite:///{shop}")
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        (root / "new.md").write_text("oil is new")
        access = {"shop.db/pay/*": ["hr"]}
        changes = this.sync(root, f"sqlite:///{shop}", access=access)
        assert "is locked by who writes it" in changes.failed["shop.db"] and changes.added == ("docs/new.md",)
        assert changes.removed == ("shop.db/pay/1",)
    assert this.sync(root, f"sqlite:///{shop}", access=access).added == ("shop.db/pay/1",)
    assert not [h for h in this.readable_by(()).store.search_text("oil", 9) if h.chunk.document_id.startswith("shop")]


def test_with_rules_a_source_in_a_source_and_a_link_past_a_rule_are_refused(tmp_path: Path) -> None:
    root = documents(tmp_path, a="Alpha")
    (root / "hr").mkdir()
    (root / "hr" / "pay.md").write_text("wages")
    (root / "link.md").symlink_to(root / "hr" / "pay.md")
    (root / "same.md").symlink_to(root / "a.md")
    access = {"docs/hr/*": ["hr"]}
    this = corpus(tmp_path)
    for sources in ((root, root / "hr"), (root / "hr" / "pay.md", root)):
        with pytest.raises(
            ConfigError, match=r"lies in the source 'docs', of whose documents \[corpus.access\] speaks"
        ):
            this.sync(*sources, access=access)
    changes = this.sync(root, access=access)
    assert changes.failed == {
        "docs/link.md": "it is a link to docs/hr/pay.md, which other groups may read; put the text itself here"
    }
    assert "docs/same.md" in changes.added


def test_a_dry_run_refuses_what_the_run_would(tmp_path: Path) -> None:
    root = documents(tmp_path, a="Alpha")
    (tmp_path / "other" / "docs").mkdir(parents=True)
    for dry_run in (True, False):
        with pytest.raises(DataError, match="two sources are named 'docs'"):
            corpus(tmp_path).sync(root, tmp_path / "other" / "docs", dry_run=dry_run)


def test_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    root = documents(tmp_path, a="Alpha")
    (tmp_path / "secret.md").write_text("Secret")
    (root / "out.md").symlink_to(tmp_path / "secret.md")
    (root / "in.md").symlink_to(root / "a.md")
    changes = corpus(tmp_path).sync(root)
    assert changes.added == ("docs/a.md", "docs/in.md")
    assert "leads out" in changes.failed["docs/out.md"]


def test_links_to_folders_are_told(tmp_path: Path) -> None:
    root = documents(tmp_path, a="Alpha")
    (tmp_path / "other").mkdir()
    (root / "sub").mkdir()
    (root / "sub" / "b.md").write_text("Beta")
    (root / "in").symlink_to(root / "sub")
    (root / "out").symlink_to(tmp_path / "other")
    changes = corpus(tmp_path).sync(root)
    assert changes.added == ("docs/a.md", "docs/sub/b.md")
    assert changes.failed == {
        "docs/in": "it is a link to a folder, and those are not followed",
        "docs/out": "it is a link that leads out of the source",
    }


@pytest.mark.parametrize("closed", ["sub", "."])
def test_what_was_indexed_of_a_folder_that_cannot_be_listed_stays(
    closed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = documents(tmp_path, a="Alpha", z="Omega")
    (root / "sub").mkdir()
    (root / "sub" / "b.md").write_text("Beta")
    this = corpus(tmp_path)
    this.sync(root)
    (root / "a.md").unlink()
    (root / "new.md").write_text("New")
    listed = os.scandir

    def scandir(path: str) -> Any:  # as for another user; the tests may be run by root, whom no mode stops
        if Path(path) == (root / closed).resolve():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    name = "docs" if closed == "." else "docs/sub"
    for dry_run in (True, False):
        changes = this.sync(root, dry_run=dry_run)
        assert changes.failed == {name: "cannot be listed (Permission denied); what was indexed of it stays"}
        assert changes.removed == (("docs/a.md",) if closed == "sub" else ())
        assert changes.added == (("docs/new.md",) if closed == "sub" else ())
    assert "docs/sub/b.md" in this.store.ids()
    with pytest.raises(StoreError, match=f"{name} cannot be reached .*keeps its old embedder"):
        corpus(tmp_path, Embedder(32)).sync(root)
    monkeypatch.undo()
    assert this.sync(root).removed == (() if closed == "sub" else ("docs/a.md",))


def test_names_of_files_that_are_not_utf8_are_labels_like_others(tmp_path: Path) -> None:
    root = documents(tmp_path)
    for suffix in (b".md", b".csv", b".json", b".caf\xe9"):
        Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9" + suffix)).write_text('["Coffee"]')
    this = corpus(tmp_path)
    changes = this.sync(root)
    assert changes.added == ("docs/caf\\xe9.csv", "docs/caf\\xe9.json", "docs/caf\\xe9.md")
    assert changes.failed["docs/caf\\xe9.caf\\xe9"].startswith("no loader for .caf\\xe9;")
    assert {hit.chunk.section for hit in this.store.search_text("coffee", 5)} == {"caf?", ""}


def test_names_of_folders_and_databases_that_are_not_utf8_are_labels_like_others(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/d\xe9p"))
    folder.mkdir()
    (folder / "a.md").write_text("Alpha")
    database = folder.with_suffix(os.fsdecode(b".\xe9"))
    with contextlib.closing(sqlite3.connect(os.fsencode(database))) as connection:
        connection.execute("CREATE TABLE lamps (id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute("INSERT INTO lamps VALUES (1, 'Titan')")
        connection.commit()
    this = corpus(tmp_path)
    for _ in range(2):
        changes = this.sync(folder, f"sqlite:///{database}")
    assert changes.unchanged == ("d\\xe9p/a.md", "d\\xe9p.\\xe9/lamps/1")


def test_what_is_no_text_in_a_key_can_be_stored_and_printed(tmp_path: Path) -> None:
    root = documents(tmp_path)
    (root / "a.json").write_text('{"\\ud800k": "Titan"}')
    this = corpus(tmp_path)
    this.sync(root)
    assert this.place("docs/a.json", 0) == "?k"


def test_another_embedder_is_refused_until_the_index_is_renewed(tmp_path: Path) -> None:
    root = documents(tmp_path, a="Alpha")
    corpus(tmp_path).sync(root)
    other = corpus(tmp_path, Embedder(32))
    with pytest.raises(StoreError, match="another embedder .* run `bakeoff ingest`"):
        _ = other.embedder
    assert other.sync(root).updated == ("docs/a.md",)
    assert other.store.search_vectors(other.embedder.embed(["alpha"])[0], 1)


def test_an_interrupted_renewal_leaves_the_old_index_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    class Failing(Embedder):
        left = 1

        def embed(self, texts: Sequence[str]) -> Vectors:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            return super().embed(texts)

    root = documents(tmp_path, **{f"d{n:03}": f"The lamp {n} burns oil." for n in range(100)})
    old = corpus(tmp_path)
    old.sync(root)
    (root / "d000.md").unlink()
    (root / "new.md").write_text("A new lamp.")
    with pytest.raises(KeyboardInterrupt):
        corpus(tmp_path, Failing(32)).sync(root)
    assert len(old.store.search_vectors(old.embedder.embed(["lamp"])[0], 200)) == 100
    changes = corpus(tmp_path, Embedder(32)).sync(root)
    assert (len(changes.unchanged), len(changes.updated)) == (64, 35)
    assert (changes.added, changes.removed) == (("docs/new.md",), ("docs/d000.md",))
    fresh = Corpus(tmp_path / "fresh", Embedder(32), chunk_tokens=32)
    fresh.sync(root)
    assert corpus(tmp_path, Embedder(32)).fingerprint() == fresh.fingerprint()
    assert sorted(path.name for path in (tmp_path / "index").iterdir() if "next" in path.name) == []


def test_a_renewal_needs_every_source_and_keeps_the_old_index_otherwise(tmp_path: Path) -> None:
    one, two = documents(tmp_path, a="Alpha"), tmp_path / "more"
    two.mkdir()
    (two / "b.md").write_text("Beta")
    this = corpus(tmp_path)
    this.sync(one, two)
    other = corpus(tmp_path, Embedder(32))
    with pytest.raises(StoreError, match="sync its other sources too: more"):
        other.sync(one)
    with pytest.raises(StoreError, match="cannot be reached .* keeps its old embedder"):
        other.sync(one, two, "http://lamp.invalid/page.html", hosts=["lamp.invalid"])
    assert this.store.search_vectors(this.embedder.embed(["beta"])[0], 1)


def test_a_quote_is_located_whatever_its_white_space(tmp_path: Path) -> None:
    this = corpus(tmp_path)
    this.sync(documents(tmp_path, a="# A\nOne two\n  three four."))
    found = this.locate(Evidence("a.md", -1, -1, "two three"))
    assert found is not None and (found.document_id, found.start, found.end) == ("docs/a.md", 8, 19)
    assert this.locate(Evidence("a.md", -1, -1, "two four")) is None


class Crash(Exception):
    pass


class Fragile(Embedder):
    """Crashes at the n-th call."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.left -= 1
        if self.left < 0:
            raise Crash
        return super().embed(texts)


WORDS = st.sampled_from(["oil", "wick", "lamp", "glass", "flame", "brass"])
EDIT = st.tuples(st.sampled_from("abcd"), st.one_of(st.none(), st.lists(WORDS, min_size=1, max_size=60)))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.lists(EDIT, max_size=4), st.one_of(st.none(), st.integers(0, 3))), max_size=5))
def test_after_any_edits_and_crashes_the_index_equals_the_files(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[tuple[list[tuple[str, list[str] | None]], int | None]]
) -> None:
    folder = tmp_path_factory.mktemp("model")
    root = documents(folder)
    files: dict[str, str] = {}
    for edits, crash in rounds:
        for name, words in edits:
            path = root / f"{name}.txt"
            if words is None:
                path.unlink(missing_ok=True)
                files.pop(f"docs/{name}.txt", None)
            else:
                path.write_text(" ".join(words))
                files[f"docs/{name}.txt"] = " ".join(words)
        if crash is not None:
            with contextlib.suppress(Crash):
                corpus(folder, Fragile(crash)).sync(root)
        this = corpus(folder)
        this.sync(root)
        held = {id: document.text for id in this.store.ids() if (document := this.store.document(id))}
        assert held == files
        for id, text in files.items():
            chunks = this.store.chunks(id)
            assert [text[c.start : c.end] for c in chunks] == [c.text for c in chunks]
            assert " ".join(c.text for c in chunks).split() == text.split()
        hits = this.store.search_text("oil wick lamp glass flame brass", 1000)
        assert len(hits) == len({hit.chunk.id for hit in hits}) == sum(len(this.store.chunks(id)) for id in files)


def test_a_sync_that_is_interrupted_half_way_costs_one_pass_in_all(tmp_path: Path) -> None:
    root = documents(tmp_path, **{f"d{n:04}": f"lamp number {n}" for n in range(1500)})
    embedder = Counting()

    def crash(done: int, total: int, text: str) -> None:
        if done == 750:
            raise Crash

    with pytest.raises(Crash):
        corpus(tmp_path, embedder).sync(root, progress=crash)
    assert len(corpus(tmp_path, embedder).sync(root).added) == 1500 - 750
    assert len(embedder.embedded) <= 1.05 * 1500


WRITER = """
import sys, time
from pathlib import Path
from bakeoff.corpus import Corpus
from bakeoff.models.embedders.hashing import Embedder
corpus = Corpus(sys.argv[1], Embedder(), chunk_tokens=32)
def acknowledged(done, total, text):
    print(text, flush=True)
    time.sleep(0.01)
corpus.sync(sys.argv[2], progress=acknowledged)
"""


def test_kill_at_any_time_loses_and_doubles_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    root = documents(tmp_path, **{f"d{n:02}": f"# Doc {n}\nlamp number {n} " * 20 for n in range(40)})
    done: set[str] = set()
    for wait in (5, 14, 27):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "index"), str(root)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        for _ in range(wait):
            done.add(process.stdout.readline().strip().removeprefix("indexing: "))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        this = corpus(tmp_path)
        assert done <= set(this.store.ids())
        assert not this.store.check()
    this.sync(root)
    whole = Corpus(tmp_path / "whole", Embedder(), chunk_tokens=32)
    whole.sync(root)
    assert this.fingerprint() == whole.fingerprint()
    assert [this.store.chunks(id) for id in this.store.ids()] == [whole.store.chunks(id) for id in whole.store.ids()]


def test_two_writers_and_a_reader_at_once_all_succeed(tmp_path: Path) -> None:
    roots = []
    for name in ("one", "two"):
        root = tmp_path / name
        root.mkdir()
        for n in range(25):
            (root / f"{n}.txt").write_text(f"lamp {name} {n}")
        roots.append(root)
    this = corpus(tmp_path)
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "index"), str(root)], stdout=subprocess.DEVNULL)
        for root in roots
    ]
    while any(process.poll() is None for process in processes):
        this.store.search_text("lamp", 5)
        time.sleep(0.02)
    assert [process.returncode for process in processes] == [0, 0]
    assert this.store.sources() == {"one": 25, "two": 25}
    assert not this.store.check()
