"""What the vectors cost and gain: int8 beside llama.cpp on Cranfield, titles and sections embedded or not on CovidQA.

    make bench-vectors DATA=path/to/data

Dense retrieval alone; collections and measures are those of benchmarks/retrieval.py. Writes docs/results.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from results import machine, publish, table
from retrieval import asked, covidqa, cranfield, difference, mean

from bakeoff.corpus import Corpus
from bakeoff.retrieval import Dense


def main() -> None:
    """Both collections, each with two ways to embed the same passages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds cranfield and covidqa")
    data = parser.parse_args().data
    missing = [name for name in ("cranfield", "covidqa") if not (data / name).is_dir()]
    if missing:
        sys.exit(f"skipped: {data / missing[0]} is not there; give its folder with --data")
    label_of = {"cran": "Cranfield", "papers": "CovidQA"}
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for made, root, column, label, options in (
            (cranfield, "cran", "graded nDCG@10", "llama.cpp Q8_0", {"embedder": "minilm", "chunk_tokens": 512}),
            (covidqa, "papers", "hit@5", "title and section embedded", {"embedder": "minilm-int8", "headers": True}),
        ):
            collection, corpus = made(data, folder)
            other = Corpus(folder / f"{root}.other", **options)  # type: ignore[arg-type]
            other.sync(folder / root)
            scores = []
            for index in (corpus, other):
                found, _ = asked(Dense(index), collection)
                scores.append(
                    [
                        collection.measures[column](
                            found[id], {name: row[id] for name, row in collection.gains.items()}
                        )
                        for id in collection.questions
                    ]
                )
            rows.append(
                [
                    f"{label_of[root]}, {column}",
                    f"{len(scores[0]):,}",
                    mean(scores[0]),
                    label,
                    mean(scores[1]),
                    difference(*reversed(scores)),
                ]
            )
    head = ["collection", "n", "minilm-int8", "other", "the other's", "difference"]
    publish("vectors", f"{table(head, rows)}\n\n`make bench-vectors DATA=...` on {machine()}.")
    print(table(head, rows))


if __name__ == "__main__":
    main()
