"""Labels: heads on frozen features, and a LoRA, beside TF-IDF with logistic regression on four public sets.

    make bench-labels DATA=path/to/data

banking77 (77 intents), sst2 (sentiment), trec6 (question types) and sms_spam. A seed draws the tenth of the training
set that validates - of sms_spam the fifth that tests, too, for it has no test set - and what is random in a method. The
LoRA learns to write the label as its answer, from so many examples as --lessons says, and answers so many of the test
set as --asked says; 0 leaves it out. It is kept in .bench and not trained again. Writes docs/results.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from results import machine, publish, table

from bakeoff.files import write_json
from bakeoff.models import embedder, generator, heads
from bakeoff.systems import Prompt
from bakeoff.tuning import tune
from bakeoff.tuning.methods import head
from bakeoff.types import Example

BASE = "smollm2-135m"
FEATURES = {"minilm-int8": "minilm-int8", "base": f"pooled:{BASE}"}
HEADS = (("minilm-int8", "logistic"), ("minilm-int8", "forest"), ("base", "logistic"))
SHOTS = 8
MOST_CLASSES = 20
"""With more the LoRA is left out, whose prompts name them all."""
Rows = list[tuple[str, str]]


def main() -> None:
    """All methods on all sets; a cell is the mean over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds " + ", ".join(READERS))
    parser.add_argument("--out", type=Path, default=Path(".bench/labels"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="+", default=list(READERS), choices=list(READERS))
    parser.add_argument(
        "--base", nargs="*", default=["trec6"], help="sets for which the generator's own states are features, too: slow"
    )
    parser.add_argument("--lessons", type=int, default=0, help="examples that the LoRA learns from")
    parser.add_argument("--asked", type=int, default=200, help="test examples that prompts and the LoRA answer")
    arguments = parser.parse_args()
    missing = [name for name in arguments.sets if not (arguments.data / name).is_dir()]
    if missing:
        sys.exit(f"skipped: {arguments.data / missing[0]} is not there; give its folder with --data")
    found: dict[str, dict[str, str]] = {}
    for name in arguments.sets:
        for method, cell in measured(name, arguments).items():
            found.setdefault(method, {})[name] = cell
            print(f"{name:<10} {method:<28} {cell}", flush=True)
        # After each set, so that a stopped run has a table.
        publish("labels", page(found, arguments))
    print(page(found, arguments))


def page(found: dict[str, dict[str, str]], arguments: argparse.Namespace) -> str:
    """A row a method, a column a set; a dash where a set was not asked or not reached."""
    rows = [[method, *(cells.get(name, "-") for name in arguments.sets)] for method, cells in found.items()]
    return (
        f"{table(['accuracy, percent', *arguments.sets], rows)}\n\n{arguments.seeds} seeds, the lowest and the highest "
        f"in brackets; prompts and the LoRA answer {arguments.asked} of the test examples. "
        f"`make bench-labels DATA=...` on {machine()}."
    )


def measured(name: str, arguments: argparse.Namespace) -> dict[str, str]:
    """Method -> accuracy on one set."""
    memo = arguments.out / f"{name}-{arguments.lessons}-{arguments.asked}-{arguments.seeds}.json"
    if memo.is_file():
        held: dict[str, str] = json.loads(memo.read_text())
        return held
    seen: dict[str, list[float]] = {}
    caches = {label: Cached(model) for label, model in FEATURES.items()}
    for seed in range(arguments.seeds):
        train, valid, test = split(*READERS[name](arguments.data / name), seed)
        seen.setdefault("TF-IDF, logistic", []).append(tf_idf(train + valid, test))
        for label, kind in HEADS if name in arguments.base else HEADS[:-1]:
            out = arguments.out / f"{name}-{label}-{kind}-{seed}"
            right = a_head(caches[label], kind, train, valid, test, seed, out)
            seen.setdefault(f"{label}, {kind}", []).append(right)
        if arguments.lessons and len({label for _, label in train}) <= MOST_CLASSES:
            learnt, checked, asked = train[: arguments.lessons], valid[:50], test[: arguments.asked]
            seen.setdefault("prompt", []).append(a_prompt(learnt, asked, 0))
            seen.setdefault(f"prompt, {SHOTS} examples", []).append(a_prompt(learnt, asked, SHOTS))
            right = a_lora(learnt, checked, asked, seed, arguments.out / f"{name}-lora-{seed}")
            seen.setdefault(f"LoRA, {arguments.lessons} lessons", []).append(right)
    cells = {
        method: f"{100 * np.mean(values):.1f} ({100 * min(values):.1f}-{100 * max(values):.1f})"
        for method, values in seen.items()
    }
    write_json(memo, cells)
    return cells


def tf_idf(train: Rows, test: Rows) -> float:
    """Words and pairs of words, C of 10: what the research notes name as the figure to beat."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=1000)
    )
    model.fit(*zip(*train, strict=True))
    texts, labels = zip(*test, strict=True)
    return float(model.score(texts, labels))


def a_head(features: Any, kind: str, train: Rows, valid: Rows, test: Rows, seed: int, out: Path) -> float:
    """Through the method `head`, whose vectors are kept between seeds and kinds."""
    out.mkdir(parents=True, exist_ok=True)
    head.embedder = lambda name: features  # type: ignore[assignment]
    head.tune(BASE, examples(train), examples(valid), out, seed=seed, kind=kind)  # type: ignore[arg-type]
    fitted = heads.load(out)
    chances = fitted.probabilities(features.embed([text for text, _ in test]))
    said = [fitted.classes[place] for place in chances.argmax(axis=1)]
    return float(np.mean([one == label for one, (_, label) in zip(said, test, strict=True)]))


def a_prompt(shown: Rows, test: Rows, shots: int) -> float:
    """The base, told the labels, and shown so many examples."""
    instruction, asked = instructed(shown), examples(shown)[:shots]
    return answered(Prompt(generator(BASE), instruction=instruction, shots=asked), test)


def a_lora(train: Rows, valid: Rows, test: Rows, seed: int, out: Path) -> float:
    """Through the method `lora`: the label is the answer."""
    plain = Prompt(generator(BASE), instruction=instructed(train))
    if not out.is_dir():
        lessons, checked = ([plain.lesson(one) for one in examples(rows)] for rows in (train, valid))
        tune("lora", BASE, lessons, checked, out=out, seed=seed)
    return answered(Prompt(generator(out), instruction=instructed(train)), test)


def instructed(rows: Rows) -> str:
    return "Answer with one of: " + ", ".join(sorted({label for _, label in rows})) + "."


def answered(system: Prompt, test: Rows) -> float:
    """Share of right labels; what is written otherwise is wrong."""
    return sum(system.answer(text).text.strip() == label for text, label in test) / len(test)


class Cached:
    """An embedder that embeds a text once."""

    def __init__(self, model: str) -> None:
        self._model = embedder(model)
        self._held: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def embed(self, texts: Sequence[str]) -> Any:
        new = [text for text in dict.fromkeys(texts) if text not in self._held]
        if new:
            self._held.update(zip(new, self._model.embed(new), strict=True))
        return np.stack([self._held[text] for text in texts])


def examples(rows: Rows) -> list[Example]:
    return [Example(str(n), text, (label,), label=label) for n, (text, label) in enumerate(rows)]


def split(train: Rows, test: Rows, seed: int) -> tuple[Rows, Rows, Rows]:
    """Train, valid and test; where there is no test set, a fifth of all is one."""
    dice = random.Random(seed)
    train = train.copy()
    dice.shuffle(train)
    if not test:
        test, train = train[: len(train) // 5], train[len(train) // 5 :]
    tenth = len(train) // 10
    return train[tenth:], train[:tenth], test


def banking77(folder: Path) -> tuple[Rows, Rows]:
    def read(name: str) -> Rows:
        with (folder / name).open(encoding="utf-8") as file:
            return [(row["text"], row["category"]) for row in csv.DictReader(file)]

    return read("train.csv"), read("test.csv")


def spaced(*names: str) -> Callable[[Path], tuple[Rows, Rows]]:
    """Files whose lines begin with the label."""

    def read(folder: Path) -> tuple[Rows, Rows]:
        parts = [
            [(line.partition(" ")[2].strip(), line.partition(" ")[0]) for line in lines if line.strip()]
            for lines in ((folder / name).read_text(encoding="utf-8", errors="replace").splitlines() for name in names)
        ]
        return [row for part in parts[:-1] for row in part], parts[-1]

    return read


def sms_spam(folder: Path) -> tuple[Rows, Rows]:
    lines = (folder / "sms.tsv").read_text(encoding="utf-8").splitlines()
    return [(text, label) for label, _, text in (line.partition("\t") for line in lines) if text], []


READERS: dict[str, Callable[[Path], tuple[Rows, Rows]]] = {
    "banking77": banking77,
    "sst2": spaced("stsa.binary.train", "stsa.binary.dev", "stsa.binary.test"),
    "trec6": spaced("TREC.train.all", "TREC.test.all"),
    "sms_spam": sms_spam,
}


if __name__ == "__main__":
    main()
