"""Hand checks: a sheet to fill in, which then corrects what the metric says of all answers."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bakeoff.errors import ConfigError, DataError
from bakeoff.evaluation.metrics import _text
from bakeoff.files import write_atomically
from bakeoff.types import Trial

if TYPE_CHECKING:
    from bakeoff.evaluation.comparison import Comparison

FILE = "checks.csv"
COLUMNS = ("example", "system", "question", "references", "answer", "right")
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
    if read(folder):
        raise ConfigError(f"{path} holds checks already; fill in the rest, or delete it to draw other questions")
    dice = random.Random(comparison.seed)
    chosen = {id: place for place, id in enumerate(drawn(comparison)[:count])}
    trials = [trial for trial in comparison.trials if trial.example_id in chosen]
    # So that nobody sees from its place whose answer it is.
    trials.sort(key=lambda trial: (chosen[trial.example_id], dice.random()))
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    writer.writerow(COLUMNS)
    for trial in trials:
        example = comparison.examples[trial.example_id]
        right = " | ".join(_text.references(example)) if example.answerable else "(to decline)"
        cells = (example.id, trial.system, example.question, right, trial.answer.text)
        writer.writerow([*map(inert, cells), ""])
    write_atomically(path, sheet.getvalue().encode(errors="replace"))
    return path


def drawn(comparison: Comparison) -> list[str]:
    """The questions that can be checked, in random order: any beginning of it is a random sample."""
    ids = comparison.scored(comparison.running, comparison.primary)
    return random.Random(comparison.seed).sample(ids, len(ids))


def read(folder: Path, trials: Sequence[Trial] = ()) -> dict[tuple[str, str], float]:
    """(system, example id) -> 1 right, 0 wrong, of the rows that were filled in; raises `DataError`.

    A row for an answer that `trials` no longer give is left out: it was another answer that was checked.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    now = {(trial.system, trial.example_id): _written(trial.answer.text) for trial in trials}
    return {
        key: right for key, (right, text) in _rows(path).items() if text is None or now.get(key, text) == _written(text)
    }


def take(path: Path, comparison: Comparison, folder: Path) -> int:
    """Put the checks in `path`, as the page saves them, into the run's folder; says how many there are.

    Raises `DataError` where it holds none, or checks of another run.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}; the report's page saves one under Questions, Check by hand")
    answers = {(trial.system, trial.example_id): _written(trial.answer.text) for trial in comparison.trials}
    rows = _rows(path)
    if not rows:
        raise DataError(f"{path} holds no checks: the column 'right' is empty; mark some answers first")
    for (system, id), (_, text) in rows.items():
        if (system, id) not in answers or (text is not None and answers[system, id] != _written(text)):
            raise DataError(f"{path}: {system!r} did not answer that to {id!r} in {folder}; name its run with --run")
    if path.resolve() != (folder / FILE).resolve():
        write_atomically(folder / FILE, path.read_bytes())
    return len(rows)


def _rows(path: Path) -> dict[tuple[str, str], tuple[float, str | None]]:
    """(system, example id) -> right or not, and the answer's text where the sheet still has it."""
    found = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if missing := {"example", "system", "right"} - set(rows.fieldnames or ()):
            raise DataError(f"{path} lacks the column {min(missing)!r}; delete it and run `bakeoff report --checks 50`")
        for row in rows:
            said = (row["right"] or "").strip().lower()
            if said and said not in VERDICTS:
                raise DataError(f"{path}:{rows.line_num}: right is {said!r}; write yes or no, or leave it empty")
            if said:
                text = row.get("answer")
                found[_plain(row["system"]), _plain(row["example"])] = (
                    VERDICTS[said],
                    None if text is None else _plain(text),
                )
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
