"""What is searched for: reformulations, hypothetical passages, hops and follow-up questions, each beside plain search.

    make bench-queries DATA=path/to/data

HotpotQA: 1,000 paragraphs pooled from 100 questions of the distractor set, each its own passage; a question is found
when both of its supporting paragraphs are among the first k. What the second hop searches for was chosen on every other
question, all is reported on the rest. What a second hop takes from questions that need one passage: XQuAD and the demo
company, whose questions of kind `multi` need two. Follow-ups: followups.jsonl, conversations about the demo company,
each written by hand before anything was run on it; `part` says which ones chose what is searched for.
Writes docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results import machine, publish, table
from retrieval import difference, mean

import bakeoff
from bakeoff import plugins
from bakeoff.corpus import Corpus
from bakeoff.models import generator
from bakeoff.retrieval import BM25, RRF, ByModel, Dense, Expanded, Hybrid, Iterative, Standalone, with_earlier
from bakeoff.retrieval.queries import Rewrite, search
from bakeoff.systems import RAG
from bakeoff.trace import recording
from bakeoff.types import (
    Evidence,
    Example,
    Generation,
    Generator,
    Hit,
    Message,
    Pieces,
    Question,
    Retriever,
    Schema,
    Step,
    Usage,
)

MODEL = "smollm2-135m"
DEMO = Path(bakeoff.__file__).parent / "demo"
FOLLOW_UPS = Path(__file__).parent / "followups.jsonl"
HOTPOT = Path("hotpotqa100") / "hotpotqa_distractor_100.jsonl"
XQUAD = Path("xquad") / "xquad.en.json"

Gold = Callable[[Sequence[Hit]], bool]
"""Whether all that is needed stands among the hits."""


@dataclass
class Measured:
    """One way to search, question by question."""

    found: dict[int, list[float]] = field(default_factory=dict)
    answers: list[float] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    seconds: float = 0.0

    def costs(self) -> list[str]:
        """Model calls, tokens in + out, and milliseconds of a search."""
        n, usage = len(next(iter(self.found.values()))), sum((step.usage for step in self.steps), Usage())
        calls = sum(step.usage.fresh > 0 for step in self.steps) / n
        return [f"{calls:.1f}", f"{usage.fresh / n:.0f} + {usage.output / n:.0f}", f"{1000 * self.seconds / n:.0f}"]


class Remembering:
    """The same prompt is answered once: ways to search that find the same need not be asked again."""

    def __init__(self, model: Generator) -> None:
        self.name, self.window, self.count = model.name, model.window, model.count
        self._model = model
        self._known: dict[tuple[Message, ...], Generation] = {}

    def generate(self, messages: Sequence[Message], *, max_tokens: int = 128, schema: Schema = None) -> Generation:
        if (prompt := tuple(messages)) not in self._known:
            self._known[prompt] = self._model.generate(messages, max_tokens=max_tokens)
        return self._known[prompt]

    def stream(self, messages: Sequence[Message], *, max_tokens: int = 128) -> Pieces:
        return self._model.stream(messages, max_tokens=max_tokens)


def main() -> None:
    """Measure all four and write their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds hotpotqa100 and xquad")
    data = parser.parse_args().data
    missing = [name for name in (HOTPOT, XQUAD) if not (data / name).is_file()]
    if missing:
        sys.exit(f"skipped: {data / missing[0]} is not there; give its folder with --data")
    model = Remembering(generator(MODEL))
    with tempfile.TemporaryDirectory() as folder:
        demo = Corpus(Path(folder) / "demo", "minilm-int8")
        demo.sync(DEMO / "documents", f"sqlite:///{DEMO / 'shop.db'}")
        pooled = read_hotpotqa(data / HOTPOT, Path(folder))
        text = without_model(pooled, read_xquad(data / XQUAD, Path(folder)), demo)
        publish("hops", f"{text}\n\n{made('minilm-int8')}")
        texts = [hotpotqa(pooled, model), follow_ups(demo, model)]
    publish("queries", "\n\n".join([*texts, made(f"{MODEL} and minilm-int8, by reciprocal ranks,")]))
    print("\n\n".join([text, *texts]))


def made(of: str) -> str:
    """The line under a table."""
    return f"`make bench-queries DATA=...`, {of} on {machine()}."


def hybrid(corpus: Corpus) -> Retriever:
    """What every project has by default."""
    return Hybrid(BM25(corpus), Dense(corpus))


def measure(retriever: Retriever, asked: Sequence[tuple[str, Gold]], ks: Sequence[int]) -> Measured:
    """Search for every query, and look whether its gold is among the first of each of `ks`."""
    measured = Measured({k: [] for k in ks})
    for query, gold in asked:
        start = time.perf_counter()
        with recording() as steps:
            hits = retriever.retrieve(query, ks[-1])
        measured.seconds += time.perf_counter() - start
        measured.steps += steps
        for k in ks:
            measured.found[k].append(float(gold(hits[:k])))
    return measured


