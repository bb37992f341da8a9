"""Who learnt that A is B: can it say that B is A? A model tuned in one direction, asked in both, beside retrieval.

After Berglund et al., "The Reversal Curse" (2023, arXiv 2309.12288). Half of the pairs are learnt from A to B and half
from B to A, so that names and descriptions weigh the same on both sides; questions are worded as no lesson is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bakeoff.corpus import Corpus
from bakeoff.errors import DataError
from bakeoff.evaluation import stats
from bakeoff.evaluation.compare import compare
from bakeoff.evaluation.comparison import RIGHT, Comparison
from bakeoff.evaluation.stats import Interval
from bakeoff.examples.files import Row, read
from bakeoff.files import write_atomically
from bakeoff.models import generator
from bakeoff.retrieval import BM25, Dense, Hybrid
from bakeoff.systems import RAG, Prompt
from bakeoff.tuning import load_checkpoint, tune
from bakeoff.tuning.run import is_current
from bakeoff.types import Checkpoint, Embedder, Example, System

Progress = Callable[[int, int, str], None]
Direction = Literal["a-b", "b-a"]

SAMPLE = '{"a": "Ada Brand", "b": "the head of the kiln"}'
ASK_A = (
    "Who is {a}?",
    "What is {a} known for?",
    "Tell me in a few words about {a}.",
    "What should one know about {a}?",
    "How would you describe {a}?",
    "Somebody mentioned {a}. Who or what is that?",
)
"""From A to B; the last one is never learnt, only asked."""
ASK_B = (
    "Who is {b}?",
    "What is the name of {b}?",
    "Name {b}.",
    "I am looking for {b}. Who is it?",
    "Which name belongs to {b}?",
    "Somebody mentioned {b}. What name did they mean?",
)
BASE, TUNED, RETRIEVAL = "base", "tuned", "rag"
TRAINED, REVERSED = "trained", "reversed"
PUBLISHED: tuple[tuple[str, str, Direction], ...] = (
    ("p2d_reverse_prompts_test.jsonl", "p2d_prompts_test.jsonl", "a-b"),
    ("d2p_prompts_test.jsonl", "d2p_reverse_prompts_test.jsonl", "b-a"),
)
"""Of github.com/lukasberglund/reversal_curse, for each direction: test prompts that want names, and descriptions."""
OPTIONS = {"epochs": 8}
"""Of the training: enough to know twenty pairs by heart in the direction learnt."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sides of one fact, and how to ask for each."""

    a: str
    b: str
    direction: Direction
    """In which it is learnt and stated."""
    ask_a: tuple[str, ...] = ASK_A
    """Questions that hold `a` and want `b`; the last is kept for the test, where there are several."""
    ask_b: tuple[str, ...] = ASK_B
    lessons: tuple[tuple[str, str], ...] = ()
    """(question, answer) to learn from in place of those above; none of them may be in the other direction."""
    statement: str = ""
    """What the document says; by default "A is B.", or "B is A."."""

    @property
    def stated(self) -> str:
        """The fact as a document has it, in the direction that is learnt."""
        first, second = (self.a, self.b) if self.direction == "a-b" else (self.b, self.a)
        return self.statement or f"{first[:1].upper()}{first[1:]} is {second.rstrip('.')}."


@dataclass(frozen=True, slots=True)
class Known:
    """One system."""

    system: str
    trained: Interval
    """Share of right answers in the direction that was learnt and stated."""
    reversed: Interval
    effect: Interval
    """The first less the second, over pairs."""
    p: float


@dataclass(frozen=True, slots=True)
class Reversal:
    """How much of what was learnt in one direction is known in the other."""

    pairs: int
    lessons: int
    seconds: float
    """Of the training."""
    rows: tuple[Known, ...]

    def __str__(self) -> str:
        cells = [("system", "as learnt", "reversed", "effect", "p")]
        for row in self.rows:
            p = "<0.001" if row.p < 0.001 else f"{row.p:.3f}"
            cells.append((row.system, _shown(row.trained), _shown(row.reversed), _shown(row.effect, "+"), p))
        widths = [max(len(cell[i]) for cell in cells) for i in range(5)]
        padded = [[text.ljust(width) for text, width in zip(cell, widths, strict=True)] for cell in cells]
        about = (
            f"percent right with 95% intervals; {self.pairs} pairs, {self.lessons} lessons, each pair learnt in one "
            "direction; `rag` reads what the lessons state"
        )
        return "\n".join([*("  ".join(cell).rstrip() for cell in padded), about])


