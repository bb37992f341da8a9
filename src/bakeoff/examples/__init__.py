"""Questions with their right answers, and other data to learn from: load, split without leaks.

`files` finds the rows of a file, `formats` recognises what they are and makes examples of them.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, overload

from bakeoff.errors import ConfigError, DataError
from bakeoff.examples.files import read
from bakeoff.examples.formats import SAMPLE, recognise
from bakeoff.files import write_atomically
from bakeoff.types import Evidence, Example


def fields(example: Example) -> dict[str, Any]:
    """As a dictionary. `facts` and `format` are left out where empty: hashes from before there were any still hold."""
    new = ("facts", "format")
    return {name: value for name, value in asdict(example).items() if value or name not in new}


def write(examples: Sequence[Example], path: Path) -> None:
    """Write JSON Lines that `load_examples` reads as the same examples."""
    lines = []
    for example in examples:
        row = {name: value for name, value in asdict(example).items() if value not in ("", ()) or name == "question"}
        if row.pop("answerable") is False:
            row["answerable"] = False
        if example.evidence:
            row["evidence"] = [
                {"document": one.document_id, "start": one.start, "end": one.end, "quote": one.quote}
                for one in example.evidence
            ]
        if example.text:
            del row["question"]
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    write_atomically(path, "".join(lines))


class Examples(Sequence[Example]):
    """An immutable list of examples that can be split."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = tuple(examples)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Examples: ...
    def __getitem__(self, index: int | slice) -> Example | Examples:
        return Examples(self._examples[index]) if isinstance(index, slice) else self._examples[index]

    def __len__(self) -> int:
        return len(self._examples)

    def __iter__(self) -> Iterator[Example]:
        return iter(self._examples)

    def split(self, *, test: float = 0.3, valid: float = 0.1, seed: int = 0) -> Split:
        """Divide by group, so that questions on one document never stand on both sides, and each label by the shares.

        A group goes where one of its examples says it belongs; the shares divide the others. Raises `ConfigError` when
        the shares leave no training part, and `DataError` for a group that is claimed by two parts.
        """
        if not (0 < test < 1 and 0 <= valid < 1 and test + valid < 1):
            raise ConfigError(f"test={test} and valid={valid} must be shares that leave some examples for training")
        groups: dict[str, list[Example]] = defaultdict(list)
        for example in self:
            groups[example.group or example.id].append(example)
        order = sorted(groups)
        random.Random(seed).shuffle(order)
        shares = {"test": test, "valid": valid, "train": 1 - test - valid}
        counts = Counter(example.label for example in self)
        parts: dict[str, list[Example]] = {name: [] for name in shares}
        held: dict[str, Counter[str]] = {name: Counter() for name in shares}
        for name in order:
            claims = sorted({example.split for example in groups[name]} - {""})
            if len(claims) > 1:
                raise DataError(f"group {name!r} stands in {' and in '.join(claims)}; give all of it one split")
            label = Counter(example.label for example in groups[name]).most_common(1)[0][0]
            part = claims[0] if claims else _lacking(label, counts[label], shares, held)
            parts[part] += groups[name]
            held[part].update(example.label for example in groups[name])
        return Split(**{name: Examples(sorted(part, key=lambda example: example.id)) for name, part in parts.items()})


def _lacking(label: str, count: int, shares: Mapping[str, float], held: Mapping[str, Counter[str]]) -> str:
    """The part that takes the next unclaimed group of this label, or of examples without one."""
    wanted = {part: share * count for part, share in shares.items() if share}
    if not label:
        return max(wanted, key=lambda part: 1 - held[part][label] / wanted[part])
    # A rare label is counted in whole examples: its first one is for training, where a share would test on it.
    return max(wanted, key=lambda part: wanted[part] - held[part][label])


@dataclass(frozen=True, slots=True)
class Split:
    """Three parts that share no group."""

    train: Examples
    valid: Examples
    test: Examples
    """Locked: choose nothing by it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read, and as what."""

    examples: Examples
    format: str
    how: str
    """Which column became what."""
    unused: tuple[str, ...] = ()
    """Columns that were left aside."""

    def __str__(self) -> str:
        aside = f"; not used: {', '.join(self.unused)}" if self.unused else ""
        return f"{self.format}, {len(self.examples):,} row{'s' * (len(self.examples) != 1)}: {self.how}{aside}"


def load_examples(path: str | Path) -> Examples:
    """The examples of a file, a folder or a data set, as `read_examples` finds them."""
    return read_examples(path).examples


def read_examples(path: str | Path) -> Reading:
    """Read JSONL, JSON, CSV, TSV or Parquet, a folder of them named by split, or `datasets:owner/name`.

    The first row says which format it is. Raises `DataError` naming file, line and cure, and what other lines are
    wrong too; nothing is skipped silently.
    """
    rows = list(read(str(path)))
    if not rows:
        raise DataError(f"{path} holds no questions; add at least one line like {SAMPLE}")
    format = recognise(rows[0])
    examples, wrong = list[Example](), list[DataError]()
    places: dict[str, str] = {}
    for row in rows:
        try:
            example = format.example(row)
            if example.id in places:
                raise DataError(
                    f"{row.where}: the id {example.id!r} stands on {places[example.id]} too; make ids unique"
                )
            places[example.id] = row.place
            examples.append(example)
        except DataError as error:
            wrong.append(error)
    if wrong:
        others = f" (rows that are wrong, with this one: {len(wrong):,})" if len(wrong) > 1 else ""
        raise DataError(f"{wrong[0]}{others}")
    unused = sorted({column for row in rows for column in row.values if column not in format.columns})
    return Reading(Examples(examples), format.name, format.how, tuple(unused))


def locate(examples: Sequence[Example], find: Callable[[Evidence], Evidence | None]) -> tuple[Examples, list[str]]:
    """Resolve quotes to document ids and offsets with `corpus.locate`.

    Returns the examples, and a line for each piece of evidence that was not found (it is dropped).
    """
    located, problems = [], []
    for example in examples:
        found = []
        for evidence in example.evidence:
            place = find(evidence)
            if place is None:
                problems.append(f"{example.id}: {evidence.quote[:60]!r} is not in {evidence.document_id}")
            else:
                found.append(place)
        located.append(replace(example, evidence=tuple(found)))
    return Examples(located), problems