# ---------------------------------------------------------------- two paragraphs


@dataclass(frozen=True)
class Pooled:
    """The paragraphs of a set of questions in one index, and which of them each question needs."""

    corpus: Corpus
    asked: list[tuple[str, Gold]]
    answers: list[str] = field(default_factory=list)


def read_hotpotqa(path: Path, folder: Path) -> Pooled:
    """The questions that are reported: every other one."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    paragraphs = {
        title: "".join(sentences)
        for row in rows
        for title, sentences in zip(row["context"]["title"], row["context"]["sentences"], strict=True)
    }
    ids = {title: f"hotpotqa/{number:04}.md" for number, title in enumerate(sorted(paragraphs))}
    (folder / "hotpotqa").mkdir()
    for title, id in ids.items():
        (folder / id).write_text(f"# {title}\n\n{paragraphs[title]}\n", encoding="utf-8")
    corpus = Corpus(folder / "hotpotqa-index", "minilm-int8", chunk_tokens=512)
    corpus.sync(folder / "hotpotqa")
    asked = [(row["question"], _both(ids[title] for title in row["supporting_facts"]["title"])) for row in rows]
    return Pooled(corpus, asked[1::2], [row["answer"] for row in rows[1::2]])


def hotpotqa(pooled: Pooled, model: Generator) -> str:
    """A line for each way to search, answers included."""
    plain = RRF(BM25(pooled.corpus), Dense(pooled.corpus))
    ways = {
        "plain": plain,
        "multi-query, 3 by the model": Expanded(plain, model),
        "HyDE": Expanded(plain, model, how="hyde"),
        "second hop by the model": Iterative(plain, ByModel(model)),
        "second hop by names": Iterative(plain),
        "second and third hop by names": Iterative(plain, hops=3),
    }
    recall, scored = plugins.get("metrics", "recall"), {}
    for name, retriever in ways.items():
        scored[name] = measure(retriever, pooled.asked, (2, 3, 5, 10))
        system = RAG(model, retriever)
        for (question, _), answer in zip(pooled.asked, pooled.answers, strict=True):
            example = Example(question, question, (answer,))
            scored[name].answers.append(recall(example, system.answer(question)) or 0.0)
        print(name, mean(scored[name].found[3]), mean(scored[name].answers), file=sys.stderr, flush=True)
    head = ["HotpotQA: both paragraphs", "@2", "@3", "@5", "@10", "@3 less plain", "answer recall", "less plain"]
    lines = [
        [
            name,
            *(short(found.found[k]) for k in (2, 3, 5, 10)),
            against(found.found[3], scored["plain"].found[3]),
            short(found.answers),
            against(found.answers, scored["plain"].answers),
            *found.costs(),
        ]
        for name, found in scored.items()
    ]
    n = f"{len(pooled.asked)} questions, {len(pooled.corpus.store.ids()):,} paragraphs"
    return f"{n}:\n\n{table([*head, *COSTS], lines)}"


COSTS = ["calls", "tokens in + out", "search, ms"]


def _both(ids: Iterable[str]) -> Gold:
    wanted = set(ids)
    return lambda hits: wanted <= {hit.chunk.document_id for hit in hits}


# ---------------------------------------------------------------- what asks no model


def without_model(pooled: Pooled, single: Pooled, demo: Corpus) -> str:
    """A second hop where one is needed and where none is, and earlier questions, on the default hybrid."""
    one, two = demo_questions(demo)
    lines = [
        [f"second hop: {name}", *compared(measure(plain, asked, (3,)), measure(Iterative(plain), asked, (3,)))]
        for name, plain, asked in (
            ("two paragraphs, HotpotQA", hybrid(pooled.corpus), pooled.asked),
            ("two documents, demo", hybrid(demo), two),
            ("one paragraph, XQuAD", hybrid(single.corpus), single.asked),
            ("one document, demo", hybrid(demo), one),
        )
    ]
    for name, changes in (("the same subject", False), ("a new subject", True)):
        rows = [row for row in conversations() if (row["kind"] == "change") == changes]
        without, earlier = (followed(demo, hybrid(demo), way, rows) for way in (alone, with_earlier))
        lines.append([f"earlier questions: {name}", *compared(without, earlier)])
    return table(["default hybrid, all that is needed", "questions", "plain @3", "so @3", "difference"], lines)


def compared(plain: Measured, other: Measured) -> list[str]:
    """How many, both at 3, and the difference."""
    one, two = plain.found[3], other.found[3]
    return [f"{len(one):,}", short(one), short(two), difference(two, one)]


def read_xquad(path: Path, folder: Path) -> Pooled:
    """All questions; each needs one paragraph."""
    asked: list[tuple[str, Gold]] = []
    (folder / "xquad").mkdir()
    for number, article in enumerate(json.loads(path.read_text(encoding="utf-8"))["data"]):
        for place, paragraph in enumerate(article["paragraphs"]):
            id = f"xquad/{number:02}-{place}.txt"
            (folder / id).write_text(paragraph["context"], encoding="utf-8")
            asked += [(entry["question"], _both([id])) for entry in paragraph["qas"]]
    corpus = Corpus(folder / "xquad-index", "minilm-int8", chunk_tokens=512)
    corpus.sync(folder / "xquad")
    return Pooled(corpus, asked)


def demo_questions(corpus: Corpus) -> tuple[list[tuple[str, Gold]], list[tuple[str, Gold]]]:
    """The demo company's questions that need one document, and those that need two."""
    one: list[tuple[str, Gold]] = []
    two: list[tuple[str, Gold]] = []
    for row in map(json.loads, (DEMO / "questions.jsonl").read_text(encoding="utf-8").splitlines()):
        places = [corpus.locate(Evidence(entry["document"], -1, -1, entry["quote"])) for entry in row["evidence"]]
        if row["kind"] in ("multi", "fact", "table") and None not in places:
            gold = _shown([place for place in places if place])
            (two if row["kind"] == "multi" else one).append((row["question"], gold))
    return one, two


