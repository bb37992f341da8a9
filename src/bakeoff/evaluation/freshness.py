"""How soon answers follow the documents: facts are edited, deleted and added in a copy, and the questions asked again.

A fact is the number or the name that a question's evidence states; in the copy it becomes another one, by rule, and so
does the right answer. The user's own files and index are read once, to be copied, and never written.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from bakeoff.corpus import Corpus
from bakeoff.corpus.addresses import Source
from bakeoff.errors import DataError, UnreachableError
from bakeoff.evaluation.metrics import _text, recall
from bakeoff.evaluation.stats import Interval, percentile, score_interval
from bakeoff.files import write_json
from bakeoff.types import Answer, Example, System

Progress = Callable[[int, int, str], None]
Change = Literal["edit", "delete", "add"]
Said = Literal["new", "old", "neither"]

RIGHT = 0.5
"""As in `comparison`: from here on an answer says a value."""
NAMES = (
    *("Ambry", "Brellick", "Corvane", "Dovell", "Farrick", "Garrow", "Hesper", "Istrid", "Jaskin", "Lunmore"),
    *("Marrow", "Nimue", "Orrel", "Pellow", "Quandry", "Sable", "Tamsin", "Tolliver", "Vesk", "Wendle"),
)
"""Stand in for names; one that a document or a question already has is not taken."""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_NAME = re.compile(r"[^\W\d_a-z][^\W\d_]+(?: [^\W\d_a-z][^\W\d_]+)*")


@dataclass(frozen=True, slots=True)
class Fact:
    """A value in a document that a question asks for, and two others that take its place."""

    example_id: str
    question: str
    document_id: str
    path: str
    """Of the file, in the copy."""
    start: int
    """Characters of the file that state the value."""
    end: int
    values: tuple[str, str, str]
    """As it is, as it is edited to, and as a new document states it."""
    references: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    """The right answers at each of these values."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One question, asked after a change was indexed."""

    example_id: str
    document_id: str
    change: Change
    said: Said
    """`new` is what the documents say now; after a deletion they say nothing, so `old` is any value they ever had."""
    answer: str
    indexing: float
    """Seconds from the change to the end of the sync."""
    answering: float


@dataclass(frozen=True, slots=True)
class Freshness:
    """How one system follows its documents."""

    system: str
    way: Literal["index", "retrain", "never"]
    """What it takes until its answers can follow."""
    retraining: float = 0.0
    """Seconds of its last training, and of those that it started from, where that is what it takes."""
    turns: tuple[Turn, ...] = ()
    right_before: Interval | None = None
    """Share of the facts that it knew while nothing was changed; None where it was not asked, as of old."""

    def follows(self, change: Change) -> Interval | None:
        """Share of the answers that say what the documents say now."""
        return self._share(change, "new")

    def stale(self, change: Change) -> Interval | None:
        """Share of the answers that still say what the documents said before."""
        return self._share(change, "old")

    def indexing(self) -> float:
        """Seconds from a change to the end of the sync, the median; 0 where nothing was asked."""
        return percentile([turn.indexing for turn in self.turns], 0.5).estimate if self.turns else 0.0

    def seconds(self) -> Interval | None:
        """From a change to the answer that knows it: indexing and answering, the median; None where none knows it.

        What reads no documents may guess a new value, and follows by that no sooner than it is trained again.
        """
        found = [turn.indexing + turn.answering for turn in self.turns if self.way == "index" and turn.said == "new"]
        return percentile(found, 0.5) if found else None

    def _share(self, change: Change, said: Said) -> Interval | None:
        turns = [turn for turn in self.turns if turn.change == change]
        if not turns:
            return None
        return score_interval([float(turn.said == said) for turn in turns], [turn.document_id for turn in turns])

    def __str__(self) -> str:
        followed = self._followed()
        if not self.right_before:
            return f"{self.system}: {followed}"
        n = len({turn.example_id for turn in self.turns})
        edit, delete, add = (
            {"new": _share(self.follows(change)), "stale": _share(self.stale(change))}
            for change in ("edit", "delete", "add")
        )
        return "\n".join(
            [
                f"{self.system}: {n} facts, of which it knew {_share(self.right_before)} before any change; {followed}",
                f"  after an edit      says the new value {edit['new']}, stale {edit['stale']}",
                f"  after a deletion   stale {delete['stale']}",
                f"  after an addition  says the new value {add['new']}, stale {add['stale']}",
            ]
        )

    def _followed(self) -> str:
        if self.way == "never":
            return "reads no documents, so its answers never follow them"
        if self.way == "retrain":
            beside = f" where indexing takes {_time(self.indexing())}" if self.turns else ""
            return (
                "reads no documents; its answers can follow only by retraining, which took "
                f"{_time(self.retraining)} the last time{beside}, and are stale until then"
            )
        took, indexing = self.seconds(), f"indexing takes {_time(self.indexing())}"
        if took is None:
            return f"no answer says a new value; {indexing}"
        return (
            f"from a change to an answer that says the new value {_time(took.estimate)} "
            f"[{_time(took.low)}, {_time(took.high)}]; {indexing}"
        )

    def to_json(self) -> dict[str, Any]:
        """With the rates that `turns` give."""
        rates = {
            change: {"follows": self.follows(change), "stale": self.stale(change)}
            for change in ("edit", "delete", "add")
        }
        shown = {
            change: {what: asdict(rate) if rate else None for what, rate in both.items()}
            for change, both in rates.items()
        }
        seconds = self.seconds()
        return {**asdict(self), "rates": shown, "seconds": asdict(seconds) if seconds else None}


