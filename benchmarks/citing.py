"""Whether people call attributable what we cite: replies of dialogue systems beside their knowledge, judged by people.

    make bench-citing DATA=path/to/data

A reply counts as cited when each of its sentences is. Both halves are shown; both were looked at when the two shares of
the rule were chosen. The data are those of BEGIN (CC-BY 4.0): github.com/google/BEGIN-dataset. Writes docs/results.md.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from results import machine, publish, table

from bakeoff.evaluation.stats import wilson
from bakeoff.retrieval import citing
from bakeoff.types import Chunk, Hit

SHARES = (0.6, 0.7, 0.8)
PAIRS = (0.0, 0.2, 0.4)


def main() -> None:
    """A line for each rule, on either half."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds begin_dev")
    folder = parser.parse_args().data / "begin_dev"
    if not folder.is_dir():
        sys.exit(f"skipped: {folder} is not there; give its folder with --data")
    replies = sorted(judged(folder))
    random.Random(0).shuffle(replies)
    halves = replies[::2], replies[1::2]
    shipped = (citing.SUPPORTED, citing.PAIRED)
    rows = []
    for rule in [(share, paired) for share in SHARES for paired in PAIRS]:
        citing.SUPPORTED, citing.PAIRED = rule
        cells = [cell for half in halves for cell in agreement(half)]
        name = f"{100 * rule[0]:.0f}% of the words, {100 * rule[1]:.0f}% of the pairs"
        rows.append([f"**{name}**" if rule == shipped else name, *cells])
    head = ["cited from", "one half: precision", "recall", "F1", "other half: precision", "recall", "F1"]
    attributable = sum(truth for *_, truth in replies)
    text = (
        f"{table(head, rows)}\n\n{len(replies):,} replies, {attributable} of them fully attributable as people say, in "
        f"two halves; percent with 95% intervals. `make bench-citing DATA=...` on {machine()}."
    )
    publish("citing", text)
    print(text)


def judged(folder: Path) -> Iterator[tuple[str, str, bool]]:
    """Knowledge, reply, and whether people call it fully attributable."""
    for path in folder.glob("*.tsv"):
        with path.open(encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                yield row["knowledge"], row["response"], row["begin_label"].startswith("Fully")


def agreement(replies: list[tuple[str, str, bool]]) -> list[str]:
    """Precision, recall and F1 of being cited."""
    called = [cited(knowledge, reply) for knowledge, reply, _ in replies]
    truth = [attributable for *_, attributable in replies]
    both = sum(one and other for one, other in zip(called, truth, strict=True))
    rates = wilson(both, sum(called)), wilson(both, sum(truth))
    f1 = 2 * both / (sum(called) + sum(truth))
    return [
        *(f"{100 * one.estimate:.0f} [{100 * one.low:.0f}, {100 * one.high:.0f}]" for one in rates),
        f"{100 * f1:.0f}",
    ]


def cited(knowledge: str, reply: str) -> bool:
    """Whether every sentence is, as an answer from that one passage."""
    passage = Hit(Chunk("k#0", "k", knowledge, 0, len(knowledge)), 1.0)
    sentences = citing.cite(reply, [passage]).sentences
    return bool(sentences) and all(sentence.citations for sentence in sentences)


if __name__ == "__main__":
    main()
