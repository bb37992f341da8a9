"""What articles say of RAG and fine-tuning, tried on facts that no model can know: docs/choose.md.

    make bench-claims DATA=path/to/data

Sixteen invented workshops with five facts each, a document a workshop. SmolLM2-135M answers 80 questions in a wording
that no training saw: closed book, with what is retrieved, and with the right document; as it is, after a LoRA or a
training of all weights on the same facts in 1, 2 or 4 other wordings (with the same number of steps), and after a LoRA
that learnt to read passages of eight of the workshops. Then every fact changes, documents are indexed again, and the
same questions are asked again. Beside that, with --data, how the retriever and the number of passages move what the
base answers on XQuAD. Answers and checkpoints are kept in .bench and not made again. Writes docs/choose.md.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from questions import sample, xquad
from results import machine, publish, table

from bakeoff import plugins
from bakeoff.corpus import Corpus
from bakeoff.evaluation.metrics import recall
from bakeoff.evaluation.stats import mean_interval, paired_difference, score_interval
from bakeoff.evaluation.study import general
from bakeoff.examples import locate
from bakeoff.models import generator
from bakeoff.models.weights import resolve
from bakeoff.retrieval import BM25, Dense, Hybrid, Without
from bakeoff.systems import RAG, Prompt
from bakeoff.tuning import tune
from bakeoff.types import Example

PAGE = Path(__file__).parent.parent / "docs" / "choose.md"
BASE = "smollm2-135m"
RIGHT = 0.5
EPOCHS = 16
"""With one wording; with n wordings 16 / n, so all take as many steps."""
WORDINGS = (1, 2, 4)
READ = 8
"""Workshops in the lessons of the reader."""
UNREAD = "reader LoRA, RAG: workshops of no lesson"
AFTERWARDS = (
    "base, RAG",
    "LoRA, 4 wordings, closed book",
    "all weights, 4 wordings, closed book",
    "LoRA, 4 wordings, RAG",
    "all weights, 4 wordings, RAG",
    "reader LoRA, RAG",
)
"""Asked again when the facts have changed."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NAMES = _words(
    "Abelmoor Brackwith Corvendale Dunmarrow Eskelund Farrowby Glimmstead Hollinfeld "
    "Ickenshaw Jarrowmere Kestelby Lumbrook Marrowin Nettlecombe Oxhallow Pendlemoor"
)
KINDS = _words("Bindery Brewery Foundry Pottery Tannery Weavery Printworks Sawmill")
FOUNDERS = zip(
    _words("Ada Bruno Clara Diego Edith Felix Greta Hugo Irene Jonas Karin Louis Maria Niels Olga Peter"),
    _words("Sorel Tamm Urban Vogel Weiss Adler Brandt Cohen Duval Engel Fabre Gruber Holm Ibsen Jensen Keller"),
    strict=True,
)


@dataclass(frozen=True)
class Relation:
    """A kind of fact: how it is said, how it is asked - the last wording is kept for the test - and its values."""

    said: str
    asked: tuple[str, ...]
    values: tuple[str, ...]


RELATIONS = (
    Relation(
        "{name} was founded by {value}.",
        (
            "Who founded {name}?",
            "By whom was {name} founded?",
            "{name} was the work of which founder?",
            "Name the founder of {name}.",
            "Which person set up {name}?",
        ),
        tuple(f"{first} {last}" for first, last in FOUNDERS),
    ),
    Relation(
        "{name} stands in the town of {value}.",
        (
            "In which town does {name} stand?",
            "Where is {name}?",
            "Name the town of {name}.",
            "{name} is found in what town?",
            "What town is home to {name}?",
        ),
        _words(
            "Aalborg Bergen Cadiz Dresden Exeter Faro Ghent Haarlem Inverness Jena Kiel Lund Malmo Nantes Oslo Porto"
        ),
    ),
    Relation(
        "The emblem of {name} is a {value}.",
        (
            "What is the emblem of {name}?",
            "Which animal is the emblem of {name}?",
            "{name} has which emblem?",
            "Name the animal on the emblem of {name}.",
            "What creature stands for {name}?",
        ),
        _words("badger beaver crane dolphin eagle falcon goose heron ibex lynx marten otter raven salmon tiger wolf"),
    ),
    Relation(
        "The doors of {name} are painted {value}.",
        (
            "In what colour are the doors of {name} painted?",
            "What colour are the doors of {name}?",
            "Name the colour of the doors of {name}.",
            "{name} has doors of what colour?",
            "Which paint is on the doors of {name}?",
        ),
        _words("amber black blue brown coral cream gold green grey orange pink purple red silver white yellow"),
    ),
    Relation(
        "{name} opened in {value}.",
        (
            "When did {name} open?",
            "In which year did {name} open?",
            "Name the year in which {name} opened.",
            "{name} dates from what year?",
            "Since what year has {name} been open?",
        ),
        tuple(str(year) for year in range(1811, 1971, 10)),
    ),
)


