"""Hand checks: a sheet to fill in, which then corrects what the metric says of all answers."""

from __future__ import annotations

import csv
import hashlib
import io
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bakeoff.errors import ConfigError, DataError
from bakeoff.evaluation.metrics import _text
from bakeoff.files import write_atomically
from bakeoff.types import Example, Trial

if TYPE_CHECKING:
    from bakeoff.evaluation.comparison import Comparison

FILE = "checks.csv"
COLUMNS = ("example", "answer id", "question", "references", "answer", "right")
"""The page's own file, and sheets of before, have `system` for `answer id`."""
VERDICTS = {"1": 1.0, "yes": 1.0, "y": 1.0, "true": 1.0, "0": 0.0, "no": 0.0, "n": 0.0, "false": 0.0}
RIGHT = 0.5
"""As in `comparison`, which imports this."""
LEAST = 3
"""Checks of a system below which nothing is estimated."""


def write_sheet(comparison: Comparison, folder: Path, count: int) -> Path:
    """Write `checks.csv`: what all systems answered to `count` questions drawn at random, with a column to fill in.

    Raises `ConfigError` rather than write over checks that were made.
    """
    path = folder / FILE
    if path.is_file() and _rows(path):
        raise ConfigError(f"{path} holds checks already; fill in the rest, or delete it to draw other questions")
    dice = random.Random(comparison.seed)
    chosen = {id: place for place, id in enumerate(drawn(comparison)[:count])}
    trials = [trial for trial in comparison.trials if trial.example_id in chosen]
    # So that nobody sees from its place whose answer it is; its id does not say it either.
    trials.sort(key=lambda trial: (chosen[trial.example_id], dice.random()))
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    writer.writerow(COLUMNS)
    for trial in trials:
        example = comparison.examples[trial.example_id]
        cells = (example.id, _answer_id(trial), example.question, _right(example), trial.answer.text)
        writer.writerow([*map(inert, cells), ""])
    write_atomically(path, sheet.getvalue().encode(errors="replace"))
    return path


def drawn(comparison: Comparison) -> list[str]:
    """The questions that can be checked, in random order: any beginning of it is a random sample.

    All are as likely. Drawn twice as often where systems disagree, and weighted back, intervals of EVOUNA's 24,790
    answers would be 2% wider to 6% narrower, three times as often up to 8% wider: metrics err where systems agree, too.
    """
    ids = comparison.scored(comparison.running, comparison.primary)
    return random.Random(comparison.seed).sample(ids, len(ids))


def read(folder: Path, trials: Sequence[Trial]) -> dict[tuple[str, str], float]:
    """(system, example id) -> 1 right, 0 wrong, of the rows that were filled in; raises `DataError`.

    A row for an answer that `trials` no longer give is left out: it was another answer that was checked.
    """
    path = folder / FILE
    rows = _rows(path) if path.is_file() else {}
    return {
        (trial.system, trial.example_id): row.right
        for trial in trials
        if (row := rows.get(_answer_id(trial))) and row.checked(trial)
    }


def take(path: Path, comparison: Comparison, folder: Path) -> int:
    """Put the checks in `path`, as the page saves them, into the run's folder; says how many there are.

    Raises `DataError` where it holds none, or checks of another run.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}; the report's page saves one under Questions, Check by hand")
    answers = {_answer_id(trial): trial for trial in comparison.trials}
    rows = _rows(path)
    if not rows:
        raise DataError(f"{path} holds no checks: the column 'right' is empty; mark some answers first")
    for id, row in rows.items():
        if id not in answers or not row.checked(answers[id]):
            raise DataError(f"{path}: nobody answered that to {row.example!r} in {folder}; name its run with --run")
    if path.resolve() != (folder / FILE).resolve():
        _write(folder / FILE, comparison, {**_rows(folder / FILE), **rows} if (folder / FILE).is_file() else rows)
    return len(rows)


@dataclass(frozen=True, slots=True)
class _Row:
    """A row that was filled in."""

    example: str
    right: float
    answer: str | None
    """None where the sheet no longer has it."""

    def checked(self, trial: Trial) -> bool:
        """Whether it was the answer of `trial` that was checked."""
        return self.answer is None or _written(self.answer) == _written(trial.answer.text)


def _write(path: Path, comparison: Comparison, rows: Mapping[str, _Row]) -> None:
    """The sheet of several people's checks; of two on one answer the later stays."""
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    writer.writerow(COLUMNS)
    answers = {_answer_id(trial): trial.answer.text for trial in comparison.trials}
    for id, row in rows.items():
        example = comparison.examples.get(row.example)
        shown = (example.question, _right(example)) if example else ("", "")
        said = answers.get(id, "") if row.answer is None else row.answer
        writer.writerow([*map(inert, (row.example, id, *shown, said)), "yes" if row.right else "no"])
    write_atomically(path, sheet.getvalue().encode(errors="replace"))


def _right(example: Example) -> str:
    return " | ".join(_text.references(example)) if example.answerable else "(to decline)"


def _answer_id(trial: Trial) -> str:
    return _id_of(trial.system, trial.example_id)


def _id_of(system: str, example: str) -> str:
    """Begins with a letter, or a spreadsheet could take it for a number."""
    names = f"{system}\n{example}".encode(errors="replace")
    return f"a{hashlib.sha256(names).hexdigest()[:12]}"


def _rows(path: Path) -> dict[str, _Row]:
    """Answer id -> the row, of those that were filled in."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not in UTF-8; save it again from the spreadsheet as CSV UTF-8") from error
    found = {}
    heading = text.partition("\n")[0]
    # Spreadsheets of half of Europe write a semicolon.
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=heading.count))
    fields = set(rows.fieldnames or ())
    if missing := {"example", "right", *(() if "system" in fields else ("answer id",))} - fields:
        raise DataError(f"{path} lacks the column {min(missing)!r}; its first line was {','.join(COLUMNS)}")
    for row in rows:
        said = (row["right"] or "").strip().lower()
        if said and said not in VERDICTS:
            raise DataError(f"{path}:{rows.line_num}: right is {said!r}; write yes or no, or leave it empty")
        if said:
            answer, example = row.get("answer"), _plain(row["example"])
            id = row["answer id"].strip() if "answer id" in fields else _id_of(_plain(row["system"]), example)
            found[id] = _Row(example, VERDICTS[said], None if answer is None else _plain(answer))
    return found


def _written(text: str) -> str:
    """`text` as any editor may leave it: white space is one blank, half an emoji a question mark."""
    return " ".join(text.encode(errors="replace").decode().split())


def agreement(comparison: Comparison, checks: Mapping[tuple[str, str], float]) -> tuple[int, int]:
    """On how many checks the deciding metric says the same, and how many there are."""
    scores = {key: comparison.scores.get(key, {}).get(comparison.primary) for key in checks}
    known = {key: score >= RIGHT for key, score in scores.items() if score is not None}
    return sum(known[key] == bool(checks[key]) for key in known), len(known)


def inert(text: str) -> str:
    """What a spreadsheet would run as a formula becomes text."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _plain(text: str) -> str:
    return text[1:] if text[:1] == "'" and text[1:2] in ("=", "+", "-", "@", "\t", "\r") else text
