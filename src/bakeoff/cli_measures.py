"""Commands that measure what a comparison alone does not show; `bakeoff.cli` has the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bakeoff.terminal import HERE, Folder, Json, Run, print_json, progress

app = typer.Typer()


@app.command()
def validate_metrics(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Labelled answers; by default the hand checks of a run.")
    ] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Only this metric; can be repeated.")] = None,
    run: Run = "latest",
    project: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Say how well each metric agrees with people, on labelled answers or on your own hand checks."""
    from bakeoff.measuring import validate_metrics as validate

    with progress() as advance:
        found = validate(project, files or (), metrics=metric or (), run=run, progress=advance)
    if as_json:
        print_json({str(source): one for source, one in found.items()})
        return
    for source, one in found.items():
        print(f"{source}: {one}")


@app.command("freshness")
def freshness_(
    systems: Annotated[list[str] | None, typer.Argument(help="Entries of \\[systems]; by default all.")] = None,
    facts: Annotated[int, typer.Option(help="How many facts to edit, delete and add, at most.")] = 10,
    run: Run = "latest",
    project: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Change facts in a copy of your documents, index it again, and say how soon the answers follow."""
    from bakeoff.measuring import freshness

    with progress() as advance:
        found = freshness(project, systems or (), facts=facts, run=run, progress=advance)
    if as_json:
        print_json([one.to_json() for one in found])
        return
    for one in found:
        print(one)


@app.command("reversal")
def reversal_(
    pairs: Annotated[
        Path,
        typer.Argument(help='A file with a line a pair, {"a": "Ada", "b": "the head"}, or a clone of reversal_curse.'),
    ],
    count: Annotated[int, typer.Option("-n", "--count", help="How many of the pairs; 0 means all.")] = 20,
    base: Annotated[str, typer.Option(help="The model; by default the project's.")] = "",
    epochs: Annotated[int, typer.Option(help="How often each lesson is seen; 0 means the usual.")] = 0,
    run: Annotated[str, typer.Option(help="Name of the run, a folder under runs/.")] = "reversal",
    project: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Tune on facts in one direction and ask in both, beside RAG: is B is A known to who learnt A is B? Resumes."""
    from bakeoff.measuring import reversal

    with progress() as advance:
        found = reversal(project, pairs, count=count, base=base, epochs=epochs, run=run, progress=advance)
    if as_json:
        print_json(found)
    else:
        print(found)
