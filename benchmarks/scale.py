"""Memory, time per document and search, from a thousand documents and ten thousand chunks up.

    make bench-scale DATA=path/to/data [DOCUMENTS="1000 10000 100000"] [CHUNKS="10000 100000 1000000"]

Ingest: small Markdown files through the whole sync, with the hashing embedder so that what is measured is ours. Search:
real passages with their vectors, as many more made from them as the size asks for, and real questions. Each measurement
runs in a process of its own, with one BLAS thread; times are of the processor. Writes docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from passages import embed, more_texts, more_vectors
from results import machine, publish, table

from bakeoff.corpus import Corpus
from bakeoff.corpus.stores.sqlite import Store
from bakeoff.corpus.vectors import NEWEST
from bakeoff.models.embedders.hashing import Embedder
from bakeoff.types import Chunk, Document

WORDS = 5_000
QUERIES = 200
EACH = 10
"""Chunks of a document; every hundredth document is for members of `hr` only."""
FEW = {"groups": ["hr"], "source": ["few"]}
"""A filter that lets one of a hundred through."""


def main() -> None:
    """Measure every size and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds xquad, covidqa and others")
    parser.add_argument("--passages", type=Path, help="folder of the embedded passages; made where it is empty")
    parser.add_argument("--documents", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--chunks", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        kind, *rest = arguments.one
        print(json.dumps(STEPS[kind](*rest)))
        return
    if arguments.documents:
        text = ingest_table(arguments.documents)
        publish("scale-ingest", f"{text}\n\n`make bench-scale` on {machine()}.")
        print(text)
    if not arguments.chunks:
        return
    with tempfile.TemporaryDirectory() as scratch:
        passages = arguments.passages or Path(scratch)
        if not (passages / "questions.json").is_file():
            if not (arguments.data and (arguments.data / "covidqa").is_dir()):
                sys.exit(
                    "skipped search: the passages are not there; give the folder of covidqa and others with --data"
                )
            embed(arguments.data, passages)
        text = search_table(arguments.chunks, passages, Path(scratch))
        count = len(np.load(passages / "passages.npy", mmap_mode="r"))
    note = f"{count:,} real passages, the rest made from them; {QUERIES} real questions a line; milliseconds of CPU"
    publish("scale", f"{text}\n\n`make bench-scale DATA=...` on {machine()}; {note}.")
    print(text)


def ingest_table(sizes: list[int]) -> str:
    """A line for each number of documents."""
    rows = [
        [
            f"{size:,}",
            f"{found['peak']:.0f}",
            f"{found['seconds'] / size * 1000:.2f}",
            f"{found['again'] / found['seconds']:.1%}",
            f"{found['bytes'] / size / 1000:.1f}",
        ]
        for size in sizes
        for found in [measured("ingest", size)]
    ]
    return table(
        ["documents", "peak memory, MiB", "CPU ms a document", "unchanged again", "kB on disk a document"], rows
    )


def search_table(sizes: list[int], passages: Path, scratch: Path) -> str:
    """A line for each number of chunks and way of searching."""
    rows = []
    for size in sizes:
        folder = scratch / str(size)
        folder.mkdir()
        measured("fill", size, passages, folder)
        # So few chunks need no graph.
        for what in ("words", "exact", "approximate") if size > NEWEST else ("words", "exact"):
            made = measured("build", folder) if what == "approximate" else {}
            found = measured(what, passages, folder)
            rows.append(
                [
                    f"{size:,} {what}",
                    *(f"{found[kind][0]:.1f} / {found[kind][1]:.1f}" for kind in ("all", "few")),
                    f"{found['recall']:.3f}" if "recall" in found else "",
                    f"{found['first']:.2f}",
                    f"{found['peak']:.0f}",
                    f"{made['seconds']:.0f} / {made['peak']:.0f} / {made['bytes'] / 1e6:.0f}" if made else "",
                ]
            )
            print(rows[-1], file=sys.stderr, flush=True)
        for path in folder.iterdir():
            path.unlink()
    head = ["chunks, by", "ms p50 / p95", "1% allowed, p50 / p95", "recall@10", "first, s", "peak MiB"]
    return table([*head, "index: CPU s / MiB / MB on disk"], rows)


def measured(kind: str, *rest: object) -> Any:
    """The same in a fresh process."""
    command = [sys.executable, __file__, "--one", kind, *map(str, rest)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout)


# ---------------------------------------------------------------- ingest


def ingest(size: str) -> dict[str, float]:
    """Sync `size` files of about 150 words, then again."""
    dice, words = random.Random(0), [f"w{int(rank**1.5)}x" for rank in range(1, WORDS)]
    with tempfile.TemporaryDirectory() as scratch:
        root, index = Path(scratch) / "docs", Path(scratch) / "index"
        for n in range(int(size)):
            path = root / f"{n // 1000:03}" / f"{n:06}.md"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"# Document {n}\n\n{' '.join(dice.choices(words, k=150))}\n")
        corpus = Corpus(index, Embedder())
        start = processor_seconds()
        corpus.sync(root)
        seconds = processor_seconds() - start
        start = processor_seconds()
        corpus.sync(root)
        again = processor_seconds() - start
        stored = sum(path.stat().st_size for path in index.iterdir())
    return {"peak": peak(), "seconds": seconds, "again": again, "bytes": stored}


