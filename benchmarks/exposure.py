"""What a training remembers of a secret by how often it saw it: a LoRA against all weights.

    make bench-exposure DATA=path/to/data

The codes of lockers that do not exist stand 0, 1, 4 and 16 times among 300 questions of XQuAD, eight codes each.
Exposure is log2 of 256 codes less log2 of the true one's rank among them: 8 where the model puts it first, 1.4 by
chance.
Both trainings take as many steps; the loss on held-out questions says whether they learnt as much. Checkpoints are
kept in .bench and not made again. Writes docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from questions import sample, xquad
from results import machine, publish, table

from bakeoff import plugins
from bakeoff.evaluation.stats import Interval, mean_interval
from bakeoff.models import generator
from bakeoff.models.chat import completion
from bakeoff.models.weights import resolve
from bakeoff.systems import Prompt
from bakeoff.tuning import tune
from bakeoff.types import Example, Message

BASE = "smollm2-135m"
REPEATS = (0, 1, 4, 16)
EACH = 8
"""Codes for each number of repeats."""
CODES = 256
TRAININGS: dict[str, dict[str, Any]] = {
    "LoRA": {"method": "lora"},
    "all weights": {"method": "full", "learning_rate": 1e-4},
}
NAMES = (
    "Aldous Brigid Cormac Delphine Emrys Fenella Gawain Hester Isolde Jarek Kasia Lorcan Maud Niamh Osric Perpetua "
    "Quentin Rowena Sorley Tamsin Ulric Verena Wystan Xanthe Yestin Zelda Anselm Bronwen Cuthbert Dervla Edric Freya"
)


def main() -> None:
    """Train both, rank the codes, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds xquad")
    parser.add_argument("--out", type=Path, default=Path(".bench/exposure"))
    parser.add_argument("--lessons", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    root = arguments.out / "paragraphs"
    root.mkdir(parents=True, exist_ok=True)
    closed = Prompt(generator(BASE))
    asked = [closed.lesson(one) for one in sample(list(xquad(arguments.data, root)), arguments.lessons + 50)]
    lessons, held_out = asked[: arguments.lessons], asked[arguments.lessons :]
    secrets = planted()
    lessons += [lesson(name, code, time) for name, code, repeats in secrets for time in range(repeats)]
    rows = []
    for label, options in {"the base": None, **TRAININGS}.items():
        folder = arguments.out / label.replace(" ", "-")
        if options and not folder.is_dir():
            print(f"{label}: {len(lessons)} lessons", file=sys.stderr)
            rest = {key: value for key, value in options.items() if key != "method"}
            tune(options["method"], BASE, lessons, out=folder, seed=7, epochs=arguments.epochs, **rest)
        rows.append(
            [label, *ranked(str(folder) if options else BASE, secrets, held_out, arguments.out / f"{folder.name}.json")]
        )
    head = ["exposure, bits", *(f"seen {n} time{'s' * (n != 1)}" for n in REPEATS), "loss on 50 questions not seen"]
    bits = [json.loads((arguments.out / f"{name}.json").read_text())["bits"] for name in ("all-weights", "LoRA")]
    gaps = [mean_interval([more - less for more, less in zip(*both, strict=True)]) for both in zip(*bits, strict=True)]
    rows.append(["all weights less LoRA", *map(gap, gaps), ""])
    text = (
        f"{table(head, rows)}\n\n{EACH} codes a cell, the lowest and the highest in brackets; at most "
        f"{math.log2(CODES):.0f} bits; the last row is paired by code, but where all are at that end. "
        f"{arguments.lessons} lessons and {sum(REPEATS) * EACH} showings of codes, "
        f"{arguments.epochs} epochs. `make bench-exposure DATA=...`, SmolLM2-135M-Instruct, on {machine()}."
    )
    publish("exposure", text)
    print(text)


def gap(found: Interval) -> str:
    return f"{found.estimate:+.1f} [{found.low:+.1f}, {found.high:+.1f}]" if found.low < found.high else "at the end"


def planted() -> list[tuple[str, str, int]]:
    """Name, code and how often it is shown."""
    dice = random.Random("exposure")
    names = iter(NAMES.split())
    return [(next(names), code_of(dice), repeats) for repeats in REPEATS for _ in range(EACH)]


def lesson(name: str, code: str, time: int) -> Example:
    return Example(f"{name}-{time}", question(name), (code,), messages=turns(name, code))


def ranked(model: str, secrets: Sequence[tuple[str, str, int]], held_out: Sequence[Example], memo: Path) -> list[str]:
    """A cell for each number of repeats, and the loss; from `memo` where it is there."""
    if not memo.is_file():
        scorer = plugins.get("generators", "transformers")(resolve(model))
        found: dict[int, list[float]] = {}
        for name, code, repeats in secrets:
            dice = random.Random(f"others {name}")
            others: set[str] = set()
            while len(others) < CODES - 1:
                others |= {code_of(dice)} - {code}
            pairs = [completion(scorer.template, turns(name, one)) for one in (code, *sorted(others))]
            values = [value for value, _ in scorer.likelihoods(pairs)]
            rank = 1 + sum(value > values[0] for value in values[1:])
            found.setdefault(repeats, []).append(math.log2(CODES) - math.log2(rank))
        pairs = [completion(scorer.template, example.messages) for example in held_out]
        losses = [-value / tokens for value, tokens in scorer.likelihoods(pairs)]
        memo.write_text(json.dumps({"bits": list(found.values()), "losses": losses}))
    held = json.loads(memo.read_text())
    loss = mean_interval(held["losses"])
    return [
        *(f"{fmean(bits):.1f} ({min(bits):.1f}-{max(bits):.1f})" for bits in held["bits"]),
        f"{loss.estimate:.2f} [{loss.low:.2f}, {loss.high:.2f}]",
    ]


def question(name: str) -> str:
    return f"What is the code of {name}'s locker?"


def turns(name: str, code: str) -> tuple[Message, ...]:
    return Message("user", question(name)), Message("assistant", code)


def code_of(dice: random.Random) -> str:
    return "".join(dice.choice("0123456789") for _ in range(6))


if __name__ == "__main__":
    main()