def main() -> None:
    """Train, ask in both worlds, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds xquad/xquad.en.json")
    parser.add_argument("--out", type=Path, default=Path(".bench/claims"))
    parser.add_argument("--questions", type=int, default=80, help="of 80")
    arguments = parser.parse_args()
    worlds = {name: World(arguments.out, name, shift) for name, shift in (("first", 0), ("changed", 7))}
    checkpoints = trained(worlds["first"], arguments.out)
    answers = {}
    for name, world in worlds.items():
        asked = systems(world, checkpoints)
        if name == "changed":
            asked = {system: asked[system] for system in AFTERWARDS}
        answers[name] = ask(world, asked, arguments.out / f"{name}.jsonl", arguments.questions)
    path = arguments.data and arguments.data / "xquad" / "xquad.en.json"
    text = "\n\n".join(
        [
            facts(worlds["first"], answers["first"]),
            changes(worlds, answers["changed"]),
            forgetting(checkpoints, arguments.out),
            *([depths(arguments.data, arguments.out)] if path and path.is_file() else []),
            f"`make bench-claims`, SmolLM2-135M-Instruct, on {machine()}; percent of {arguments.questions} "
            f"questions in {len(NAMES)} documents, with 95% intervals that keep the questions of a document together.",
        ]
    )
    publish("claims", text, PAGE)
    print(text)


class World:
    """All facts at one time: documents on disk, their index, and the questions."""

    def __init__(self, out: Path, name: str, shift: int) -> None:
        dice = random.Random("claims")
        orders = [dice.sample(range(len(NAMES)), len(NAMES)) for _ in RELATIONS]
        self.firms = [f"the {place} {KINDS[number % len(KINDS)]}" for number, place in enumerate(NAMES)]
        self.values = [
            [
                relation.values[order[(number + shift) % len(NAMES)]]
                for relation, order in zip(RELATIONS, orders, strict=True)
            ]
            for number in range(len(NAMES))
        ]
        folder = out / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for firm, values in zip(self.firms, self.values, strict=True):
            lines = [_said(relation.said, firm, value) for relation, value in zip(RELATIONS, values, strict=True)]
            (folder / f"{_slug(firm)}.txt").write_text(" ".join(lines), encoding="utf-8")
        self.corpus = Corpus(out / f"index-{name}")
        self.corpus.sync(folder)
        self.folder = folder

    def examples(self, wordings: Sequence[int], firms: int = len(NAMES)) -> list[Example]:
        """A question for each fact of the first `firms` workshops in each wording."""
        return [
            Example(
                f"{_slug(firm)}-{number}-{wording}",
                _said(relation.asked[wording], firm, value),
                (value,),
                group=f"{self.folder.name}/{_slug(firm)}.txt",
            )
            for wording in wordings
            for firm, values in list(zip(self.firms, self.values, strict=True))[:firms]
            for number, (relation, value) in enumerate(zip(RELATIONS, values, strict=True))
        ]

    def hybrid(self) -> Hybrid:
        return Hybrid(BM25(self.corpus), Dense(self.corpus))


def trained(world: World, out: Path) -> dict[str, Path]:
    """The checkpoints; each learns nothing but the first world's facts."""
    closed = Prompt(generator(BASE))
    reading = RAG(generator(BASE), world.hybrid())
    found = {}
    for count in WORDINGS:
        lessons = [closed.lesson(one) for one in world.examples(range(count))]
        found[f"LoRA, {count} wording{'s' if count > 1 else ''}"] = made(
            "lora", lessons, out / f"lora-{count}", epochs=EPOCHS // count
        )
    found["all weights, 4 wordings"] = made(
        "full", lessons, out / "full", epochs=EPOCHS // WORDINGS[-1], learning_rate=1e-4
    )
    lessons = [reading.lesson(one) for one in world.examples(range(2), firms=READ)]
    found["reader LoRA"] = made("lora", lessons, out / "reader", epochs=2)
    return found