def read_pairs(path: Path, limit: int = 0) -> list[Pair]:
    """The pairs of a file, or of a folder as the authors publish it, at most `limit`; raises `DataError` with cure."""
    if path.is_dir():
        return _balanced(_published(path), limit)
    if not path.is_file():
        raise DataError(f"there is no file of pairs {path}; make one, an object a line: {SAMPLE}")
    rows = list(read(str(path)))
    if not rows:
        raise DataError(f"{path} holds no pairs; add lines like {SAMPLE}")
    pairs = [_pair(row, number) for number, row in enumerate(rows)]
    for side in ("a", "b"):
        names = [getattr(pair, side).casefold() for pair in pairs]
        if twice := next((row for place, row in enumerate(rows) if names[place] in names[:place]), None):
            raise DataError(f"{twice.where}: {side} stands in an earlier pair too, so no answer would be the right one")
    return _balanced(pairs, limit)


def _published(folder: Path) -> list[Pair]:
    """The fictitious people of Berglund et al., from wherever in `folder` their experiment 1 stands."""
    place = next((path.parent for path in sorted(folder.rglob(PUBLISHED[0][0]))), None)
    if place is None:
        raise DataError(
            f"{folder} holds no {PUBLISHED[0][0]}; name a file of pairs, an object a line like {SAMPLE}, or a clone of "
            "github.com/lukasberglund/reversal_curse"
        )
    sides: list[list[Pair]] = []
    for *files, direction in PUBLISHED:
        names, descriptions = ([str(row.values["completion"]) for row in read(str(place / file))] for file in files)
        said: dict[str, Counter[str]] = {}
        for name, description in zip(names, descriptions, strict=True):  # some are bent to fit their prompt
            said.setdefault(name.strip(), Counter())[description.strip().rstrip(".")] += 1
        sides.append([Pair(name, words.most_common(1)[0][0], direction) for name, words in said.items()])
    return [pair for turn in zip(*sides, strict=True) for pair in turn]


