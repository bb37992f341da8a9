"""A made-up run of 500 questions and 8 systems with passages of real size, for the page's size and speed."""

from __future__ import annotations

import random
from itertools import accumulate

from bakeoff.evaluation.comparison import Comparison
from bakeoff.types import Answer, Chunk, Citation, Evidence, Example, Hit, Sentence, Step, Trial, Usage

SYSTEMS = ("zero-shot", "few-shot", "rag", "rag-wide", "hybrid-rag", "reranked-rag", "lora", "lora-rag")
READERS = [name for name in SYSTEMS if "rag" in name]
RIGHT = dict(zip(SYSTEMS, (0.15, 0.2, 0.55, 0.56, 0.6, 0.62, 0.2, 0.68), strict=True))
WORDS = 110
"""Of a passage: 128 tokens, which is the default, are about as many words of English."""


def big_run(questions: int = 500, documents: int = 400, seed: int = 3) -> Comparison:
    """Words are drawn as English ones are: few are frequent, most are rare."""
    dice = random.Random(seed)
    syllables = [a + b for a in "bcdfghlmnprstv" for b in ("a", "e", "i", "o", "u", "an", "er", "is")]
    vocabulary = ["".join(dice.choices(syllables, k=dice.choice((1, 2, 2, 3, 3)))) for _ in range(8000)]
    weights = list(accumulate(1 / (rank + 2.7) for rank in range(len(vocabulary))))

    def words(n: int) -> str:
        return " ".join(dice.choices(vocabulary, cum_weights=weights, k=n))

    chunks = []
    for number in range(documents):
        start, name = 0, f"handbook/{vocabulary[number + 500]}-{number}.md"
        for part in range(5):
            text = f"{words(60).capitalize()}.\n\n{words(WORDS - 60).capitalize()}."
            chunks.append(Chunk(f"{name}#{part}", name, text, start, start + len(text), section=words(3)))
            start += len(text) + 2
    examples, trials, scores = [], [], {}
    for number in range(questions):
        found = dice.sample(chunks, 12)
        quote = found[0].text[10:70]
        one = Example(
            f"q{number:03}",
            f"{words(11).capitalize()}?",
            (words(3),),
            (Evidence(found[0].document_id, found[0].start + 10, found[0].start + 70, quote),),
            group=found[0].document_id,
            kind=dice.choice(("fact", "number", "table", "several documents")),
        )
        examples.append(one)
        for place, name in enumerate(SYSTEMS):
            right = dice.random() < RIGHT[name]
            said = one.references[0] if right else words(4)
            answer = Answer(f"{words(dice.randrange(3, 25))} {said}", usage=Usage(90, 0, 20, dice.uniform(0.2, 0.6)))
            if name in READERS:
                answer = read(name, said, dice.sample(found, 4 + place % 3), found, one.question, dice)
            trials.append(Trial(name, one.id, answer, dice.uniform(0.3, 2.0)))
            scores[name, one.id] = {
                metric: float(right) if metric in ("recall", "exact") else dice.random()
                for metric in ("recall", "exact", "f1", "support", "retrieval_recall", "ndcg")
            }
    return Comparison(
        SYSTEMS,
        ("recall", "exact", "f1", "support", "retrieval_recall", "ndcg"),
        {one.id: one for one in examples},
        tuple(trials),
        scores,
        machine={"build_seconds": {"lora": 300.0, "lora-rag": 900.0}},
    )


def read(name: str, said: str, used: list[Chunk], found: list[Chunk], question: str, dice: random.Random) -> Answer:
    """An answer with its passages, citations and steps, as systems of type rag give them."""
    listed = "\n".join(
        f"{i}. {dice.uniform(2, 20):.4g} {chunk.document_id} {chunk.start}-{chunk.end}"
        for i, chunk in enumerate(found[:10], start=1)
    )
    shown = "\n".join(
        f"[{i}] ({chunk.section}) {' '.join(chunk.text.split())}" for i, chunk in enumerate(used, start=1)
    )
    rule = "Answer the question from the passages in a few words."
    prompt = f"system: {rule}\n\nuser: Passages:\n{shown}\n\nQuestion: {question}"
    text = f"{said} [1]"
    return Answer(
        text,
        citations=(Citation(1, used[0], 0, 60, used[0].text[:60]),),
        hits=tuple(Hit(chunk, dice.uniform(1, 5)) for chunk in used),
        usage=Usage(700, 120, 30, dice.uniform(0.8, 2.0)),
        sentences=(Sentence(0, len(text), (1,), dice.random()),),
        trace=(
            Step("bm25", f"{listed}\nand 40 more", 0.002),
            Step("dense", f"{listed}\nand 40 more", 0.02),
            Step("pack", "\n".join(listed.splitlines()[: len(used)]), 0.001),
            Step("prompt", prompt),
            Step("generate", text, dice.uniform(0.8, 2.0)),
            Step("decide", "every sentence is supported"),
        ),
    )
