"""Which encoding of the packaged models is fastest on this CPU, and what it costs in precision.

    make bench-engines DATA=path/to/data

Every round asks all contestants once, in turn, so that a busy moment of the machine hits them alike; tables show the
median of the ratios within a round, with the lowest and the highest. Writes docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from results import machine, publish, table

from bakeoff.models import embedder, weights
from bakeoff.models.bert import to_gguf
from bakeoff.models.gguf import reencode
from bakeoff.models.llama import Engine

GENERATOR_ENCODINGS = ("Q8_0", "Q4_0", "F16", "F32")
EMBEDDER_ENCODINGS = ("Q8_0", "F16", "F32")
NEW_TOKENS = 48
TEXTS = 128
LONGEST = 1500
"""Characters: all fit MiniLM's 512 tokens."""
ROUNDS = 3


def main() -> None:
    """Run both races and write their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds xquad/xquad.en.json")
    path = parser.parse_args().data / "xquad" / "xquad.en.json"
    if not path.is_file():
        sys.exit(f"skipped: {path} is not there; give its folder with --data")
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph["context"] for article in articles for paragraph in article["paragraphs"]]
    with tempfile.TemporaryDirectory() as scratch:
        tables = [
            generation(Path(scratch), paragraphs),
            embedding(Path(scratch), [p for p in paragraphs if len(p) < LONGEST][:TEXTS]),
        ]
    publish("engines", "\n\n".join([*tables, f"`make bench-engines DATA=...` on {machine()}; {ROUNDS} rounds."]))
    print("\n\n".join(tables))


def generation(scratch: Path, paragraphs: Sequence[str]) -> str:
    """Prompt and output speed of SmolLM2-135M through llama.cpp, against the encoding it is shipped in."""
    weights.fetch("smollm2-135m", scratch)
    shipped = next(scratch.glob("*.gguf"))
    files = {"Q4_1, as shipped": shipped}
    for kind in GENERATOR_ENCODINGS:
        files[kind] = scratch / f"generator.{kind}.gguf"
        reencode(shipped, files[kind], kind)
    engines = {name: Engine(path, window=1024) for name, path in files.items()}
    prompt = "\n".join(paragraphs[:3]) + "\nIn short:"
    request = {"prompt": prompt, "temperature": 0, "cache_prompt": False, "ignore_eos": True}
    reading = race({n: lambda e=e: e.complete({**request, "max_tokens": 1}) for n, e in engines.items()})
    whole = race({n: lambda e=e: e.complete({**request, "max_tokens": NEW_TOKENS}) for n, e in engines.items()})
    length = len(next(iter(engines.values())).tokens(prompt, special=True))
    rows = [
        [
            name,
            ratio(reading["Q4_1, as shipped"], reading[name]),
            ratio(whole["Q4_1, as shipped"], whole[name]),
            f"{length / np.median(reading[name]):.0f}",
            f"{files[name].stat().st_size / 1e6:.0f} MB",
        ]
        for name in engines
    ]
    head = ["SmolLM2-135M in llama.cpp", "reading, x", "reading and writing, x", "read tokens/s", "size"]
    return f"A prompt of {length} tokens, {NEW_TOKENS} new ones:\n\n{table(head, rows)}"


def embedding(scratch: Path, texts: Sequence[str]) -> str:
    """Speed and fidelity of MiniLM: llama.cpp in several encodings against torch in fp32."""
    weights.fetch("minilm", scratch)
    contestants: dict[str, Callable[[], Any]] = {"torch fp32, batches of 32": lambda: torch_vectors(scratch, texts)}
    for kind in EMBEDDER_ENCODINGS:
        path = scratch / f"embedder.{kind}.gguf"
        to_gguf(scratch, path, kind)
        engine = Engine(path, window=512, embedding=True, slots=4)
        contestants[f"llama.cpp {kind}"] = lambda engine=engine: llama_vectors(engine, texts)
    int8 = embedder("minilm-int8")
    contestants["ONNX Runtime int8"] = lambda: int8.embed(texts)
    vectors = {name: run() for name, run in contestants.items()}
    seconds = race(contestants)
    baseline = next(iter(contestants))
    rows = [
        [
            name,
            ratio(seconds[baseline], seconds[name]),
            f"{len(texts) / np.median(seconds[name]):.0f}",
            f"{(vectors[baseline] * vectors[name]).sum(axis=1).min():.5f}",
            f"{same_neighbours(vectors[baseline], vectors[name]):.3f}",
        ]
        for name in contestants
    ]
    head = ["MiniLM", "speed, x", "paragraphs/s", "lowest cosine to fp32", "of the 10 nearest kept"]
    return f"{len(texts)} paragraphs of XQuAD:\n\n{table(head, rows)}"


def llama_vectors(engine: Engine, texts: Sequence[str]) -> Any:
    """Unit vectors [n, 384]."""
    return np.array([row["embedding"] for row in engine.embed(texts)["data"]], dtype=np.float32)


_torch: list[Any] = []


def torch_vectors(folder: Path, texts: Sequence[str]) -> Any:
    """Unit vectors [n, 384] by mean pooling, as sentence-transformers does it."""
    import torch
    from transformers import BertModel, BertTokenizerFast

    if not _torch:
        _torch.extend([BertModel.from_pretrained(folder).eval(), BertTokenizerFast(str(folder / "vocab.txt"))])
    model, tokenizer = _torch
    found = []
    with torch.inference_mode():
        for start in range(0, len(texts), 32):
            batch = tokenizer(list(texts[start : start + 32]), padding=True, truncation=True, return_tensors="pt")
            states, mask = model(**batch).last_hidden_state, batch["attention_mask"][..., None]
            pooled = (states * mask).sum(1) / mask.sum(1)
            found.append(torch.nn.functional.normalize(pooled).numpy())
    return np.concatenate(found)


def race(contestants: Mapping[str, Callable[[], Any]]) -> dict[str, list[float]]:
    """Seconds of each contestant in each round, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(ROUNDS + 1):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(baseline: Sequence[float], seconds: Sequence[float]) -> str:
    """How many times as fast: median over the rounds, lowest to highest."""
    times = np.array(baseline) / np.array(seconds)
    return f"{np.median(times):.2f} ({times.min():.2f}-{times.max():.2f})"


def same_neighbours(one: Any, other: Any) -> float:
    """Mean share of the ten nearest neighbours that two sets of vectors agree on."""
    nearest = [np.argsort(-(vectors @ vectors.T), axis=1)[:, 1:11] for vectors in (one, other)]
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(*nearest, strict=True)]))


if __name__ == "__main__":
    main()
