"""Questions with their right answers: load, split without leaks, check.

One JSON object a line (or a CSV row) with `question` and, as far as known, `references` (a list; or `answer`, one
string), `evidence` ([{document, quote}] or [{document, start, end}]), `group`, `kind`, `label`, `rejected`,
`messages`, `answerable`, `split` and `id`.
"""

from __future__ import annotations

import csv
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

from bakeoff.errors import ConfigError, DataError
from bakeoff.types import Evidence, Example, Message

FIELDS = (
    "id",
    "question",
    "references",
    "answer",
    "evidence",
    "rejected",
    "label",
    "messages",
    "group",
    "kind",
    "answerable",
    "split",
)
PARTS = ("train", "valid", "test")


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
        """Divide by group, so that questions on one document never stand on both sides.

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
        wanted = {"test": test * len(self), "valid": valid * len(self), "train": (1 - test - valid) * len(self)}
        parts: dict[str, list[Example]] = {name: [] for name in wanted}
        for name in order:
            claims = sorted({example.split for example in groups[name]} - {""})
            if len(claims) > 1:
                raise DataError(f"group {name!r} stands in {' and in '.join(claims)}; give all of it one split")
            # The part that lacks the largest share of what it should hold takes the next unclaimed group.
            lacking = max(parts, key=lambda part: 1 - len(parts[part]) / wanted[part] if wanted[part] else -1.0)
            part = claims[0] if claims else lacking
            parts[part] += groups[name]
        return Split(**{name: Examples(sorted(part, key=lambda example: example.id)) for name, part in parts.items()})


@dataclass(frozen=True, slots=True)
class Split:
    """Three parts that share no group."""

    train: Examples
    valid: Examples
    test: Examples
    """Locked: choose nothing by it."""


def load_examples(path: str | Path) -> Examples:
    """Read a JSONL or CSV file of questions.

    Raises `DataError` naming file, line and cure; nothing is skipped silently.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no question file {path}; make one, a JSON object a line: {_SAMPLE}")
    rows = list(_csv_rows(path) if path.suffix.lower() in (".csv", ".tsv") else _jsonl_rows(path))
    if not rows:
        raise DataError(f"{path} holds no questions; add at least one line like {_SAMPLE}")
    examples = [_example(path, line, row) for line, row in rows]
    seen: dict[str, int] = {}
    for (line, _), example in zip(rows, examples, strict=True):
        if example.id in seen:
            raise DataError(
                f"{path}:{line}: the id {example.id!r} stands on line {seen[example.id]} too; make ids unique"
            )
        seen[example.id] = line
    return Examples(examples)


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


_SAMPLE = '{"question": "Who may travel first class?", "references": ["nobody"]}'


def _jsonl_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: not JSON ({error.msg}); write one object a line: {_SAMPLE}") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}:{number}: not a JSON object; write {_SAMPLE}")
        yield number, row


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        for row in reader:
            yield reader.line_num, {key: value for key, value in row.items() if value not in (None, "")}


def _example(path: Path, line: int, row: Mapping[str, Any]) -> Example:
    where = f"{path}:{line}"
    unknown = sorted(set(row) - set(FIELDS), key=str)
    if unknown:
        raise DataError(f"{where}: unknown column {unknown[0]!r}; known are {', '.join(FIELDS)}")
    split = str(row.get("split", ""))
    if split not in ("", *PARTS):
        raise DataError(f"{where}: split {split!r}; write {', '.join(PARTS)}, or leave it out")
    messages = tuple(_message(where, message) for message in _list(where, row, "messages"))
    question = row.get("question") or next((turn.content for turn in messages if turn.role == "user"), "")
    if not isinstance(question, str) or not question.strip():
        raise DataError(f"{where}: no 'question'; write {_SAMPLE}")
    given = row.get("references", row.get("answer", []))
    references = [given] if isinstance(given, str) else given
    if not isinstance(references, list) or not all(isinstance(reference, str) for reference in references):
        raise DataError(f"{where}: 'references' must be a string or a list of strings")
    return Example(
        id=str(row.get("id", f"q{line:05d}")),
        question=question.strip(),
        references=tuple(reference for reference in references if reference.strip()),
        evidence=tuple(_evidence(where, item) for item in _list(where, row, "evidence")),
        rejected=str(row.get("rejected", "")),
        label=str(row.get("label", "")),
        messages=messages,
        group=str(row.get("group", "")),
        kind=str(row.get("kind", "")),
        answerable=str(row.get("answerable", True)).lower() not in ("false", "0", "no"),
        split=split,
    )


def _list(where: str, row: Mapping[str, Any], key: str) -> list[Any]:
    value = row.get(key, [])
    if isinstance(value, str):  # a CSV cell
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise DataError(f"{where}: {key!r} must be a JSON list") from error
    if not isinstance(value, list):
        raise DataError(f"{where}: {key!r} must be a list")
    return value


def _message(where: str, item: Any) -> Message:
    if not isinstance(item, dict) or item.get("role") not in ("system", "user", "assistant") or "content" not in item:
        raise DataError(f"{where}: a message needs a role (system, user or assistant) and content")
    return Message(item["role"], str(item["content"]))


def _evidence(where: str, item: Any) -> Evidence:
    if not isinstance(item, dict) or "document" not in item or not ("quote" in item or {"start", "end"} <= set(item)):
        raise DataError(f'{where}: evidence needs a document and a quote: {{"document": "a.md", "quote": "..."}}')
    start, end = int(item.get("start", -1)), int(item.get("end", -1))
    return Evidence(str(item["document"]), start, end, str(item.get("quote", "")))
