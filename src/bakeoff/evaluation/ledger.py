"""What building took, noted as it happens: `ledger.jsonl` in the project's folder, a line for each thing built."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
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


def training_seconds(trained: Mapping[str, Sequence[Path]], effort: Effort) -> dict[str, float]:
    """System -> seconds of all trainings of its checkpoints.

    A checkpoint that came from elsewhere was not noted here: its own word counts.
    """
    return {
        system: round(sum(max(effort.training.get(path.name, 0.0), seconds_of(path)) for path in paths), 1)
        for system, paths in trained.items()
    }


def retraining_seconds(trained: Mapping[str, Sequence[Path]]) -> dict[str, float]:
    """System -> seconds to train its checkpoints once more, by the last time."""
    return {system: round(sum(map(seconds_of, paths)), 1) for system, paths in trained.items()}


def seconds_of(checkpoint: Path) -> float:
    """What its last training took."""
    return float(json.loads((checkpoint / "checkpoint.json").read_text())["seconds"])


def studies(trained: Mapping[str, Sequence[Path]]) -> dict[str, dict[str, Any]]:
    """System -> how its checkpoint learnt, what it forgot and memorised, of those that were studied."""
    wanted = ("learning", "text_loss_change", "knowledge_change", "canaries")
    found = {system: paths[0] / "study.json" for system, paths in trained.items()}
    held = {system: json.loads(path.read_text()) for system, path in found.items() if path.is_file()}
    return {system: {key: study[key] for key in wanted if key in study} for system, study in held.items()}
