"""Does the diagnosis find what was broken? Faults put into a scripted system on the demo company's corpus.

A reader that answers rightly wherever the prompt holds the evidence is asked every question it gets right. For each
fault half of them are broken, drawn anew in each round, and the other half are controls; the first draw is diagnosed a
second time with the evidence hidden, so that passages are found by words. Then two faults of the corpus: gold documents
deleted, and passages cut too small. Writes docs/results.md.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from results import publish, table

from bakeoff.corpus import Corpus
from bakeoff.evaluation import compare, folder, gold
from bakeoff.evaluation.diagnose import diagnose
from bakeoff.evaluation.diagnosis import Finding
from bakeoff.evaluation.faults import FAULTS, Bench
from bakeoff.evaluation.metrics import recall
from bakeoff.evaluation.stats import wilson
from bakeoff.examples import load_examples, locate
from bakeoff.retrieval import BM25, Dense, Hybrid
from bakeoff.systems import RAG, Prompt
from bakeoff.types import Example

DEMO = Path(__file__).parent.parent / "src" / "bakeoff" / "demo"
DELETED, CUT = "gold document deleted", "passages cut too small"


@dataclass
class Row:
    """What was found for one fault."""

    wanted: str
    found: Counter[str]
    unsure: int = 0
    controls: int = 0
    changed: int = 0
    """Controls that are no longer right."""
    blind: Counter[str] = field(default_factory=Counter)
    """What was found with the evidence hidden."""


def main() -> None:
    """Break everything in turn and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="draws of the questions that are broken")
    rounds = parser.parse_args().rounds
    # Every answer reaching the disk takes longer than the answers.
    folder.os.fsync = lambda descriptor: None  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(Path(scratch), rounds)
    text = shown(rows, rounds)
    publish("diagnosis", text)
    print(text)


def measure(scratch: Path, rounds: int) -> dict[str, Row]:
    """Fault -> what was found."""
    corpus, bench = world(scratch / "whole")
    right = [example for example in bench.examples if is_right(bench, example)]
    rows: dict[str, Row] = {}
    for name, fault in FAULTS.items():
        row = rows[name] = Row(fault.cause, Counter())
        for number in range(rounds):
            draw = random.Random(f"{name} {number}")
            fitting = [example for example in right if fault.fits(example, bench.golds[example.id])]
            broken = draw.sample(fitting, min(len(right) // 2, len(fitting)))
            system, closed = fault.build(bench, frozenset(example.question for example in broken))
            found = findings(system, closed, right, corpus, scratch / name / str(number))
            add(row, broken, right, found)
            if number == 0:
                blind = [replace(example, evidence=()) for example in right]
                guessed = findings(system, closed, blind, corpus, scratch / name / "blind")
                row.blind.update(guessed[one.id].cause if one.id in guessed else "still right" for one in broken)
        print(f"{name}: {dict(row.found)}", file=sys.stderr)
    rows[DELETED] = Row("not in corpus", Counter())
    for number in range(rounds):
        less, other = world(scratch / f"less {number}")
        documents = sorted({place.document_id for example in right for place in example.evidence})
        gone = set(random.Random(number).sample(documents, len(documents) // 2))
        for document in gone:
            less.forget(document)
        broken = [example for example in right if {place.document_id for place in example.evidence} & gone]
        system = replace(bench, retriever=other.retriever).rag()
        add(rows[DELETED], broken, right, findings(system, bench.closed(), right, less, scratch / f"deleted {number}"))
    rows[CUT] = Row("chunking", Counter())
    small, cut = world(scratch / "small", chunk_tokens=4)
    broken = [example for example in right if cut.golds[example.id].unchunked]
    found = findings(cut.rag(), cut.closed(), broken, small, scratch / "cut")
    add(rows[CUT], broken, broken, found)
    return rows


def world(scratch: Path, chunk_tokens: int = 128) -> tuple[Corpus, Bench]:
    """The demo company's corpus, with hashed words in place of a model."""
    corpus = Corpus(scratch / "index", "hashing", chunk_tokens=chunk_tokens)
    corpus.sync(f"documents={DEMO / 'documents'}", f"shop.db=sqlite:///{DEMO / 'shop.db'}")
    examples, _ = locate(load_examples(DEMO / "questions.jsonl"), corpus.locate)
    answerable = [example for example in examples if example.answerable]
    golds = {example.id: gold.find(example, corpus) for example in answerable}
    return corpus, Bench(Hybrid(BM25(corpus), Dense(corpus)), answerable, golds)


def is_right(bench: Bench, example: Example) -> bool:
    return (recall.score(example, bench.rag().answer(example.question)) or 0.0) >= 0.5


def findings(system: RAG, closed: Prompt, examples: Sequence[Example], corpus: Corpus, out: Path) -> dict[str, Finding]:
    """Example id -> why it is wrong, of those that are."""
    comparison = compare.compare([system], examples, ["recall"], out=out)
    written = {example.id: example for example in examples}
    found = diagnose(system, closed, comparison, corpus, "recall", out=out / "diagnosis", evidence=written)
    return {finding.example_id: finding for finding in found.findings}


def add(row: Row, broken: Sequence[Example], asked: Sequence[Example], found: Mapping[str, Finding]) -> None:
    """Count one round."""
    for example in broken:
        finding = found.get(example.id)
        row.found[finding.cause if finding else "still right"] += 1
        row.unsure += bool(finding and finding.unsure)
    controls = [example for example in asked if example not in broken]
    row.controls += len(controls)
    row.changed += sum(example.id in found for example in controls)


def shown(rows: Mapping[str, Row], rounds: int) -> str:
    head = ["what was broken", "should be found", "found", "n", "instead", "unsure", "controls changed", "blind"]
    lines = []
    for name, row in rows.items():
        n, hit = sum(row.found.values()), row.found[row.wanted]
        share = wilson(hit, n)
        others = ", ".join(f"{cause} {count}" for cause, count in row.found.most_common() if cause != row.wanted)
        lines.append(
            [
                name,
                row.wanted,
                f"{100 * share.estimate:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}]",
                str(n),
                others or "-",
                f"{100 * row.unsure / n:.1f}",
                f"{row.changed} of {row.controls}" if row.controls else "-",
                f"{100 * row.blind[row.wanted] / row.blind.total():.1f}" if row.blind else "-",
            ]
        )
    total = sum(sum(row.found.values()) for row in rows.values())
    hits = sum(row.found[row.wanted] for row in rows.values())
    unsure = sum(row.unsure for row in rows.values())
    blind = sum((row.blind for row in rows.values()), Counter())
    guessed = sum(row.blind[row.wanted] for row in rows.values())
    summary = (
        f"All together: {hits:,} of {total:,} rightly attributed ({100 * hits / total:.1f}%), "
        f"{100 * unsure / total:.1f}% unsure; percent with 95% intervals, {rounds} draws. "
        f"Blind, with the evidence hidden: {guessed:,} of {blind.total():,} ({100 * guessed / blind.total():.1f}%), "
        "marked as unsure unless the form is at fault; "
        f"{blind['not in corpus'] + blind['correct refusal']} were taken to be absent."
    )
    return f"{table(head, lines)}\n\n{summary}\n\n`make bench-diagnosis`; no model, a scripted reader, k = 3."


if __name__ == "__main__":
    main()
