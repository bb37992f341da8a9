"""The demo company with a scripted reader: a corpus, questions, and which of them are answered rightly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bakeoff.corpus import Corpus
from bakeoff.evaluation import compare, gold
from bakeoff.evaluation.diagnose import diagnose
from bakeoff.evaluation.diagnosis import Diagnosis
from bakeoff.evaluation.faults import Bench
from bakeoff.examples import load_examples, locate
from bakeoff.retrieval import BM25, Dense, Hybrid
from bakeoff.systems import RAG
from bakeoff.types import Example, Filter, Hit, Retriever, System

DEMO = Path(__file__).parents[1] / "src" / "bakeoff" / "demo"


class Remembered:
    """A retriever that searches once for each query: the faults are behind it, and all of them ask the same."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._found: dict[tuple[str, int], list[Hit]] = {}

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        if (query, k) not in self._found:
            self._found[query, k] = self._retriever.retrieve(query, k, filter=filter)
        return self._found[query, k]


class World:
    """The demo company's corpus, and questions that are answered rightly while nothing is broken."""

    def __init__(self, folder: Path, chunk_tokens: int = 128) -> None:
        self.corpus = Corpus(folder / "index", "hashing", chunk_tokens=chunk_tokens)
        self.corpus.sync(f"documents={DEMO / 'documents'}", f"shop.db=sqlite:///{DEMO / 'shop.db'}")
        examples, _ = locate(load_examples(DEMO / "questions.jsonl"), self.corpus.locate)
        self.examples = [example for example in examples if example.answerable]
        golds = {example.id: gold.find(example, self.corpus) for example in self.examples}
        self.bench = Bench(Remembered(Hybrid(BM25(self.corpus), Dense(self.corpus))), self.examples, golds)
        plain = self.bench.rag()
        self.right = [
            example
            for example in self.examples
            if plain.answer(example.question).text.startswith(example.references[0])
        ]

    def diagnose(
        self, system: RAG, closed: System, examples: Sequence[Example], out: Path, corpus: Corpus | None = None
    ) -> Diagnosis:
        result = compare.compare([system], examples, ["recall"], out=out)
        written = {example.id: example for example in examples}
        return diagnose(
            system, closed, result, corpus or self.corpus, "recall", out=out / "diagnosis" / "rag", evidence=written
        )
