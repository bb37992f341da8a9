"""Whether the defaults stand that the ladder of methods does not search: documents, labels, preferences, rewards.

    make bench-defaults DATA=path/to/data

Each method tries its defaults first, then others of its space (`SPACES` of tuning/search.py), on few examples, judged
on validation examples of other groups as `bakeoff tune --search` judges them. The documents are paragraphs of XQuAD,
the labels TREC's kinds of questions, the pairs Raschka's. A stopped run goes on; writes docs/results.md.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

from labels import READERS, examples
from preferences import divided
from questions import sample, xquad
from results import machine, publish, table

from bakeoff import plugins
from bakeoff.models import generator
from bakeoff.systems import Prompt
from bakeoff.tuning.search import SPACES, search
from bakeoff.types import Example

BASE = "smollm2-135m"
SEED = 7
Parts = tuple[list[Example], list[Example]]
GOALS = {
    "dpo": "chosen reply gains more, share of pairs",
    "grpo": "reward",
    "head": "loss",
    "kto": "chosen reply gains more, share of pairs",
    "orpo": "chosen reply likelier, share of pairs",
    "pretrain": "loss",
}
"""What validation judges by; all but losses are to be raised."""


def main() -> None:
    """Search what is missing, and write the table after each method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds xquad, trec6 and rasbt_instruct")
    parser.add_argument("--out", type=Path, default=Path(".bench/defaults"))
    parser.add_argument("--methods", nargs="+", choices=GOALS, default=list(GOALS))
    parser.add_argument("--trials", type=int, default=6)
    arguments = parser.parse_args()
    for name in ("xquad", "trec6", "rasbt_instruct"):
        if not (arguments.data / name).is_dir():
            sys.exit(f"skipped: {arguments.data / name} is not there; give its folder with --data")
    rows = []
    for method in arguments.methods:
        rows.append(row(method, *LESSONS[method](arguments.data, arguments.out), arguments))
        head = ["method", "learns from", "judged by", "default", "its value", "best", "its value"]
        text = (
            f"{table(head, rows)}\n\n{arguments.trials} trials of each method, the defaults among them, one seed. "
            f"`make bench-defaults DATA=...`, {BASE}, on {machine()}."
        )
        publish("defaults", text)
    print(text)


def row(method: str, train: list[Example], valid: list[Example], arguments: argparse.Namespace) -> list[str]:
    """The defaults are the first trial, so a search of one measures them, and goes on from there."""
    first, best = (
        search(method, BASE, train, valid, out=arguments.out / method, trials=trials, seed=SEED, progress=_print)
        for trials in (1, arguments.trials)
    )
    function = plugins.get("methods", method)
    defaults = {name: signature(function).parameters[name].default for name in SPACES[method]}
    values = [abs(found.value) for found in (first, best)]
    same = values[0] == values[1]
    return [
        f"`{method}`",
        f"{len(train)} + {len(valid)}",
        GOALS[method],
        _said(defaults),
        f"{values[0]:.3f}",
        "the default" if same else _said({name: best.options[name] for name in SPACES[method]}),
        f"{values[1]:.3f}",
    ]


def paragraphs(data: Path, out: Path) -> list[Example]:
    """Questions of XQuAD behind their paragraph, in `messages`, and the paragraph as `text`."""
    root = out / "paragraphs"
    root.mkdir(parents=True, exist_ok=True)
    closed, found = Prompt(generator("scripted")), []
    for example in xquad(data, root):
        text = (root.parent / example.evidence[0].document_id).read_text(encoding="utf-8")
        asked = replace(example, question=f"{text}\n\n{example.question}", text=text)
        found.append(replace(closed.lesson(asked), text=text))
    return found


def documents(data: Path, out: Path) -> Parts:
    """Each paragraph once."""
    texts = {example.text: example for example in paragraphs(data, out)}
    return by_group(list(texts.values()), 40, 10)


def reading(data: Path, out: Path) -> Parts:
    return by_group(paragraphs(data, out), 24, 12)


def labels(data: Path, out: Path) -> Parts:
    rows, _ = READERS["trec6"](data / "trec6")
    random.Random(SEED).shuffle(rows)
    found = examples(rows[:600])
    return found[:500], found[500:]


def pairs(data: Path, out: Path) -> Parts:
    found = divided(data, 60, 40)[0]
    return found["train"], found["test"]


def by_group(found: list[Example], train: int, valid: int) -> Parts:
    """So many of each; no article is in both."""
    groups = sorted({example.group for example in found})
    random.Random(SEED).shuffle(groups)
    other = set(groups[: len(groups) // 4])
    parts = [one for one in found if one.group not in other], [one for one in found if one.group in other]
    return sample(parts[0], train, SEED), sample(parts[1], valid, SEED)


LESSONS: dict[str, Callable[[Path, Path], Parts]] = {
    "dpo": pairs,
    "grpo": reading,
    "head": labels,
    "kto": pairs,
    "orpo": pairs,
    "pretrain": documents,
}


def _said(options: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} {value:.2g}" if isinstance(value, float) else f"{key} {value}" for key, value in options.items()
    )


_last = [""]


def _print(done: int, total: int, text: str) -> None:
    said = ":".join(text.split(":")[:2])
    if said != _last[0]:
        _last[0] = said
        print(said, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