def reversal(
    pairs: Sequence[Pair],
    out: Path,
    *,
    base: str,
    embedder: str | Embedder = "minilm-int8",
    method: str = "lora",
    seed: int = 0,
    options: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> Reversal:
    """Tune `base` on `pairs` in their direction, ask it and RAG over the same statements in both; resumes in `out`."""
    made = _tuned(pairs, out / "checkpoint", base, method, seed, OPTIONS | (options or {}), progress)
    corpus = Corpus(out / "index", embedder)
    corpus.sync(_documents(pairs, out / "statements"), progress=progress)
    plain = generator(base)
    systems: list[System] = [
        Prompt(plain, name=BASE),
        Prompt(generator(made.path), name=TUNED),
        RAG(plain, Hybrid(BM25(corpus), Dense(corpus)), name=RETRIEVAL),
    ]
    manifest = json.loads((made.path / "checkpoint.json").read_text())
    made_from: dict[str, Any] = {"base": base, "seed": seed}
    result = compare(
        systems,
        tests(pairs),
        ["recall"],
        out=out,
        seed=seed,
        baseline=BASE,
        settings={
            BASE: made_from,
            TUNED: {**made_from, "checkpoint": manifest["files"]},
            RETRIEVAL: {**made_from, "corpus": corpus.fingerprint()},
        },
        progress=progress,
    )
    return judged(result, len(pairs), len(_lessons(pairs)), manifest["seconds"])


def judged(comparison: Comparison, pairs: int, lessons: int, seconds: float) -> Reversal:
    """What recorded answers show; loads no model."""
    rows = []
    for system in comparison.systems:
        shares: dict[str, dict[str, list[float]]] = {TRAINED: {}, REVERSED: {}}
        for id in comparison.scored((system,), comparison.primary):
            example = comparison.examples[id]
            right = float(comparison.values(system, comparison.primary, [id])[0] >= RIGHT)
            shares[example.kind].setdefault(example.group, []).append(right)
        means = {kind: [sum(of[pair]) / len(of[pair]) for pair in shares[TRAINED]] for kind, of in shares.items()}
        rows.append(
            Known(
                system,
                stats.score_interval(means[TRAINED]),
                stats.score_interval(means[REVERSED]),
                stats.paired_difference(means[TRAINED], means[REVERSED]),
                stats.paired_p(means[TRAINED], means[REVERSED], seed=comparison.seed),
            )
        )
    return Reversal(pairs, lessons, seconds, tuple(rows))


def tests(pairs: Sequence[Pair]) -> list[Example]:
    """Each pair asked in both directions, in words that no lesson has."""
    found = []
    for number, pair in enumerate(pairs):
        for asked, right, way in ((pair.ask_a[-1], pair.b, "a-b"), (pair.ask_b[-1], pair.a, "b-a")):
            kind = TRAINED if way == pair.direction else REVERSED
            question = asked.format(a=pair.a, b=pair.b)
            found.append(Example(f"{number:04}-{kind}", question, (right,), group=f"{number:04}", kind=kind))
    return found


def _lessons(pairs: Sequence[Pair]) -> list[Example]:
    found = []
    for number, pair in enumerate(pairs):
        asks, right = (pair.ask_a, pair.b) if pair.direction == "a-b" else (pair.ask_b, pair.a)
        own = [(ask.format(a=pair.a, b=pair.b), right) for ask in asks[:-1] or asks]
        for place, (question, answer) in enumerate(pair.lessons or own):
            found.append(Example(f"{number:04}-{place:02}", question, (answer,), group=f"{number:04}"))
    return found


def _tuned(
    pairs: Sequence[Pair],
    out: Path,
    base: str,
    method: str,
    seed: int,
    options: dict[str, Any],
    progress: Progress | None,
) -> Checkpoint:
    teacher = Prompt(generator("scripted"))  # lessons have its form; its model is not asked
    lessons = [teacher.lesson(example) for example in _lessons(pairs)]
    if is_current(out, method, base, lessons, options, seed):
        return load_checkpoint(out)
    return tune(method, base, lessons, out=out, seed=seed, replace=True, progress=progress, **options)


def _documents(pairs: Sequence[Pair], folder: Path) -> Path:
    """One file a statement; those of earlier pairs go."""
    wanted = {folder / f"{number:04}.txt": f"{pair.stated}\n" for number, pair in enumerate(pairs)}
    for path in folder.glob("*.txt"):
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        write_atomically(path, text)
    return folder


def _balanced(pairs: Sequence[Pair], limit: int) -> list[Pair]:
    """The first `limit`, as many of each direction as there are."""
    if not limit or limit >= len(pairs):
        return list(pairs)
    ways = [[pair for pair in pairs if pair.direction == way] for way in ("a-b", "b-a")]
    turns = [side[turn] for turn in range(max(map(len, ways))) for side in ways if turn < len(side)]
    return turns[:limit]


def _pair(row: Row, number: int) -> Pair:
    values = row.values
    known = {*Pair.__dataclass_fields__}
    for side in ("a", "b"):
        if not (isinstance(values.get(side), str) and values[side].strip()):
            raise DataError(f"{row.where}: {side!r} is missing or no text; a pair looks like {SAMPLE}")
    if unknown := sorted(set(values) - known):
        raise DataError(f"{row.where}: unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}")
    ways: tuple[Direction, Direction] = ("a-b", "b-a")
    direction = values.get("direction") or ways[number % 2]
    if direction not in ways:
        raise DataError(f"{row.where}: direction is {direction!r}; write a-b or b-a, or leave it out")
    lessons = tuple((str(question), str(answer)) for question, answer in values.get("lessons") or ())
    asks = {name: _asks(row, name) for name in ("ask_a", "ask_b") if values.get(name)}
    statement = values.get("statement") or ""
    return Pair(values["a"].strip(), values["b"].strip(), direction, lessons=lessons, statement=statement, **asks)


def _asks(row: Row, name: str) -> tuple[str, ...]:
    found = row.values[name]
    asks = (found,) if isinstance(found, str) else tuple(found)
    side = "{" + name[-1] + "}"
    own = row.values[name[-1]]
    if not all(isinstance(ask, str) and (side in ask or own in ask) for ask in asks):
        raise DataError(f"{row.where}: each question of {name!r} must hold {own!r}, or {side} in its place")
    return tuple(ask if side in ask else ask.replace("{", "{{").replace("}", "}}") for ask in asks)


def _shown(interval: Interval, sign: str = "") -> str:
    low, estimate, high = (100 * x for x in (interval.low, interval.estimate, interval.high))
    return f"{estimate:{sign}.0f} [{low:{sign}.0f}, {high:{sign}.0f}]"