# ---------------------------------------------------------------- facts


def plant(
    examples: Sequence[Example], corpus: Corpus, files: Mapping[str, Path], count: int, seed: int = 0
) -> list[Fact]:
    """At most `count` facts out of the evidence of `examples`, spread over documents; `files`: document id -> file.

    A value must stand once in its document, and in words in the file. Raises `DataError` where there is none.
    """
    dice = random.Random(seed)
    shuffled = sorted(examples, key=lambda example: example.id)
    dice.shuffle(shuffled)
    found: dict[str, list[Fact]] = {}
    for example in shuffled:
        if fact := _fact(example, corpus, files, dice):
            found.setdefault(fact.document_id, []).append(fact)
    # Documents in turn, so that the facts are as independent as they can be.
    rounds = max(map(len, found.values()), default=0)
    facts = [facts[turn] for turn in range(rounds) for facts in found.values() if turn < len(facts)][:count]
    if not facts:
        raise DataError(
            "no question has evidence in a text file that states its answer as a number or a name; add evidence like "
            '{"document": "travel.md", "quote": "Tickets are booked 11 days before."} to some questions'
        )
    return facts


def _fact(example: Example, corpus: Corpus, files: Mapping[str, Path], dice: random.Random) -> Fact | None:
    if not (example.answerable and example.references):
        return None
    for evidence in example.evidence:
        document, path = corpus.store.document(evidence.document_id), files.get(evidence.document_id)
        text = _read(path) if path else None
        quote = re.search(r"\s+".join(map(re.escape, evidence.quote.split())), text) if text else None
        if document is None or path is None or quote is None:
            continue
        value = _value(example.references[0], quote.group())
        if not value or _count(value, document.text) != 1 or _count(value, quote.group()) != 1:
            continue
        taken = f"{document.text} {example.question} {' '.join(example.references)}"
        values = (value, *_others(value, taken, dice))
        start = quote.start() + re.search(_whole(value), quote.group()).start()  # type: ignore[union-attr]
        aliases = [reference for reference in example.references if _count(value, reference)]
        references = tuple(tuple(re.sub(_whole(value), one, alias) for alias in aliases) for one in values)
        return Fact(
            example.id,
            example.question,
            evidence.document_id,
            str(path),
            start,
            start + len(value),
            values,
            references,  # type: ignore[arg-type]
        )
    return None


