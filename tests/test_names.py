"""Names are labels: whatever a file, a chapter or a link is called, nothing outside the source is read or written."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from bakeoff.corpus import Corpus
from bakeoff.corpus.parsing import Parser
from bakeoff.errors import DataError
from bakeoff.models.embedders.hashing import Embedder

SECRET = "zqsecretxv"
UP = [
    "../",
    "..\\",
    "..//",
    "....//",
    "..;/",
    "%2e%2e/",
    "%2e%2e%2f",
    "..%2f",
    "..%5c",
    "%252e%252e%252f",
    "..%c0%af",
    "．．/",
]
TARGETS = ["secret.txt", "outside/secret.txt"]
WHOLE = [
    "/etc/passwd",
    "//etc/passwd",
    "file:///etc/passwd",
    "\\\\server\\share\\secret.txt",
    "C:\\secret.txt",
    "C:secret.txt",
    "\\secret.txt",
    "~/secret.txt",
    "~root/secret.txt",
    "$HOME/secret.txt",
    "${HOME}/secret.txt",
    "`cat secret.txt`",
    "$(cat secret.txt)",
    "|cat secret.txt",
    "secret.txt\x00.md",
    "con",
    "nul.md",
    ".",
    "..",
    "./../secret.txt",
]
NAMES = [f"{up * depth}{target}" for up in UP for depth in (1, 3, 9) for target in TARGETS] + WHOLE


def outside(folder: Path) -> Path:
    """Two secrets beside the source, and the source itself."""
    (folder / "outside").mkdir()
    for target in TARGETS:
        (folder / target).write_text(SECRET)
    root = folder / "docs"
    root.mkdir()
    return root


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_there_are_enough_names() -> None:
    assert len(set(NAMES)) >= 80


def test_files_of_any_name_stay_labels(tmp_path: Path) -> None:
    root = outside(tmp_path)
    made = 0
    for number, name in enumerate(NAMES):
        flat = name.replace("/", "\u2215").replace("\x00", "\u2400")
        if flat in (".", "..") or len(os.fsencode(flat)) > 200:
            continue
        (root / f"{flat}.md").write_text(f"document {number}")
        made += 1
    before = tree(tmp_path)
    this = Corpus(tmp_path / "index", Embedder())
    changes = this.sync(root)
    assert len(changes.added) + len(changes.failed) + sum(path.name[0] in ".~" for path in root.iterdir()) >= made
    after = tree(tmp_path)
    assert {path for path in after if not path.startswith("index/")} == set(before)
    assert set(os.listdir(tmp_path / "index")) <= {"corpus.db", "corpus.db-wal", "corpus.db-shm"}
    assert this.store.search_text(SECRET, 5) == []


@pytest.mark.parametrize("target", ["../secret.txt", "../outside", "/etc/passwd", "loop"])
def test_links_lead_nowhere_outside(tmp_path: Path, target: str) -> None:
    root = outside(tmp_path)
    (root / "loop.md").symlink_to(target if target != "loop" else root / "loop.md")
    (root / "folder").symlink_to(target)
    this = Corpus(tmp_path / "index", Embedder())
    assert this.sync(root).added == ()
    assert this.store.search_text(f"{SECRET} root", 5) == []


def test_chapters_of_any_name_are_looked_up_in_the_book_only(tmp_path: Path) -> None:
    root = outside(tmp_path)
    items = "".join(
        f'<item id="i{number}" href="{name}"/>'
        for number, name in enumerate(NAMES)
        if "\x00" not in name and "&" not in name
    )
    spine = "".join(f'<itemref idref="i{number}"/>' for number in range(len(NAMES)))
    with zipfile.ZipFile(root / "a.epub", "w") as book:
        rootfile = '<rootfile full-path="O/b.opf"/>'
        book.writestr("META-INF/container.xml", f"<container><rootfiles>{rootfile}</rootfiles></container>")
        book.writestr("O/b.opf", f"<package><manifest>{items}</manifest><spine>{spine}</spine></package>")
        for name in NAMES:  # entries that an unpacker would write outside
            book.writestr(name.replace("\x00", "") or "x", f"<p>chapter {len(name)}</p>")
    before = tree(tmp_path)
    with Parser() as parser:
        try:
            text = parser.load("epub", root / "a.epub").text
        except DataError as error:
            text = str(error)
    assert SECRET not in text and "root:" not in text
    assert tree(tmp_path) == before
