"""Which engine and encoding of the packaged models is fastest on this CPU, and what it costs in precision.

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

from bakeoff import plugins
from bakeoff.evaluation.stats import wilson
from bakeoff.models import embedder, generator, weights
from bakeoff.models.bert import to_gguf
from bakeoff.models.decoder import Request
from bakeoff.models.gguf import reencode
from bakeoff.models.llama import Engine
from bakeoff.models.weights import cache_folder
from bakeoff.types import Message

SHIPPED = "llama.cpp Q4_1, as shipped"
ONNX = "ONNX Runtime, whole numbers"
GENERATOR_ENCODINGS = ("Q8_0", "Q4_0", "F16", "F32")
EMBEDDER_ENCODINGS = ("Q8_0", "F16", "F32")
NEW_TOKENS = 48
TEXTS = 128
ASKED = 60
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
            fidelity(articles),
            embedding(Path(scratch), [p for p in paragraphs if len(p) < LONGEST][:TEXTS]),
        ]
    publish("engines", "\n\n".join([*tables, f"`make bench-engines DATA=...` on {machine()}; {ROUNDS} rounds."]))
    print("\n\n".join(tables))


def generation(scratch: Path, paragraphs: Sequence[str]) -> str:
    """Prompt and output speed of SmolLM2-135M, against llama.cpp with the encoding that it is shipped in."""
    weights.fetch("smollm2-135m", scratch)
    shipped = next(scratch.glob("*.gguf"))
    files = {SHIPPED: shipped}
    for kind in GENERATOR_ENCODINGS:
        files[f"llama.cpp {kind}"] = scratch / f"generator.{kind}.gguf"
        reencode(shipped, files[f"llama.cpp {kind}"], kind)
    engines = {name: Engine(path, window=1024, threads=weights.cores()) for name, path in files.items()}
    prompt = "\n".join(paragraphs[:3]) + "\nIn short:"
    request = {"prompt": prompt, "temperature": 0, "cache_prompt": False, "ignore_eos": True}
    length = len(next(iter(engines.values())).tokens(prompt, special=True))
    whole_numbers: Any = generator("smollm2-135m")
    decoder, tokens = whole_numbers._shared.decoder, whole_numbers._shared.tokens(prompt)
    decoder.controls = []  # nothing ends a reply before its last token

    def written(count: int) -> dict[str, Callable[[], Any]]:
        def whole() -> None:
            decoder.ask(request := Request(list(tokens), count))
            request.done.result()

        asked = {**request, "max_tokens": count}
        return {name: lambda e=e: e.complete(asked) for name, e in engines.items()} | {ONNX: whole}

    reading, whole = race(written(1)), race(written(NEW_TOKENS))
    sizes = {name: path.stat().st_size for name, path in files.items()}
    sizes[ONNX] = next(cache_folder().glob("decoders/*[0-9].onnx")).stat().st_size
    rows = [
        [
            name,
            ratio(reading[SHIPPED], reading[name]),
            ratio(whole[SHIPPED], whole[name]),
            f"{length / np.median(reading[name]):.0f}",
            f"{sizes[name] / 1e6:.0f} MB",
        ]
        for name in reading
    ]
    head = ["SmolLM2-135M", "reading, x", "reading and writing, x", "read tokens/s", "size"]
    return f"A prompt of {length} tokens, {NEW_TOKENS} new ones:\n\n{table(head, rows)}"


def fidelity(articles: Sequence[Any]) -> str:
    """How near the engines' replies come to those of torch in fp32, on questions about a paragraph."""
    asked = [
        [Message("user", f"{paragraph['context']}\n\n{paragraph['qas'][0]['question']}")]
        for article in articles
        for paragraph in article["paragraphs"][:2]
    ][:ASKED]
    weighed = weights.resolve("smollm2-135m")
    names = {"torch fp32": "transformers", "llama.cpp Q8_0": "llamacpp", ONNX: "onnx"}
    made = {
        name: [plugins.get("generators", module)(weighed).generate(one, max_tokens=16) for one in asked]
        for name, module in names.items()
    }
    exact = made.pop("torch fp32")
    rows = []
    for name, replies in made.items():
        same = [one.text == other.text for one, other in zip(exact, replies, strict=True)]
        first = [abs(one.logprobs[0] - other.logprobs[0]) for one, other in zip(exact, replies, strict=True)]
        share = wilson(sum(same), len(same))
        rows.append([name, f"{share.estimate:.2f} [{share.low:.2f}, {share.high:.2f}]", f"{np.mean(first):.3f}"])
    head = ["SmolLM2-135M against torch in fp32", "the same 16 tokens", "the first's log-probability is off by"]
    return f"{len(asked)} questions about a paragraph of XQuAD:\n\n{table(head, rows)}"


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