def _value(reference: str, quote: str) -> str:
    """The number of `reference` that stands in `quote`, else the whole of it if that is a name."""
    for number in _NUMBER.findall(reference):
        if _count(number, quote):
            return str(number)
    return reference if _NAME.fullmatch(reference) and _count(reference, quote) else ""


def _others(value: str, taken: str, dice: random.Random) -> tuple[str, str]:
    """Two values of the same kind that `taken` does not hold."""
    found: list[str] = []
    tries = 0
    while len(found) < 2:
        tries += 1
        # Where all values of this length are taken, longer ones are not.
        longer = tries // 50
        named = " ".join(dice.choices(NAMES, k=len(value.split()) + longer))
        other = _number(value, dice, longer) if value[0].isdecimal() else named
        if other not in (value, *found) and not _count(other, taken):
            found.append(other)
    return found[0], found[1]


def _number(value: str, dice: random.Random, longer: int) -> str:
    """The first digit of several stays, so that a year or a price still looks like one."""
    kept = value[0] if len(value) > 1 else ""
    rest = [str(dice.randrange(1, 10)) if c.isdigit() else c for c in value[len(kept) :]]
    return "1" * longer + kept + "".join(rest)


def _whole(value: str) -> str:
    return rf"(?<![\w.,-]){re.escape(value)}(?![\w-]|[.,]\d)"


def _count(value: str, text: str) -> int:
    return len(re.findall(_whole(value), text))


