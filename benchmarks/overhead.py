"""What the code around retrieval and generation costs a question, beside LlamaIndex, Haystack and LangChain.

    make bench-overhead DATA=path/to/data

Retrieval and generation are taken out: three paragraphs of XQuAD come from a list and the reply is ready. What is
left is packing, the prompt, verified citations and the trace in ours - tokens are counted by SmolLM2's own tokenizer -
and each peer's own way from a question to an answer. CPU milliseconds a question; four questions of seven
bring a passage that was not seen in the first round, none does in the later ones. Writes docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PEERS = Path(".venv-peers/bin/python")
ROUNDS = 3
QUESTIONS = 300
Job = list[dict[str, Any]]


def main() -> None:
    """Run all, or one contestant on the questions of a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds xquad")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, file = arguments.one
        print(json.dumps(clocked(CONTESTANTS[name], json.loads(Path(file).read_text()))))
        return
    path = arguments.data / "xquad" / "xquad.en.json"
    if not path.is_file():
        sys.exit(f"skipped: {path} is not there; give its folder with --data")
    report(questions(path))


def report(job: Job) -> None:
    """Each contestant in a process of its own."""
    from results import machine, publish, table

    rows, ours = [], 0.0
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "job.json"
        file.write_text(json.dumps(job))
        for name in CONTESTANTS:
            python = sys.executable if name.startswith("Bakeoff") else str(PEERS)
            command = [python, __file__, "--one", name, str(file)]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode:
                sys.exit(f"{name}: {result.stderr.strip()[-800:]}")
            first, later = json.loads(result.stdout.splitlines()[-1])
            ours = ours or later
            rows.append([name, f"{first:.2f}", f"{later:.2f}", f"{later / ours:.1f}"])
    head = ["around retrieval and generation", "CPU ms a question, first round", "later rounds", "x ours"]
    text = f"{table(head, rows)}\n\n"
    publish("overhead", f"{text}{len(job)} questions. `make bench-overhead DATA=...` on {machine()}.")
    print(text)


