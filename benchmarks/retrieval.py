"""How well passages are found: Cranfield by retriever and embedder, CovidQA with and without headers.

    make bench-retrieval DATA=path/to/data

Cranfield: 1,400 abstracts as one passage each where they fit the embedder, a document's score that of its best passage.
Graded: gain 2^grade - 1 for grades above 0 as they stand in QRelsCorrectedforTRECeval; binary: grades 1 to 4 count.
CovidQA: 98 long papers in passages of at most 128 tokens; a hit is a passage that holds half of the answer or more.
Writes docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from results import machine, publish, table
from scipy.stats import t as student

from bakeoff.corpus import Corpus
from bakeoff.retrieval import BM25, Dense, Hybrid
from bakeoff.types import Evidence, Retriever

EMBEDDERS = ("minilm", "minilm-int8")


def main() -> None:
    """Run both collections and write their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds cranfield and covidqa")
    data = parser.parse_args().data
    missing = [name for name in ("cranfield", "covidqa") if not (data / name).is_dir()]
    if missing:
        sys.exit(f"skipped: {data / missing[0]} is not there; give its folder with --data")
    texts = [cranfield(data / "cranfield"), covidqa(data / "covidqa" / "200423_covidQA.json")]
    publish("retrieval", "\n\n".join([*texts, f"`make bench-retrieval DATA=...` on {machine()}."]))
    print("\n\n".join(texts))


def retrievers(corpus: Corpus) -> dict[str, Retriever]:
    """The three that every project has."""
    bm25, dense = BM25(corpus), Dense(corpus)
    return {"BM25": bm25, "dense": dense, "hybrid": Hybrid(bm25, dense)}


# ---------------------------------------------------------------- Cranfield


def cranfield(folder: Path) -> str:
    """A line for each embedder and retriever."""
    documents, queries, grades = read_cranfield(folder)
    scores: dict[tuple[str, str], dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "cran"
        root.mkdir()
        for id, text in documents.items():
            (root / f"{id}.txt").write_text(text, encoding="utf-8")
        for embedder in EMBEDDERS:
            corpus = Corpus(Path(scratch) / embedder, embedder, chunk_tokens=512)
            corpus.sync(root)
            for name, retriever in retrievers(corpus).items():
                if name == "BM25" and embedder != EMBEDDERS[0]:
                    continue
                found: dict[str, list[float]] = defaultdict(list)
                for query, text in queries.items():
                    hits = [hit.chunk.document_id for hit in retriever.retrieve(text, 50)]
                    ranked = [id.removeprefix("cran/").removesuffix(".txt") for id in dict.fromkeys(hits)][:10]
                    graded = {id: 2.0**grade - 1 for id, grade in grades[query].items() if grade > 0}
                    binary = {id: 1.0 for id, grade in grades[query].items() if 1 <= grade <= 4}
                    found["graded"].append(ndcg(ranked, graded))
                    found["binary"].append(ndcg(ranked, binary))
                    found["recall"].append(len(set(ranked) & set(graded)) / len(graded))
                scores["" if name == "BM25" else embedder, name] = found
    rows = [
        [
            f"{name} {embedder}".strip(),
            *(mean(found[what]) for what in ("graded", "binary", "recall")),
            "" if embedder != EMBEDDERS[1] else difference(found["graded"], scores[EMBEDDERS[0], name]["graded"]),
        ]
        for (embedder, name), found in scores.items()
    ]
    head = ["Cranfield", "graded nDCG@10", "binary nDCG@10", "recall@10", "int8 less llama.cpp, graded"]
    return f"{len(queries)} questions, {len(documents):,} abstracts:\n\n{table(head, rows)}"


def read_cranfield(folder: Path) -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]:
    """Documents (title and text), queries, and query -> document -> grade; queries are numbered as they come."""
    documents = {}
    for entry in re.split(r"^\.I ", (folder / "cran.all.1400").read_text(), flags=re.MULTILINE)[1:]:
        id, _, rest = entry.partition("\n")
        documents[id.strip()] = rest.partition(".W\n")[2].strip() or rest.partition(".T\n")[2].partition(".A\n")[0]
    entries = re.split(r"^\.I ", (folder / "cran.qry").read_text(), flags=re.MULTILINE)[1:]
    queries = {str(number): entry.partition(".W\n")[2].strip() for number, entry in enumerate(entries, start=1)}
    grades: dict[str, dict[str, int]] = defaultdict(dict)
    for line in (folder / "QRelsCorrectedforTRECeval").read_text().splitlines():
        query, _, document, grade = line.split()
        grades[query][document] = int(grade)
    return documents, queries, grades


def ndcg(ranked: Sequence[str], gains: Mapping[str, float]) -> float:
    """At the length of `ranked`, 10 at most."""
    discounts = 1 / np.log2(np.arange(2, 12))
    ideal = sorted(gains.values(), reverse=True)[:10]
    got = [gains.get(id, 0.0) for id in ranked]
    return float(np.dot(got, discounts[: len(got)]) / np.dot(ideal, discounts[: len(ideal)]))


# ---------------------------------------------------------------- CovidQA


def covidqa(path: Path) -> str:
    """Hits among the first passages, by retriever, with and without title and section embedded."""
    papers = [paper["paragraphs"][0] for paper in json.loads(path.read_text(encoding="utf-8"))["data"]]
    rows = []
    found: dict[tuple[str, bool], list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "papers"
        root.mkdir()
        for number, paper in enumerate(papers):
            title = paper["context"].strip().partition("\n")[0][:150]
            (root / f"{number}.md").write_text(f"# {title}\n\n{paper['context']}", encoding="utf-8")
        for headers in (True, False):
            corpus = Corpus(Path(scratch) / str(headers), "minilm-int8", headers=headers)
            corpus.sync(root)
            for name, retriever in retrievers(corpus).items():
                if name == "BM25" and not headers:
                    continue
                ranks = []
                for number, paper in enumerate(papers):
                    for question in paper["qas"]:
                        quote = question["answers"][0]["text"]
                        gold = corpus.locate(Evidence(f"papers/{number}.md", -1, -1, quote))
                        if gold is None:
                            continue
                        hits = retriever.retrieve(question["question"], 10)
                        ranks.append(next((n for n, hit in enumerate(hits) if gold.in_chunk(hit.chunk)), 10))
                found[name, headers] = [float(rank < 5) for rank in ranks]
                label = name if name == "BM25" else f"{name}, {'with' if headers else 'without'} headers"
                rows.append([label, *(mean([float(rank < k) for rank in ranks]) for k in (1, 5, 10))])
    gain = difference(found["dense", True], found["dense", False])
    head = ["CovidQA", "hit@1", "hit@5", "hit@10"]
    n = len(found["dense", True])
    return f"{n:,} questions, {len(papers)} papers; headers change dense hit@5 by {gain}:\n\n{table(head, rows)}"


def mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.4f}"


def difference(one: Sequence[float], other: Sequence[float]) -> str:
    """Paired mean difference with its 95% interval by Student's t."""
    gaps = np.array(one) - np.array(other)
    margin = student.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps))
    return f"{gaps.mean():+.4f} [{gaps.mean() - margin:+.4f}, {gaps.mean() + margin:+.4f}]"


if __name__ == "__main__":
    main()