def _read(path: Path) -> str | None:
    """The text of a file as it stands, or None where it is not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return None


# ---------------------------------------------------------------- the copy


class Copy:
    """A copy of an index and of the files behind it, to be changed and indexed again."""

    def __init__(self, corpus: Corpus, sources: Sequence[Source], access: Mapping[str, Sequence[str]]) -> None:
        self.corpus = corpus
        self._sources = sources
        self._access = access

    @property
    def files(self) -> dict[str, Path]:
        """Document id -> its file."""
        found = {}
        for source in self._sources:
            root = Path(source.address)
            if not root.is_dir():
                found[source.name] = root
            for id, _, _ in self.corpus.store.stamps(source.name) if root.is_dir() else ():
                path = root / id.removeprefix(f"{source.name}/")
                if path.is_file() and path.resolve().is_relative_to(root.resolve()):  # a link may lead to the original
                    found[id] = path
        return found

    def sync(self, progress: Progress | None = None) -> float:
        """Index what changed; returns the seconds it took."""
        start = time.perf_counter()
        self.corpus.sync(*self._sources, access=self._access, progress=progress)
        return time.perf_counter() - start


@contextmanager
def copied(
    index: Path, build: Callable[[Path], Corpus], sources: Sequence[Source], access: Mapping[str, Sequence[str]]
) -> Iterator[Copy]:
    """Copy the index in the folder `index` and the files of `sources` for a while; `build` opens an index.

    Sources that are no files stay in the copy as they were indexed.
    """
    with tempfile.TemporaryDirectory(prefix="bakeoff-freshness-") as temporary:
        folder = Path(temporary)
        twins = []
        for number, source in enumerate(source for source in sources if source.kind == "files"):
            origin, target = Path(source.address), folder / str(number) / Path(source.address).name
            target.parent.mkdir()
            if origin.is_dir():
                shutil.copytree(origin, target, symlinks=True)
            else:
                shutil.copy2(origin, target)
            twins.append(replace(source, address=str(target)))
        _copy_index(index, folder / "index")
        corpus = build(folder / "index")
        try:
            for source in twins:
                corpus.store.set(f"source:{source.name}", "")  # bound to the copy from now on
            yield Copy(corpus, twins, access)
        finally:
            corpus.store.close()


def _copy_index(index: Path, target: Path) -> None:
    """SQLite copies its file itself, so that what another process writes meanwhile cannot tear it."""
    shutil.copytree(index, target, ignore=shutil.ignore_patterns("*.db", "*.db-*"))
    for path in index.glob("*.db"):
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(target / path.name)) as copy:
            source.backup(copy)


# ---------------------------------------------------------------- measuring


def measure(
    systems: Sequence[System], facts: Sequence[Fact], copy: Copy, progress: Progress | None = None
) -> list[Freshness]:
    """Edit, delete and add every fact in turn, and ask `systems`, which read `copy` or no documents, after each."""
    copy.sync()  # what the first sync alone takes is no change's cost
    turns: dict[str, list[Turn]] = {system.name: [] for system in systems}
    knew: dict[str, list[float]] = {system.name: [] for system in systems}
    for number, fact in enumerate(facts):
        if progress:
            progress(number, len(facts), f"freshness: {fact.document_id}")
        for system in systems:
            knew[system.name].append(float(_says(fact, 0, _answer(system, fact.question))))
        for change, indexing in _changes(fact, copy):
            for system in systems:
                start = time.perf_counter()
                answer = _answer(system, fact.question)
                answering = time.perf_counter() - start
                said = _said(fact, change, answer)
                turns[system.name].append(
                    Turn(fact.example_id, fact.document_id, change, said, answer.text, indexing, answering)
                )
    documents = [fact.document_id for fact in facts]
    return [
        Freshness(system.name, "index", 0.0, tuple(turns[system.name]), score_interval(knew[system.name], documents))
        for system in systems
    ]


def _answer(system: System, question: str) -> Answer:
    try:
        return system.answer(question)
    except UnreachableError:
        raise
    except Exception as problem:  # as in a comparison: it has not answered, and the others go on
        return Answer(f"{type(problem).__name__}: {problem}", "error")


def _changes(fact: Fact, copy: Copy) -> Iterator[tuple[Change, float]]:
    """Make each change, index it, and at the end leave everything as it was."""
    path = Path(fact.path)
    text = path.read_bytes().decode("utf-8")

    def stating(value: str) -> bytes:
        return (text[: fact.start] + value + text[fact.end :]).encode()

    path.write_bytes(stating(fact.values[1]))
    yield "edit", copy.sync()
    path.unlink()
    yield "delete", copy.sync()
    # In the place of what was deleted: beside it could stand another of that name, or lie outside the source.
    path.write_bytes(stating(fact.values[2]))
    yield "add", copy.sync()
    path.write_bytes(text.encode())
    copy.sync()


def _said(fact: Fact, change: Change, answer: Answer) -> Said:
    now = {"edit": 1, "delete": None, "add": 2}[change]
    said = [place for place in range(len(fact.values)) if _says(fact, place, answer)]
    if now in said:
        return "new"
    return "old" if said else "neither"


def _says(fact: Fact, place: int, answer: Answer) -> bool:
    """Whether it gives the right answer at this value, the value itself included: most of a long one is the same."""
    said = _text.spoken(answer.text)
    return (
        answer.outcome not in ("abstained", "error")
        and recall.recall(said, fact.values[place]) >= RIGHT
        and any(recall.recall(said, one) >= RIGHT for one in fact.references[place])
    )


# ---------------------------------------------------------------- kept with a run


def save(found: Freshness, out: Path, settings: Mapping[str, Any]) -> None:
    """Beside the answers of the run `out`; `settings`: what the system's answers depend on."""
    write_json(out / "freshness" / f"{found.system}.json", {"settings": settings, **found.to_json()})


def load_all(out: Path, settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Freshness]:
    """System -> how it follows, of those that were measured as they answered in the run `out`."""
    found = {}
    for path in sorted((out / "freshness").glob("*.json")):
        held = json.loads(path.read_text(encoding="utf-8"))
        if held["settings"] == settings.get(held["system"]):
            before = held["right_before"]
            found[held["system"]] = Freshness(
                held["system"],
                held["way"],
                held["retraining"],
                tuple(Turn(**turn) for turn in held["turns"]),
                Interval(**before) if before else None,
            )
    return found


def _share(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return f"{interval.estimate:.0%} [{interval.low:.0%}, {interval.high:.0%}]"


def _time(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 100 else f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
