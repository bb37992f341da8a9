"""What is measured beside a comparison: how far metrics can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bakeoff import config, plugins
from bakeoff.errors import ConfigError
from bakeoff.evaluation.agreement import FILE, Validation, hand_checked, read_labelled, validate
from bakeoff.files import write_json
from bakeoff.project import Progress, Project


def validate_metrics(
    folder: Path,
    files: Sequence[Path] = (),
    *,
    metrics: Sequence[str] = (),
    run: str = "latest",
    progress: Progress | None = None,
) -> dict[str, Validation]:
    """How well metrics agree with the labels of each of `files`, or with the hand checks of `run` where none is named.

    Without `metrics` all known ones are tried, and those that can score nothing are left out. What the hand checks say
    is kept in the run's folder. Files need no project.
    """
    project = Project(folder) if not files or (folder / config.FILE).is_file() else None
    wanted = [project.metric(name) if project else name for name in metrics or _ready(project)]
    if project is None or files:
        found = {}
        for path in files:
            rows, unused = read_labelled(path)
            found[str(path)] = validate(rows, wanted, unused, progress)
        return found
    comparison = project.rescore(run)
    rows = hand_checked(comparison)
    if not rows:
        raise ConfigError(
            f"the run {run!r} holds no hand checks; `bakeoff report --run {run} --checks 50` writes a sheet to fill "
            "in, or name a file of labelled answers"
        )
    validation = validate(rows, wanted, (), progress)
    write_json(project.folder / "runs" / run / FILE, asdict(validation))
    return {f"hand checks of {run}": validation}


def _ready(project: Project | None) -> list[str]:
    """All metrics but those that need options and have none."""
    configured = project.config.metrics if project else {}
    return [
        name
        for name in plugins.names("metrics")
        if name in configured or not hasattr(plugins.module("metrics", name), "make")
    ]