def _shown(evidence: Sequence[Evidence]) -> Gold:
    return lambda hits: all(any(entry.in_chunk(hit.chunk) for hit in hits) for entry in evidence)


# ---------------------------------------------------------------- conversations


def conversations() -> list[dict[str, Any]]:
    """Those that are reported."""
    rows = map(json.loads, FOLLOW_UPS.read_text(encoding="utf-8").splitlines())
    return [row for row in rows if row["part"] == "reported"]


def follow_ups(corpus: Corpus, model: Generator) -> str:
    """A line for each way to make a follow-up stand alone."""
    reported = conversations()
    by_hand = {row["question"] + row["turns"][-1]: row["standalone"] for row in reported}
    ways: dict[str, Rewrite] = {
        "the last question alone": alone,
        "earlier questions in front": with_earlier,
        "rewritten by the model": Standalone(model),
        "rewritten by hand": lambda question: (by_hand[question.text + question.history[-1].content],),
    }
    plain = RRF(BM25(corpus), Dense(corpus))
    recall, scored = plugins.get("metrics", "recall"), {}
    for name, rewrite in ways.items():
        scored[name] = followed(corpus, plain, rewrite, reported)
        system = RAG(model, plain, rewrite=rewrite)
        for row in reported:
            example = Example(row["id"], row["question"], tuple(row["references"]))
            scored[name].answers.append(recall(example, system.answer(last_question(row))) or 0.0)
        print(name, mean(scored[name].found[3]), mean(scored[name].answers), file=sys.stderr, flush=True)
    first = scored["the last question alone"]
    changed = [number for number, row in enumerate(reported) if row["kind"] == "change"]
    lines = [
        [
            name,
            short(found.found[1]),
            short(found.found[3]),
            against(found.found[3], first.found[3]),
            short([found.found[3][number] for number in changed]),
            short(found.answers),
            against(found.answers, first.answers),
            *found.costs(),
        ]
        for name, found in scored.items()
    ]
    head = ["conversations: the passage", "@1", "@3", "@3 less alone", "@3, new subject", "answer recall", "less alone"]
    n = f"{len(reported)} last questions, {len(changed)} of them on a new subject"
    return f"{n}:\n\n{table([*head, *COSTS], lines)}"


def followed(corpus: Corpus, plain: Retriever, rewrite: Rewrite, rows: Sequence[dict[str, Any]]) -> Measured:
    """Search for every last question as `rewrite` has it."""
    measured = Measured({1: [], 3: []})
    for row in rows:
        start = time.perf_counter()
        with recording() as steps:
            hits = search(plain, rewrite(last_question(row)), 3)
        measured.seconds += time.perf_counter() - start
        measured.steps += steps
        gold = corpus.locate(Evidence(row["document"], -1, -1, row["quote"]))
        for k, found in measured.found.items():
            found.append(float(gold is not None and _shown([gold])(hits[:k])))
    return measured


def last_question(row: dict[str, Any]) -> Question:
    """With the turns before it."""
    turns = [Message("assistant" if number % 2 else "user", text) for number, text in enumerate(row["turns"])]
    return Question(row["question"], tuple(turns))


def alone(question: Question) -> tuple[str, ...]:
    """As if nothing had been said before."""
    return (question.text,)


def short(values: Sequence[float]) -> str:
    """Their mean."""
    return f"{sum(values) / len(values):.2f}"


def against(one: Sequence[float], other: Sequence[float]) -> str:
    """The paired difference; nothing beside itself."""
    return "" if one is other else difference(one, other)


if __name__ == "__main__":
    main()
