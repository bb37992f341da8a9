"""Memory, time per document and search, from a thousand documents up.

    make bench-scale [DOCUMENTS="1000 10000"] [CHUNKS="10000 100000"]

Ingest: small Markdown files through the whole sync, with the hashing embedder so that what is measured is ours. Search:
random unit vectors and random words in the store. Each size runs in a process of its own. Writes docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from results import machine, publish, table

from bakeoff.corpus import Corpus
from bakeoff.models.embedders.hashing import Embedder
from bakeoff.plugins import get
from bakeoff.types import Chunk, Document

WORDS = 5_000
QUERIES = 100


def main() -> None:
    """Measure every size and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, nargs="*", default=[1_000, 10_000])
    parser.add_argument("--chunks", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        kind, size = arguments.one
        print(json.dumps({"ingest": ingest, "search": search}[kind](int(size))))
        return
    rows = [
        [
            f"{size:,}",
            f"{found['peak']:.0f}",
            f"{found['seconds'] / size * 1000:.2f}",
            f"{found['again'] / found['seconds']:.1%}",
            f"{found['bytes'] / size / 1000:.1f}",
        ]
        for size in arguments.documents
        for found in [measured("ingest", size)]
    ]
    head = ["documents", "peak memory, MiB", "CPU ms a document", "unchanged again", "kB on disk a document"]
    texts = [table(head, rows)]
    rows = [
        [
            f"{size:,}",
            *(f"{found[kind][0]:.1f} / {found[kind][1]:.1f}" for kind in ("words", "vectors")),
            f"{found['load']:.2f}",
            f"{found['peak']:.0f}",
        ]
        for size in arguments.chunks
        for found in [measured("search", size)]
    ]
    head = ["chunks", "words, ms p50 / p95", "vectors (exact), ms p50 / p95", "first vectors, s", "peak memory, MiB"]
    texts.append(table(head, rows))
    publish("scale", "\n\n".join([*texts, f"`make bench-scale` on {machine()}; {QUERIES} queries a line."]))
    print("\n\n".join(texts))


def measured(kind: str, size: int) -> Any:
    """The same in a fresh process."""
    command = [sys.executable, __file__, "--one", kind, str(size)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def ingest(size: int) -> dict[str, float]:
    """Sync `size` files of about 150 words, then again."""
    dice, words = random.Random(0), vocabulary()
    with tempfile.TemporaryDirectory() as scratch:
        root, index = Path(scratch) / "docs", Path(scratch) / "index"
        for n in range(size):
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


def search(size: int) -> dict[str, Any]:
    """Latency in milliseconds of `QUERIES` queries of four words, and of as many vectors of 384 dimensions."""
    dice, words, noise = random.Random(0), vocabulary(), np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as scratch:
        store = get("stores", "sqlite")(Path(scratch) / "corpus.db")
        for n in range(0, size, 1000):
            texts = [" ".join(dice.choices(words, k=80)) for _ in range(1000)]
            chunks = [Chunk(f"d{n}#{i}", f"d{n}", text, 0, len(text)) for i, text in enumerate(texts)]
            store.put(Document(f"d{n}", "", "s"), "1", chunks, unit(noise, 1000), [chunk.id for chunk in chunks])
        start = time.perf_counter()
        store.search_vectors(unit(noise, 1)[0], 10)
        load = time.perf_counter() - start
        by_words = [timed(lambda: store.search_text(" ".join(dice.choices(words, k=4)), 10)) for _ in range(QUERIES)]
        by_vectors = [timed(lambda: store.search_vectors(unit(noise, 1)[0], 10)) for _ in range(QUERIES)]
        store.close()
    quantiles = {
        name: np.percentile(ms, [50, 95]).tolist() for name, ms in (("words", by_words), ("vectors", by_vectors))
    }
    return {"load": load, "peak": peak(), **quantiles}


def vocabulary() -> list[str]:
    """Words of which a few are frequent and most are rare."""
    return [f"w{int(rank**1.5)}x" for rank in range(1, WORDS)]


def unit(noise: np.random.Generator, count: int) -> Any:
    vectors = noise.standard_normal((count, 384), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def timed(run: Any) -> float:
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1000


def processor_seconds() -> float:
    """Of this process and of its children that ended."""
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def peak() -> float:
    """MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main()
