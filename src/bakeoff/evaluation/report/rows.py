"""Every answer as a row of a table, for a spreadsheet or a data frame."""

from __future__ import annotations

import csv
import io

from bakeoff.evaluation.checks import inert
from bakeoff.evaluation.comparison import Comparison
from bakeoff.evaluation.metrics import _text
from bakeoff.types import Example, Trial

BEFORE = ("example", "kind", "group", "question", "references", "system", "answer", "outcome", "verdict", "error")
AFTER = ("citations", "seconds", "fresh_tokens", "cached_tokens", "output_tokens")


def csv_of(comparison: Comparison) -> str:
    """CSV with a heading: question, answer, verdict, a column for each metric, and what the answer took.

    A score that does not apply is empty, and so are the seconds of an answer that was not timed. References stand in
    one cell, " | " between them.
    """
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    writer.writerow([*BEFORE, *comparison.metrics, *AFTER])
    for trial in comparison.trials:
        writer.writerow(_row(comparison, comparison.examples[trial.example_id], trial))
    return sheet.getvalue()


def _row(comparison: Comparison, example: Example, trial: Trial) -> list[object]:
    answer, scores = trial.answer, comparison.scores.get((trial.system, trial.example_id), {})
    texts = (example.id, example.kind, example.group, example.question, " | ".join(_text.references(example)))
    said = (trial.system, answer.text, answer.outcome, comparison.verdict(trial), trial.error)
    return [
        *map(inert, (*texts, *said)),
        *(scores.get(metric) for metric in comparison.metrics),
        len(answer.citations),
        round(trial.seconds, 4) if trial.alone else None,
        answer.usage.fresh,
        answer.usage.cached,
        answer.usage.output,
    ]