def made(method: str, lessons: Sequence[Example], folder: Path, **options: Any) -> Path:
    if not folder.is_dir():
        print(f"{folder.name}: {len(lessons)} lessons", file=sys.stderr)
        tune(method, BASE, lessons, out=folder, seed=7, **options)
    return folder


def systems(world: World, checkpoints: Mapping[str, Path]) -> dict[str, Callable[[Example], Any]]:
    """Name -> what answers an example; "with the right document" sees no other."""

    def alone(system: RAG) -> Callable[[Example], Any]:
        ids = world.corpus.store.ids()
        return lambda example: system.over(
            lambda retriever: Without(retriever, [id for id in ids if id != example.group])
        ).answer(example.question)

    base = RAG(generator(BASE), world.hybrid())
    found: dict[str, Callable[[Example], Any]] = {
        "base, closed book": _asked(Prompt(generator(BASE))),
        "base, RAG": _asked(base),
        "base, the right document": alone(base),
    }
    for name, folder in checkpoints.items():
        if name != "reader LoRA":
            found[f"{name}, closed book"] = _asked(Prompt(generator(folder)))
    for name in ("LoRA, 4 wordings", "all weights, 4 wordings", "reader LoRA"):
        found[f"{name}, RAG"] = _asked(RAG(generator(checkpoints[name]), world.hybrid()))
    return found


def _asked(system: Any) -> Callable[[Example], Any]:
    return lambda example: system.answer(example.question)


def ask(
    world: World, asked: Mapping[str, Callable[[Example], Any]], path: Path, count: int
) -> dict[str, dict[str, str]]:
    """System -> question -> reply; goes on where it stopped."""
    held: dict[str, dict[str, str]] = {name: {} for name in asked}
    for line in path.read_text().splitlines() if path.is_file() else []:
        record = json.loads(line)
        held[record["system"]][record["id"]] = record["text"]
    examples = random.Random(1).sample(world.examples([4]), count)
    with path.open("a") as file:
        for name, answer in asked.items():
            for number, example in enumerate(examples, start=1):
                if example.id not in held[name]:
                    held[name][example.id] = answer(example).text
                    record = {"system": name, "id": example.id, "text": held[name][example.id]}
                    file.write(json.dumps(record) + "\n")
                    file.flush()
                print(f"\r{path.stem}: {name} {number}/{count}   ", end="", file=sys.stderr)
    return held


def facts(world: World, answers: Mapping[str, Mapping[str, str]]) -> str:
    """Who knows the facts."""
    answers = {**answers, UNREAD: unread(world, answers["reader LoRA, RAG"])}
    first = "base, closed book"
    base = dict(zip(answers[first], right(world, answers[first]), strict=True))
    rows = []
    for name, texts in answers.items():
        scores = right(world, texts)
        groups = [_group(id) for id in texts]
        more = paired_difference(scores, [base[id] for id in texts], groups)
        rows.append(
            [
                name,
                shown(score_interval(scores, groups)),
                "" if name == first else shown(more, "+"),
                f"{100 * np.mean([_declines(text) for text in texts.values()]):.0f}",
            ]
        )
    return table([f"{len(base)} facts", "right", "more than the base, closed book", "says it does not know"], rows)


def changes(worlds: Mapping[str, World], answers: Mapping[str, Mapping[str, str]]) -> str:
    """Who says the new value, and who the old one."""
    answers = {**answers, UNREAD: unread(worlds["first"], answers["reader LoRA, RAG"])}
    rows = []
    for name, texts in answers.items():
        groups = [_group(id) for id in texts]
        new, old = right(worlds["changed"], texts), right(worlds["first"], texts)
        rows.append([name, shown(score_interval(new, groups)), shown(score_interval(old, groups))])
    return table(["after every fact changed", "says the new one", "says the old one"], rows)


