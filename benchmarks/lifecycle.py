"""Three files, ingested, ingested again, then one edited and one deleted: what old text is still held?

    make bench-lifecycle

The same script for each setting of LlamaIndex, Haystack, LangChain and txtai, and for Bakeoff's only one. Peers live
in an environment of their own (`.venv-peers`). Writes docs/results.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

PEERS = Path(".venv-peers/bin/python")
EDITED, DELETED = "within 30 days", "Acme"
SPLIT = 200
"""Characters of a chunk, for peers that are told a size."""

Held = Callable[[], list[str]]
"""The texts of all chunks that are held now."""


def before() -> dict[str, str]:
    """File -> text."""
    return {
        "returns.txt": " ".join(f"Lamp {n} may be returned {EDITED} of its purchase in any shop." for n in range(30)),
        "partners.txt": " ".join(
            f"{DELETED} delivers the glass of lamp {n} on every second Monday." for n in range(30)
        ),
        "care.txt": " ".join(f"The wick of lamp {n} is trimmed with scissors before it is lit." for n in range(30)),
    }


def after() -> dict[str, str]:
    """One file edited and shorter, one deleted."""
    files = {name: text for name, text in before().items() if name != "partners.txt"}
    kept = files["returns.txt"].split(". ")[:10]
    return files | {"returns.txt": ". ".join(kept).replace(EDITED, "within 14 days") + "."}


def measure(name: str) -> dict[str, Any]:
    """Chunks held after each ingest, and how many hold old text at the end."""
    package, setting = CONTESTANTS[name]
    ingest, held = setting(Path(tempfile.mkdtemp()))
    counts = []
    for files in (before(), before(), after()):
        try:
            ingest(files)
        except Exception as error:  # a refusal is an outcome
            counts.append(f"{len(held())} ({type(error).__name__})")
        else:
            counts.append(str(len(held())))
    texts = held()
    stale = [sum(marker in text for text in texts) for marker in (EDITED, DELETED)]
    return {"package": f"{package} {version(package)}", "counts": counts, "stale": stale}


# ---------------------------------------------------------------- contestants


def ours(folder: Path) -> tuple[Callable[[dict[str, str]], None], Held]:
    from bakeoff.corpus import Corpus
    from bakeoff.models.embedders.hashing import Embedder

    corpus, root = Corpus(folder / "index", Embedder(), chunk_tokens=40), folder / "docs"

    def ingest(files: dict[str, str]) -> None:
        root.mkdir(exist_ok=True)
        for path in root.iterdir():
            path.unlink()
        for name, text in files.items():
            (root / name).write_text(text)
        corpus.sync(root)

    return ingest, lambda: [chunk.text for id in corpus.store.ids() for chunk in corpus.store.chunks(id)]


def llama_index(how: str) -> Callable[[Path], tuple[Callable[[dict[str, str]], None], Held]]:
    def start(folder: Path) -> tuple[Callable[[dict[str, str]], None], Held]:
        from llama_index.core import Document, MockEmbedding, VectorStoreIndex
        from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
        from llama_index.core.node_parser import SentenceSplitter
        from llama_index.core.schema import TransformComponent
        from llama_index.core.storage.docstore import SimpleDocumentStore
        from llama_index.core.vector_stores import SimpleVectorStore

        splitter = SentenceSplitter(chunk_size=64, chunk_overlap=0)

        def documents(files: dict[str, str]) -> list[Any]:
            return [Document(text=text, id_=name) for name, text in files.items()]

        if how in ("insert", "refresh"):
            index = VectorStoreIndex([], embed_model=MockEmbedding(8), transformations=[splitter])

            def add(files: dict[str, str]) -> None:
                if how == "refresh":
                    index.refresh_ref_docs(documents(files))
                else:
                    for document in documents(files):
                        index.insert(document)

            return add, lambda: [node.get_content() for node in index.docstore.docs.values()]

        texts: dict[str, str] = {}

        class Remember(TransformComponent):  # type: ignore[misc]
            def __call__(self, nodes: Any, **options: Any) -> Any:
                texts.update({node.node_id: node.get_content() for node in nodes})
                return nodes

        store = SimpleVectorStore()
        pipeline = IngestionPipeline(
            transformations=[splitter, Remember(), MockEmbedding(8)],
            vector_store=store,
            docstore=SimpleDocumentStore(),
            docstore_strategy=DocstoreStrategy(how),
        )
        return lambda files: pipeline.run(documents=documents(files)), lambda: [
            texts[id] for id in store.data.embedding_dict
        ]

    return start


def haystack(how: str) -> Callable[[Path], tuple[Callable[[dict[str, str]], None], Held]]:
    def start(folder: Path) -> tuple[Callable[[dict[str, str]], None], Held]:
        from haystack import Document
        from haystack.components.preprocessors import DocumentSplitter
        from haystack.components.writers import DocumentWriter
        from haystack.document_stores.in_memory import InMemoryDocumentStore
        from haystack.document_stores.types import DuplicatePolicy

        store = InMemoryDocumentStore()
        splitter = DocumentSplitter(split_by="word", split_length=SPLIT // 6, split_overlap=0)
        writer = DocumentWriter(store, policy=DuplicatePolicy(how))

        def ingest(files: dict[str, str]) -> None:
            documents = [Document(content=text, meta={"file": name}) for name, text in files.items()]
            writer.run(splitter.run(documents)["documents"])

        return ingest, lambda: [document.content for document in store.filter_documents()]

    return start


def langchain(how: str | None) -> Callable[[Path], tuple[Callable[[dict[str, str]], None], Held]]:
    def start(folder: Path) -> tuple[Callable[[dict[str, str]], None], Held]:
        from langchain_core.documents import Document
        from langchain_core.embeddings import DeterministicFakeEmbedding
        from langchain_core.indexing import InMemoryRecordManager, index
        from langchain_core.vectorstores import InMemoryVectorStore
        from langchain_text_splitters import RecursiveCharacterTextSplitter

        store, records = InMemoryVectorStore(DeterministicFakeEmbedding(size=8)), InMemoryRecordManager("n")
        records.create_schema()
        splitter = RecursiveCharacterTextSplitter(chunk_size=SPLIT, chunk_overlap=0)

        def ingest(files: dict[str, str]) -> None:
            whole = [Document(page_content=text, metadata={"source": name}) for name, text in files.items()]
            documents = splitter.split_documents(whole)
            if how == "add":
                store.add_documents(documents)
            else:
                index(documents, records, store, cleanup=how, source_id_key="source")

        return ingest, lambda: [entry["text"] for entry in store.store.values()]

    return start


def txtai(folder: Path) -> tuple[Callable[[dict[str, str]], None], Held]:
    from txtai import Embeddings

    embeddings = Embeddings(keyword=True, content=True)

    def ingest(files: dict[str, str]) -> None:
        rows = [
            (f"{name}#{number}", text[start : start + SPLIT])
            for name, text in files.items()
            for number, start in enumerate(range(0, len(text), SPLIT))
        ]
        embeddings.upsert(rows)

    def held() -> list[str]:
        return [row["text"] for row in embeddings.search("select id, text from txtai limit 1000")]

    return ingest, held


CONTESTANTS: dict[str, tuple[str, Any]] = {
    "Bakeoff, sync": ("bakeoff", ours),
    "LlamaIndex, insert": ("llama-index-core", llama_index("insert")),
    "LlamaIndex, refresh_ref_docs": ("llama-index-core", llama_index("refresh")),
    "LlamaIndex pipeline, UPSERTS": ("llama-index-core", llama_index("upserts")),
    "LlamaIndex pipeline, DUPLICATES_ONLY": ("llama-index-core", llama_index("duplicates_only")),
    "LlamaIndex pipeline, UPSERTS_AND_DELETE": ("llama-index-core", llama_index("upserts_and_delete")),
    "Haystack, NONE": ("haystack-ai", haystack("none")),
    "Haystack, OVERWRITE": ("haystack-ai", haystack("overwrite")),
    "Haystack, SKIP": ("haystack-ai", haystack("skip")),
    "LangChain, add_documents": ("langchain-core", langchain("add")),
    "LangChain index(), no cleanup": ("langchain-core", langchain(None)),
    "LangChain index(), incremental": ("langchain-core", langchain("incremental")),
    "LangChain index(), full": ("langchain-core", langchain("full")),
    "LangChain index(), scoped_full": ("langchain-core", langchain("scoped_full")),
    "txtai, upsert": ("txtai", txtai),
}


def rows() -> Iterator[list[str]]:
    """A line for each contestant, each in a process of its own."""
    for name, (package, _) in CONTESTANTS.items():
        python = sys.executable if package == "bakeoff" else str(PEERS)
        command = [python, __file__, name]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if result.returncode:
            sys.exit(f"{name}: {result.stderr.strip()[-800:]}")
        found = json.loads(result.stdout.splitlines()[-1])
        clean = "yes" if found["stale"] == [0, 0] and found["counts"][0] == found["counts"][1] else "no"
        yield [name, found["package"], " -> ".join(found["counts"]), *map(str, found["stale"]), clean]


def main() -> None:
    """Without a name: run all, and write the table."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
        return
    from results import machine, publish, table

    head = [
        "setting",
        "package",
        "chunks: first -> again -> edited and deleted",
        "old text: edited",
        "deleted",
        "clean",
    ]
    lines = sorted(rows(), key=lambda line: (line[-1] == "no", line[1]))
    text = f"{table(head, lines)}\n\n`make bench-lifecycle` on {machine()}."
    publish("lifecycle", text)
    print(text)


if __name__ == "__main__":
    main()