def questions(path: Path) -> Job:
    """A question, its paragraph and the two after it, and a reply that the paragraph holds."""
    paragraphs = [p for article in json.loads(path.read_text())["data"] for p in article["paragraphs"]]
    texts = [paragraph["context"] for paragraph in paragraphs]
    job = []
    for number, paragraph in enumerate(paragraphs):
        for entry in paragraph["qas"]:
            start = entry["answers"][0]["answer_start"]
            begin = paragraph["context"].rfind(". ", 0, start) + 1
            end = paragraph["context"].find(". ", start) + 1 or len(paragraph["context"])
            passages = (texts * 2)[number : number + 3]
            reply = paragraph["context"][begin:end].strip()
            job.append({"question": entry["question"], "passages": passages, "reply": reply})
    return job[:: len(job) // QUESTIONS][:QUESTIONS]


def clocked(contestant: Callable[[Job], Callable[[dict[str, Any]], str]], job: Job) -> tuple[float, float]:
    """CPU milliseconds a question in the first round and in the quickest later one, after ten to warm up."""
    answer = contestant(job)
    for row in job[:10]:
        answer(row)
    found = []
    for _ in range(ROUNDS + 1):
        start = time.process_time()
        for row in job:
            if row["reply"] not in answer(row):
                sys.exit(f"the answer to {row['question']!r} is not the reply")
        found.append(1000 * (time.process_time() - start) / len(job))
    return found[0], min(found[1:])


def bakeoff(job: Job) -> Callable[[dict[str, Any]], str]:
    from bakeoff.models import generator
    from bakeoff.systems import RAG
    from bakeoff.types import Chunk, Generation, Hit, Usage

    counting = generator("smollm2-135m")

    class Ready:
        name, window, row = "ready", counting.window, job[0]

        def count(self, messages: Any) -> int:
            return counting.count(messages)

        def generate(self, messages: Any, *, max_tokens: int = 128, schema: Any = None) -> Generation:
            return Generation(self.row["reply"], Usage(), "stop")

        def retrieve(self, query: str, k: int, *, filter: Any = None) -> list[Hit]:
            chunks = [Chunk(f"{n}#0", str(n), text, 0, len(text)) for n, text in enumerate(self.row["passages"])]
            return [Hit(chunk, 1.0 - n / 10) for n, chunk in enumerate(chunks)]

    ready: Any = Ready()
    system = RAG(ready, ready)

    def answer(row: dict[str, Any]) -> str:
        ready.row = row
        return system.answer(row["question"]).text

    return answer


def llama_index(job: Job) -> Callable[[dict[str, Any]], str]:
    from llama_index.core.llms import CompletionResponse, CustomLLM, LLMMetadata
    from llama_index.core.query_engine import RetrieverQueryEngine
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.schema import NodeWithScore, TextNode

    now = [job[0]]

    class Ready(CustomLLM):
        @property
        def metadata(self) -> Any:
            return LLMMetadata(context_window=8192)

        def complete(self, prompt: str, formatted: bool = False, **_: Any) -> Any:
            return CompletionResponse(text=now[0]["reply"])

        def stream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> Any:
            raise NotImplementedError

    class Listed(BaseRetriever):
        def _retrieve(self, query_bundle: Any) -> list[Any]:
            return [NodeWithScore(node=TextNode(text=text), score=1.0) for text in now[0]["passages"]]

    engine = RetrieverQueryEngine.from_args(Listed(), llm=Ready())

    def answer(row: dict[str, Any]) -> str:
        now[0] = row
        return str(engine.query(row["question"]))

    return answer


def haystack(job: Job) -> Callable[[dict[str, Any]], str]:
    from haystack import Document, Pipeline, component
    from haystack.components.builders import AnswerBuilder, PromptBuilder

    now = [job[0]]

    @component
    class Listed:
        @component.output_types(documents=list[Document])
        def run(self, query: str) -> dict[str, Any]:
            return {"documents": [Document(content=text) for text in now[0]["passages"]]}

    @component
    class Ready:
        @component.output_types(replies=list[str])
        def run(self, prompt: str) -> dict[str, Any]:
            return {"replies": [now[0]["reply"]]}

    template = (
        "Given the following information, answer the question.\n\nContext:\n{% for document in documents %}\n"
        "    {{ document.content }}\n{% endfor %}\n\nQuestion: {{question}}\nAnswer:"
    )
    pipeline = Pipeline()
    pipeline.add_component("retriever", Listed())
    pipeline.add_component("prompt", PromptBuilder(template=template, required_variables="*"))
    pipeline.add_component("model", Ready())
    pipeline.add_component("answer", AnswerBuilder())
    pipeline.connect("retriever", "prompt.documents")
    pipeline.connect("prompt", "model")
    pipeline.connect("model.replies", "answer.replies")
    pipeline.connect("retriever", "answer.documents")

    def answer(row: dict[str, Any]) -> str:
        now[0] = row
        text = row["question"]
        found = pipeline.run({"retriever": {"query": text}, "prompt": {"question": text}, "answer": {"query": text}})
        return str(found["answer"]["answers"][0].data)

    return answer


def langchain(job: Job) -> Callable[[dict[str, Any]], str]:
    from langchain_core.documents import Document
    from langchain_core.language_models.llms import LLM
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import RunnablePassthrough

    now = [job[0]]

    class Ready(LLM):
        @property
        def _llm_type(self) -> str:
            return "ready"

        def _call(self, prompt: str, stop: Any = None, run_manager: Any = None, **_: Any) -> str:
            return str(now[0]["reply"])

    class Listed(BaseRetriever):
        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Any]:
            return [Document(text) for text in now[0]["passages"]]

    prompt = ChatPromptTemplate.from_template(
        "Answer the question based only on the following context:\n{context}\n\nQuestion: {question}\n"
    )
    joined = Listed() | (lambda documents: "\n\n".join(document.page_content for document in documents))
    chain: Any = {"context": joined, "question": RunnablePassthrough()} | prompt | Ready() | StrOutputParser()

    def answer(row: dict[str, Any]) -> str:
        now[0] = row
        return str(chain.invoke(row["question"]))

    return answer


CONTESTANTS: dict[str, Callable[[Job], Callable[[dict[str, Any]], str]]] = {
    "Bakeoff": bakeoff,
    "LlamaIndex": llama_index,
    "Haystack": haystack,
    "LangChain": langchain,
}


if __name__ == "__main__":
    main()
