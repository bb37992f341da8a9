"""Real passages and questions with their vectors, and as many more like them as a benchmark of size needs."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bakeoff.corpus import chunking
from bakeoff.models import embedder
from bakeoff.types import Document

NEIGHBOURS = 10
NOISE = 0.2
"""Length of the random vector that is added to each made one."""
QUESTIONS = 3_000


def embed(data: Path, folder: Path) -> None:
    """Cut the documents below `data`, embed passages and questions with minilm-int8, and leave both in `folder`.

    XQuAD (English), CovidQA, PubMedQA, HotpotQA's paragraphs and WikiText-2; passages of at most 128 tokens.
    """
    model = embedder("minilm-int8")
    documents, questions = read(data)
    passages = [
        chunk.text
        for number, text in enumerate(documents)
        for chunk in chunking.chunk(Document(str(number), text, "s"), (), model.count, 128)
    ]
    passages, questions = list(dict.fromkeys(passages)), list(dict.fromkeys(questions))[:QUESTIONS]
    for name, texts in (("passages", passages), ("questions", questions)):
        order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
        vectors = np.zeros((len(texts), model.dimension), np.float32)
        for start in range(0, len(order), 64):
            part = order[start : start + 64]
            vectors[part] = model.embed([texts[n] for n in part])
        np.save(folder / f"{name}.npy", vectors)
        (folder / f"{name}.json").write_text(json.dumps(texts), encoding="utf-8")


def read(data: Path) -> tuple[list[str], list[str]]:
    """Documents and questions."""
    documents, questions = [], []
    for path in ("xquad/xquad.en.json", "covidqa/200423_covidQA.json"):
        for article in json.loads((data / path).read_text(encoding="utf-8"))["data"]:
            for paragraph in article["paragraphs"]:
                documents.append(paragraph["context"])
                questions += [entry["question"] for entry in paragraph["qas"]]
    for entry in json.loads((data / "pubmedqa/ori_pqal.json").read_text(encoding="utf-8")).values():
        documents.append("\n".join(entry["CONTEXTS"]))
        questions.append(entry["QUESTION"])
    for line in (data / "hotpotqa100/hotpotqa_distractor_100.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        questions.append(entry["question"])
        documents += ["".join(sentences) for sentences in entry["context"]["sentences"]]
    for part in ("test", "valid"):
        documents += re.split(r"\n = [^=].* = \n", (data / f"wikitext2/{part}.txt").read_text(encoding="utf-8"))
    return [text for text in documents if text.strip()], questions


def more_vectors(folder: Path, size: int) -> Iterator[NDArray[np.float32]]:
    """`size` unit vectors by the thousand: the passages' own, then points between a passage and one of its neighbours.

    Each point lies anywhere on the line to one of the `NEIGHBOURS` nearest, with a little noise: clusters stay
    clusters, and the space stays as wide as the passages make it.
    """
    real, dice = np.load(folder / "passages.npy"), np.random.default_rng(0)
    near = np.concatenate(
        [
            np.argpartition(-(real[start : start + 1000] @ real.T), NEIGHBOURS + 1, axis=1)[:, : NEIGHBOURS + 1]
            for start in range(0, len(real), 1000)
        ]
    )
    for start in range(0, size, 1000):
        count = min(1000, size - start)
        if start + count <= len(real):
            yield real[start : start + count]
            continue
        one = dice.integers(len(real), size=count)
        other = near[one, dice.integers(NEIGHBOURS + 1, size=count)]
        noise = dice.standard_normal((count, real.shape[1]), dtype=np.float32) * np.float32(
            NOISE / real.shape[1] ** 0.5
        )
        made = real[one] + dice.random((count, 1), dtype=np.float32) * (real[other] - real[one]) + noise
        yield made / np.linalg.norm(made, axis=1, keepdims=True)


def more_texts(folder: Path) -> Iterator[str]:
    """Sentences of the passages in new order, as long as passages: words are as frequent as they are in them."""
    passages, dice = json.loads((folder / "passages.json").read_text(encoding="utf-8")), random.Random(0)
    sentences = [s for text in passages for s in re.split(r"(?<=[.!?])\s+", text) if len(s) > 30]
    while True:
        wanted, text = 0.8 * len(dice.choice(passages)), dice.choice(sentences)
        while len(text) < wanted:
            text += " " + dice.choice(sentences)
        yield text