# ---------------------------------------------------------------- search


def fill(size: str, passages: str, folder: str) -> None:
    """A store of `size` chunks in documents of `EACH`."""
    store, texts = Store(Path(folder) / "corpus.db"), more_texts(Path(passages))
    number = 0
    for vectors in more_vectors(Path(passages), int(size)):
        for start in range(0, len(vectors), EACH):
            id, chunks, offset = f"d/{number:07}", [], 0
            for text in islice(texts, EACH):
                chunks.append(Chunk(f"{id}#{offset}", id, text, offset, offset + len(text)))
                offset += len(text) + 1
            few = number % 100 == 0
            whole = "\n".join(chunk.text for chunk in chunks)
            document = Document(id, whole, "few" if few else "many", {"groups": ["hr"] if few else []})
            store.put(document, "1", chunks, vectors[start : start + EACH], [chunk.id for chunk in chunks])
            number += 1
    store.close()


def build(folder: str) -> dict[str, float]:
    """The graph of the approximate search."""
    start = time.process_time()
    Store(Path(folder) / "corpus.db", approximate=True).optimize()
    (file,) = Path(folder).glob("corpus.db-vectors-*")
    return {"seconds": time.process_time() - start, "peak": peak(), "bytes": file.stat().st_size}


def words(passages: str, folder: str) -> dict[str, Any]:
    """BM25 for each question."""
    store = Store(Path(folder) / "corpus.db")
    asked = questions(Path(passages))[0]
    return timed(lambda n, filter: store.search_text(asked[n], 10, filter))


def exact(passages: str, folder: str) -> dict[str, Any]:
    """All vectors compared; what is found is kept, to hold the approximate search against."""
    return vectors(passages, folder, approximate=False)


def approximate(passages: str, folder: str) -> dict[str, Any]:
    """The nearest by the graph."""
    found = vectors(passages, folder, approximate=True)
    return {**found, "recall": recall(folder, "all")}


def vectors(passages: str, folder: str, approximate: bool) -> dict[str, Any]:
    store = Store(Path(folder) / "corpus.db", approximate=approximate)
    asked, kept = questions(Path(passages))[1], dict[int, list[str]]()

    def search(n: int, filter: Any) -> None:
        hits = store.search_vectors(asked[n], 10, filter)
        if not filter:
            kept[n] = [hit.chunk.id for hit in hits]

    found = timed(search)
    (Path(folder) / f"{'approximate' if approximate else 'exact'}.json").write_text(json.dumps(kept))
    return found


def recall(folder: str, kind: str) -> float:
    """Share of the true ten that were found."""
    true, found = (json.loads((Path(folder) / f"{name}.json").read_text()) for name in ("exact", "approximate"))
    return float(np.mean([len(set(true[n]) & set(found[n])) / len(true[n]) for n in true]))


def questions(passages: Path) -> tuple[list[str], Any]:
    """`QUERIES` of them, and their vectors."""
    texts = json.loads((passages / "questions.json").read_text(encoding="utf-8"))
    chosen = random.Random(0).sample(range(len(texts)), QUERIES)
    return [texts[n] for n in chosen], np.load(passages / "questions.npy")[chosen]


def timed(search: Callable[[int, Any], object]) -> dict[str, Any]:
    """Seconds of the first search by the clock, then milliseconds of CPU at the 50th and 95th percentile."""
    start = time.perf_counter()
    search(0, None)
    first = time.perf_counter() - start
    found: dict[str, Any] = {"first": first}
    for kind, filter in (("all", None), ("few", FEW)):
        taken = []
        for n in range(QUERIES):
            start = time.process_time()
            search(n, filter)
            taken.append((time.process_time() - start) * 1000)
        found[kind] = np.percentile(taken, [50, 95]).tolist()
    return {**found, "peak": peak()}


def processor_seconds() -> float:
    """Of this process and of its children that ended."""
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def peak() -> float:
    """MiB; Linux counts what the parent held before into ru_maxrss, but not into VmHWM."""
    status = Path("/proc/self/status")
    if status.is_file():
        return (
            int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) / 2**10
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


STEPS: dict[str, Callable[..., Any]] = {
    "ingest": ingest,
    "fill": fill,
    "build": build,
    "words": words,
    "exact": exact,
    "approximate": approximate,
}

if __name__ == "__main__":
    main()
