"""What building took, noted as it happens: `ledger.jsonl` in the project's folder, a line for each thing built."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bakeoff.evaluation import records

FILE = "ledger.jsonl"


@dataclass(frozen=True, slots=True)
class Effort:
    """Measured seconds on this machine."""

    indexing: float = 0.0
    documents: int = 0
    """Read while indexing, one that was read again included."""
    drafting: float = 0.0
    training: dict[str, float] = field(default_factory=dict)
    """Checkpoint -> seconds of all its trainings, those that were thrown away included."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def note(project: Path, what: str, seconds: float, *, name: str = "", documents: int = 0) -> None:
    """Add a line; `what` is index, draft or tune, `name` the checkpoint."""
    line = records.line({"what": what, "name": name, "seconds": round(seconds, 3), "documents": documents})
    with (project / FILE).open("a", encoding="utf-8") as file:
        file.write(line)


def read(project: Path) -> Effort:
    """All that was noted; raises `DataError` for a damaged line."""
    seconds: dict[str, float] = defaultdict(float)
    training: dict[str, float] = defaultdict(float)
    documents = 0
    for row in records.read(project / FILE):
        seconds[row["what"]] += row["seconds"]
        documents += row["documents"]
        if row["what"] == "tune":
            training[row["name"]] += row["seconds"]
    return Effort(seconds["index"], documents, seconds["draft"], dict(training))