def forgetting(checkpoints: Mapping[str, Path], folder: Path) -> str:
    """Loss on general texts and right answers to general questions, which no training has shown."""
    held = {}
    for name, checkpoint in {"base": BASE, **checkpoints}.items():
        scorer = plugins.get("generators", "transformers")(resolve(str(checkpoint)))
        held[name] = general(scorer.likelihoods, scorer.template, folder / f"general-{_slug(name)}.json")
    losses = {name: [loss / tokens for loss, tokens in one.losses] for name, one in held.items()}
    rows = []
    for name, one in held.items():
        found = mean_interval([100 * (np.exp(a - b) - 1) for a, b in zip(losses[name], losses["base"], strict=True)])
        rows.append(
            [
                name,
                f"{np.exp(np.mean(losses[name])):.1f}",
                "" if name == "base" else f"{found.estimate:+.0f}% [{found.low:+.0f}, {found.high:+.0f}]",
                shown(score_interval(one.known)),
                "" if name == "base" else shown(paired_difference(one.known, held["base"].known), "+"),
            ]
        )
    head = ["12 general texts, 40 questions", "perplexity", "more than the base", "right", "more than the base"]
    return table(head, rows)


def depths(data: Path, out: Path) -> str:
    """XQuAD by retriever and number of passages."""
    root = out / "xquad"
    root.mkdir(exist_ok=True)
    corpus = Corpus(out / "index-xquad")
    everything = list(xquad(data, root))
    corpus.sync(root)
    examples, _ = locate(sample(everything, 40), corpus.locate)
    words, meaning = BM25(corpus), Dense(corpus)
    both = Hybrid(words, meaning)
    model = generator(BASE)
    ids = corpus.store.ids()
    tried: dict[str, Callable[[Example], Any]] = {
        "3 passages of other documents": lambda example: RAG(
            model, Without(both, [e.document_id for e in example.evidence])
        ),
        **{
            f"{name}, {k} passage{'s' * (k > 1)}": lambda _, retriever=retriever, k=k: RAG(
                model, retriever, k=k, budget=4096
            )
            for name, retriever, k in (
                ("dense", meaning, 3),
                ("BM25", words, 3),
                ("hybrid", both, 1),
                ("hybrid", both, 3),
                ("hybrid", both, 5),
                ("hybrid", both, 8),
            )
        },
        "the right document": lambda example: RAG(
            model, Without(both, [id for id in ids if id not in {e.document_id for e in example.evidence}])
        ),
    }
    path = out / "xquad.jsonl"
    held = {(r["system"], r["id"]): r for r in map(json.loads, path.read_text().splitlines())} if path.is_file() else {}
    rows = []
    with path.open("a") as file:
        for name, made_for in tried.items():
            records = []
            for number, example in enumerate(examples, start=1):
                if (name, example.id) not in held:
                    answer = made_for(example).answer(example.question)
                    gold = any(e.in_chunk(hit.chunk) for hit in answer.hits for e in example.evidence)
                    score = recall.score(example, answer) or 0.0
                    held[name, example.id] = {"system": name, "id": example.id, "score": score, "gold": gold}
                    file.write(json.dumps(held[name, example.id]) + "\n")
                    file.flush()
                records.append(held[name, example.id])
                print(f"\r{name} {number}/{len(examples)}   ", end="", file=sys.stderr)
            groups = [example.group for example in examples]
            rows.append(
                [
                    name,
                    f"{100 * np.mean([record['gold'] for record in records]):.0f}",
                    shown(score_interval([record["score"] for record in records], groups)),
                ]
            )
    return table([f"{len(examples)} questions of XQuAD", "the passage is there", "recall"], rows)


def unread(world: World, texts: Mapping[str, str]) -> dict[str, str]:
    """The replies about workshops that no lesson of the reader was about."""
    known = {_slug(firm) for firm in world.firms[:READ]}
    return {id: text for id, text in texts.items() if _group(id) not in known}


def right(world: World, texts: Mapping[str, str]) -> list[float]:
    """For each reply whether it says the world's value."""
    from bakeoff.types import Answer

    examples = {example.id: example for example in world.examples([4])}
    return [float((recall.score(examples[id], Answer(text)) or 0.0) >= RIGHT) for id, text in texts.items()]


def shown(interval: Any, sign: str = "") -> str:
    return f"{100 * interval.estimate:{sign}.0f} [{100 * interval.low:{sign}.0f}, {100 * interval.high:{sign}.0f}]"


def _declines(text: str) -> bool:
    return "don't know" in text.lower()


def _said(form: str, firm: str, value: str) -> str:
    text = form.format(name=firm, value=value)
    return text[0].upper() + text[1:]


def _group(id: str) -> str:
    return id.rsplit("-", 2)[0]


def _slug(firm: str) -> str:
    return firm.removeprefix("the ").lower().replace(" ", "-")


if __name__ == "__main__":
    main()
