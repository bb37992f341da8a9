"""What is measured beside a comparison: how far metrics can be trusted, and how soon answers follow the documents."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bakeoff import config, plugins
from bakeoff.errors import ConfigError
from bakeoff.evaluation import ledger
from bakeoff.evaluation.agreement import FILE, Validation, hand_checked, read_labelled, validate
from bakeoff.evaluation.freshness import Freshness
from bakeoff.evaluation.reversal import Reversal
from bakeoff.files import write_json
from bakeoff.project import Project
from bakeoff.trained import Progress


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
    write_json(project.run_folder(run) / FILE, asdict(validation))
    return {f"hand checks of {run}": validation}


def freshness(
    folder: Path,
    names: Sequence[str] = (),
    *,
    facts: int = 10,
    run: str = "latest",
    progress: Progress | None = None,
) -> list[Freshness]:
    """How soon the answers of the named systems (by default all) follow changes of the documents.

    Everything happens in a copy of the files and the index. Those that read no documents are asked too: what they
    learnt is then stale. Kept for the report of `run`.
    """
    from bakeoff.evaluation.freshness import copied, measure, plant, save

    project = Project(folder)
    names = list(names) or list(project.config.systems)
    kinds = {name: project._options("systems", name) for name in names}  # raises for a name that is not there
    readers = [name for name, options in kinds.items() if options["type"] in ("rag", "react")]
    others = {name: _without_documents(project, name) for name in names if name not in readers}
    project._require_index()
    project.split  # noqa: B018  the evidence is located in the index as it is, before the copy is changed
    sources, options = project._sources(()), project.config.corpus
    with copied(project.folder / "index", project.index, sources, options.access) as twin_files:
        twin = copy.copy(project)
        twin.__dict__["corpus"] = twin_files.corpus
        twin_files.sync(progress)
        planted = plant(project.split.test, twin_files.corpus, twin_files.files, facts, project.config.seed)
        measured = measure([twin.system(name) for name in names], planted, twin_files, progress)
    found = [replace(one, **others.get(one.system, {})) for one in measured]
    for one in found:
        save(one, project.run_folder(run), project._settings(one.system))
    return found


def reversal(
    folder: Path,
    pairs: Path,
    *,
    count: int = 20,
    base: str = "",
    run: str = "reversal",
    epochs: int = 0,
    progress: Progress | None = None,
) -> Reversal:
    """How much of what is learnt in one direction is known in the other, on `count` of the `pairs`; resumes.

    `base` and the embedder are the project's, where there is one.
    """
    from bakeoff.evaluation import folder as folders
    from bakeoff.evaluation import reversal as reversing

    settings = config.read(folder) if (folder / config.FILE).is_file() else config.Config()
    return reversing.reversal(
        reversing.read_pairs(pairs, count),
        folders.of(folder, run),
        base=base or settings.base,
        embedder=settings.corpus.embedder,
        seed=settings.seed,
        options={"epochs": epochs} if epochs else {},
        progress=progress,
    )


def _without_documents(project: Project, name: str) -> dict[str, Any]:
    """Way and retraining of a system that reads none: what was trained must be trained again."""
    tuned = project._options("systems", name).get("tuned", "")
    if not tuned:
        return {"way": "never"}
    path = project._checkpoint_path(tuned) / "checkpoint.json"
    if not path.is_file():
        raise ConfigError(f"the checkpoint {tuned!r} is not there yet; run `bakeoff tune {tuned}`, or leave {name} out")
    return {"way": "retrain", "retraining": ledger.retraining_seconds(project._trained([name]))[name]}


def _ready(project: Project | None) -> list[str]:
    """All metrics but those that need options and have none."""
    configured = project.config.metrics if project else {}
    return [
        name
        for name in plugins.names("metrics")
        if name in configured or not hasattr(plugins.module("metrics", name), "make")
    ]
