"""What a crash, a full or failing disk, damage and others at work do to the index: nothing that is not said.

A few trials each here; `make test-slow` runs many.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bakeoff.corpus import Corpus
from bakeoff.errors import StoreError
from bakeoff.models.embedders.hashing import Embedder

WRITER = """
import os
import sys
from bakeoff.corpus import Corpus
from bakeoff.errors import BakeoffError
from bakeoff.models.embedders.hashing import Embedder
try:
    corpus = Corpus(sys.argv[1], Embedder(int(os.environ.get("DIMENSION", 64))), chunk_tokens=32)
    corpus.sync(*sys.argv[2:], progress=lambda done, total, text: print(text, flush=True))
except BakeoffError as error:
    print(error, file=sys.stderr)
    sys.exit(1)
"""


def corpus(folder: Path) -> Corpus:
    return Corpus(folder, Embedder(), chunk_tokens=32)


def documents(folder: Path, count: int, name: str = "docs") -> Path:
    root = folder / name
    root.mkdir()
    for n in range(count):
        (root / f"{n:03}.md").write_text(f"# Document {n} of {name}\n" + f"The lamp {name}{n} burns oil. " * 12)
    return root


def write(index: Path, *roots: Path, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    command = [*before, sys.executable, "-c", WRITER, str(index), *map(str, roots)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def acknowledged(printed: str) -> set[str]:
    return set(re.findall(r"^indexing: (\S+)$", printed, re.MULTILINE))


def contents(this: Corpus) -> list[object]:
    """All that can be found, in one value: the same for equal stores."""
    ids = this.store.ids()
    found = this.store.search_text("lamp", 10_000)
    vectors = this.store.search_vectors(np.asarray(this.embedder.embed(["lamp"])[0]), 10_000)
    return [
        this.fingerprint(),
        [this.store.document(id) for id in ids],
        [this.store.chunks(id) for id in ids],
        sorted((hit.chunk.id, round(hit.score, 6)) for hit in found),
        sorted((hit.chunk.id, round(hit.score, 6)) for hit in vectors),
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[object]]:
    """Documents, the index of an undisturbed sync, and what it holds."""
    folder = tmp_path_factory.mktemp("whole")
    root = documents(folder, 30)
    this = corpus(folder / "index")
    this.sync(root)
    held = contents(this)
    this.store.purge()
    this.store.close()
    return root, folder / "index", held


@pytest.mark.parametrize("trials", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_kill_at_random_times_loses_tears_and_doubles_nothing(
    trials: int, tmp_path: Path, whole: tuple[Path, Path, list[object]]
) -> None:
    root, _, held = whole
    dice = random.Random(trials)
    killed = 0
    for trial in range(trials):
        index = tmp_path / str(trial)
        process = write(index, root)
        assert process.stdout
        first = process.stdout.readline()  # the import is over
        time.sleep(dice.random() * 0.25)
        process.send_signal(signal.SIGKILL)
        printed = first + process.communicate()[0]
        killed += process.returncode == -signal.SIGKILL
        this = corpus(index)
        assert acknowledged(printed) <= set(this.store.ids())
        assert this.store.check() == []
        this.sync(root)
        assert contents(this) == held
        shutil.rmtree(index)
    assert killed >= trials // 3


@pytest.mark.parametrize("trials", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_kill_while_another_embedder_takes_over_leaves_the_old_index_or_the_new(
    trials: int, tmp_path: Path, whole: tuple[Path, Path, list[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, old, held = whole
    other = Corpus(tmp_path / "other", Embedder(32), chunk_tokens=32)
    other.sync(root)
    renewed = contents(other)
    monkeypatch.setenv("DIMENSION", "32")
    dice = random.Random(trials)
    for trial in range(trials):
        index = tmp_path / str(trial)
        shutil.copytree(old, index)
        process = write(index, root)
        assert process.stdout
        process.stdout.readline()  # the import is over
        time.sleep(dice.random() * 0.25)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        made_with = corpus(index).store.get("embedder")
        this = Corpus(index, Embedder(32) if made_with == Embedder(32).fingerprint else Embedder(), chunk_tokens=32)
        assert contents(this) in (held, renewed)
        assert this.store.check() == []
        this = Corpus(index, Embedder(32), chunk_tokens=32)
        this.sync(root)
        assert contents(this) == renewed
        shutil.rmtree(index)


CALLS = ("pwrite64", "fdatasync", "ftruncate", "unlink", "openat")
FAULTS = ("signal=SIGKILL", "error=ENOSPC", "error=EIO")


def faults(trials: int) -> list[tuple[str, str, int]]:
    dice = random.Random(7)
    return [(CALLS[n % 3], FAULTS[n % 3 if n % 2 else n // 3 % 3], dice.randrange(1, 30)) for n in range(trials)]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("trials", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_a_fault_at_any_write_is_a_clear_error_and_the_rest_is_kept(
    trials: int, tmp_path: Path, whole: tuple[Path, Path, list[object]]
) -> None:
    root, _, held = whole
    struck = 0
    for number, (call, fault, when) in enumerate(faults(trials)):
        index = tmp_path / str(number)
        index.mkdir()
        # Only calls on the index's own files are struck.
        paths = [f"-P{index / name}" for name in ("corpus.db", "corpus.db-wal", "corpus.db-shm")]
        before = (
            "strace",
            "-f",
            "--seccomp-bpf",
            "-qq",
            "-o",
            os.devnull,
            *paths,
            f"-etrace={call}",
            f"-einject={call}:{fault}:when={when}+",
        )
        process = write(index, root, before=before)
        printed, errors = process.communicate(timeout=120)
        if process.returncode:
            struck += 1
            assert "Traceback" not in errors, errors
        if process.returncode == 1:
            assert errors.startswith("the index ") and errors.count("\n") == 1
        this = corpus(index)
        assert acknowledged(printed) <= set(this.store.ids()), (call, fault, when)
        assert this.store.check() == []
        this.sync(root)
        assert contents(this) == held
    assert struck >= trials // 4


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_a_clear_error_and_what_was_indexed_is_kept(
    tmp_path: Path, whole: tuple[Path, Path, list[object]]
) -> None:
    root, _, held = whole
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("this system lets nobody mount a disk")
    try:
        process = write(disk / "index", root)
        printed, errors = process.communicate(timeout=120)
        assert process.returncode == 1
        assert re.fullmatch(r"the index \S+: (database or disk is full|disk I/O error); free some space .*\n", errors)
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        this = corpus(disk / "index")
        assert 0 < len(acknowledged(printed)) < 30
        assert acknowledged(printed) <= set(this.store.ids())
        this.sync(root)
        assert contents(this) == held
        this.store.close()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("trials", [40, pytest.param(600, marks=pytest.mark.slow)])
def test_a_damaged_index_is_never_silently_wrong(
    trials: int, tmp_path: Path, whole: tuple[Path, Path, list[object]]
) -> None:
    _, index, held = whole
    sound = (index / "corpus.db").read_bytes()
    dice = random.Random(11)
    told = 0
    for trial in range(trials):
        damaged = bytearray(sound)
        if trial % 4 == 3:
            del damaged[dice.randrange(len(damaged)) :]
        else:
            for _ in range(dice.choice((1, 8, 200))):
                damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
        folder = tmp_path / str(trial)
        folder.mkdir()
        (folder / "corpus.db").write_bytes(damaged)
        try:
            this = corpus(folder)
            right = contents(this) == held
            assert right or this.store.check()
            told += not right
            this.store.close()
        except StoreError as error:
            told += 1
            assert "\n" not in str(error)
        shutil.rmtree(folder)
    assert told > trials // 4


def test_mending_drops_what_is_damaged_and_the_next_sync_brings_it_back(
    tmp_path: Path, whole: tuple[Path, Path, list[object]]
) -> None:
    root, index, held = whole
    shutil.copytree(index, tmp_path / "index")
    damaged = (tmp_path / "index" / "corpus.db").read_bytes().replace(b"lamp docs7 burns", b"lamp docs7 turns")
    (tmp_path / "index" / "corpus.db").write_bytes(damaged)
    this = corpus(tmp_path / "index")
    with pytest.raises(StoreError, match="run `bakeoff doctor --mend`"):
        this.store.document("docs/007.md")
    assert this.store.check() == [
        "full-text index: database disk image is malformed",
        "docs/007.md is not what was written",
    ]
    assert this.store.mend() == ["docs/007.md"]
    assert this.store.check() == []
    assert this.sync(root).added == ("docs/007.md",)
    assert contents(this) == held


@pytest.mark.parametrize(("writers", "each"), [(4, 12), pytest.param(4, 125, marks=pytest.mark.slow)])
def test_writers_and_readers_at_once_all_succeed(writers: int, each: int, tmp_path: Path) -> None:
    roots = [documents(tmp_path, each, name) for name in "abcd"[:writers]]
    processes = [write(tmp_path / "index", root) for root in roots]
    this = corpus(tmp_path / "index")
    readers = [corpus(tmp_path / "index") for _ in range(2)]
    most = [0, 0]
    while any(process.poll() is None for process in processes):
        for number, reader in enumerate(readers):
            ids = {hit.chunk.document_id for hit in reader.store.search_text("lamp", 10_000)}
            assert len(ids) >= most[number]  # what a reader has seen stays
            most[number] = len(ids)
        time.sleep(0.02)
    for process in processes:
        assert process.communicate()[1] == "" and process.returncode == 0
    assert this.store.sources() == {root.name: each for root in roots}
    assert this.store.check() == []
    apart = corpus(tmp_path / "apart")
    apart.sync(*roots)
    assert contents(this) == contents(apart)
