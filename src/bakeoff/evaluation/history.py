"""What the comparisons of a project found over time: a line each in `runs/history.jsonl`, which later ones leave."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from bakeoff.evaluation import records
from bakeoff.evaluation.comparison import Comparison
from bakeoff.evaluation.recommend import Recommendation
from bakeoff.evaluation.stats import Interval

FILE = "history.jsonl"


@dataclass(frozen=True, slots=True)
class Entry:
    """One comparison."""

    when: str
    """When its last answer came, in UTC, as in `2026-11-21 16:02`."""
    run: str
    questions: int
    examples: str
    """Hash of what was asked: only runs with the same can be joined by a line."""
    primary: str
    verdict: str
    best: tuple[str, ...]
    systems: Mapping[str, Interval]
    """System -> score by the metric that decides, best first."""
    corpora: Mapping[str, str]
    """System -> hash of the documents that it reads."""
    settings: Mapping[str, str]
    """System -> hash of everything else that its answers depend on."""
    version: str

    def like(self, other: Entry) -> bool:
        """Whether both asked the same and scored it by the same metric."""
        return (self.examples, self.primary) == (other.examples, other.primary)


def note(comparison: Comparison, recommendation: Recommendation, folder: Path) -> None:
    """Add the run in `folder` to the history beside it; one that stands there already is not added again."""
    new, path = entry(comparison, recommendation, folder), folder.parent / FILE
    if new not in read(folder.parent):
        with path.open("a", encoding="utf-8") as file:
            file.write(records.line(asdict(new)))


def entry(comparison: Comparison, recommendation: Recommendation, folder: Path) -> Entry:
    """What is kept of one run."""
    rows, run = comparison.table(), comparison.run
    settings = {name: dict(run.get("settings", {}).get(name, {})) for name in comparison.systems}
    corpora = {name: str(one.pop("corpus")) for name, one in settings.items() if "corpus" in one}
    answered = datetime.fromtimestamp((folder / "trials.jsonl").stat().st_mtime, UTC)
    return Entry(
        when=f"{answered:%Y-%m-%d %H:%M}",
        run=folder.name,
        questions=len(comparison.examples),
        examples=str(run.get("examples", "")),
        primary=comparison.primary,
        verdict=headline(recommendation),
        best=tuple(row.system for row in rows if row.in_best_set),
        systems={row.system: score for row in rows if (score := row.metrics[comparison.primary])},
        corpora=corpora,
        settings={name: _hash(one) for name, one in settings.items()},
        version=str(run.get("bakeoff", "")),
    )


def headline(recommendation: Recommendation) -> str:
    """The verdict in a few words, as in `Ship rag.`"""
    names = " and ".join(recommendation.between)
    return {
        "CLEAR": f"Ship {recommendation.system}.",
        "LEAN": f"Lean towards {recommendation.system}.",
        "UNDECIDED": f"Undecided between {names}." if names else "Undecided.",
    }[recommendation.confidence]


def read(runs: Path) -> list[Entry]:
    """All comparisons, oldest first; raises `DataError` for a damaged line.

    Of several reports of the same answers, as with another delta, the last counts.
    """
    found = [
        Entry(
            **{
                **row,
                "best": tuple(row["best"]),
                "systems": {name: Interval(**one) for name, one in row["systems"].items()},
            }
        )
        for row in records.read(runs / FILE)
    ]
    answers = {(one.run, one.when, one.examples, *sorted(one.settings.items())): one for one in found}
    return sorted(answers.values(), key=lambda one: one.when)


def changes(entries: list[Entry]) -> list[str]:
    """What differs from the comparison before, for each; empty for the first and where nothing does."""
    return [""] * bool(entries) + ["; ".join(_changed(before, now)) for before, now in pairwise(entries)]


def _changed(before: Entry, now: Entry) -> list[str]:
    found = []
    if now.examples != before.examples:
        found.append("other questions")
    if now.primary != before.primary:
        found.append(f"decided by {now.primary}, not {before.primary}")
    if now.version != before.version:
        found.append(f"bakeoff {now.version}")
    both = [name for name in now.systems if name in before.systems]
    for what, a, b in (("documents", before.corpora, now.corpora), ("settings", before.settings, now.settings)):
        if differing := [name for name in both if a.get(name) != b.get(name)]:
            found.append(f"other {what}: {', '.join(differing)}")
    new = [name for name in now.systems if name not in before.systems]
    gone = [name for name in before.systems if name not in now.systems]
    return found + [f"new: {', '.join(new)}"] * bool(new) + [f"without {', '.join(gone)}"] * bool(gone)


def _hash(settings: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]
