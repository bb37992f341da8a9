"""Commands of examples and of tuning; `bakeoff.cli` has the others."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bakeoff.terminal import HERE, Folder, Json, print_json, progress
from bakeoff.terminal import project as open_project

if TYPE_CHECKING:
    from bakeoff.tuning.check import Preflight
    from bakeoff.tuning.search import Found

app = typer.Typer()
SAME_KIND = 10
"""Problems of one kind that are printed."""


@app.command()
def check(
    allow_personal: Annotated[
        bool, typer.Option("--allow-personal", help="Personal data and secrets are warnings, not errors.")
    ] = False,
    write: Annotated[
        str, typer.Option(help="New file (.jsonl) for the examples that are neither empty, noise nor there twice.")
    ] = "",
    project: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Look for faults in examples, template and checkpoints; loads no model. Exits with 1 when it finds an error."""
    this = open_project(project)
    found = this.check(allow_personal=allow_personal)
    if as_json:
        print_json(found)
    else:
        _print_preflight(found)
        print(f"before the run: {this.power()}")
    if write:
        kept, left = this.write_clean(write, found)
        # Not on standard output, which may be JSON.
        print(f"wrote {kept:,} examples to {write}, {left:,} left out; name it under [examples] path", file=sys.stderr)
    if any(problem.severity == "error" for problem in found.problems):
        raise typer.Exit(1)


@app.command()
def draft(
    out: Annotated[str, typer.Option(help="File to write; by default that of \\[examples].")] = "",
    count: Annotated[int, typer.Option("-n", "--count", help="How many questions.")] = 50,
    generator: Annotated[str, typer.Option(help="Who writes them, as under `base`; by default the base.")] = "",
    project: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Draft questions with answers and evidence from the indexed documents; what cannot be verified is dropped."""
    with progress() as advance:
        found = open_project(project).draft(out, count=count, generator=generator, progress=advance)
    if as_json:
        print_json(found)
        return
    print(f"made {found.path}: {found.questions:,} questions from {found.tried:,} sentences")
    for reason, number in found.failed.items():
        print(f"  dropped {number:,}: {reason}")
    print("next: read them - a drafted question can be true and odd - then bakeoff check")


@app.command()
def tune(
    names: Annotated[list[str] | None, typer.Argument(help="Entries of \\[tune]; by default all.")] = None,
    search: Annotated[int, typer.Option(min=0, help="Try so many settings of the options that are open.")] = 0,
    allow_personal: Annotated[
        bool, typer.Option("--allow-personal", help="Go on although lessons hold personal data or secrets.")
    ] = False,
    study: Annotated[bool, typer.Option(help="Measure what each training changed: gain, forgetting, memory.")] = True,
    project: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Fine-tune the checkpoints of bakeoff.toml; up-to-date ones are kept, an interrupted one goes on."""
    from bakeoff.tuning.processes import refuse_several, team

    if search:  # before anything is read
        refuse_several("a search")
    this = open_project(project)
    how = {"study": study, "allow_personal": allow_personal}
    made: list[Any] = []
    for name in names or this.config.tune:
        with progress() as advance:
            if search:
                made.append(this.search_options(name, search, **how, progress=advance))
            else:
                made.append(this.tune(name, **how, progress=advance))
        if not as_json and team().leads:
            print(f"{name}: {made[-1].path}")
            _say_study(name, made[-1].path, replays="replay" in this.config.tune[name])
            if study and team().shards:
                print(f"  not studied: run `bakeoff tune {name}` once without the launcher, if one process can hold it")
            if search:
                _say_found(name, made[-1])
    if as_json and team().leads:
        print_json(made)


@app.command()
def export(
    name: Annotated[str, typer.Argument(help="An entry of \\[tune] that was trained.")],
    target: Annotated[Path, typer.Argument(help="What to write: model.gguf, head.onnx, or a folder of safetensors.")],
    to: Annotated[str, typer.Option(help="gguf, safetensors or onnx; by default what the target's name says.")] = "",
    encoding: Annotated[
        str, typer.Option(help="Of the matrices: own (the base's; in safetensors f32), q8_0, f16 or f32.")
    ] = "own",
    tolerance: Annotated[
        float, typer.Option(help="How far the scores of the answers may move on average before it is refused.")
    ] = 0.02,
    project: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Write a tuned model as a file for other tools, and keep it only if it still answers as before."""
    this = open_project(project)
    with progress() as advance:
        found = this.export(name, target, to=to, encoding=encoding, tolerance=tolerance, progress=advance)
    if as_json:
        print_json(found)
    else:
        print(f"made {found.path}, {found.megabytes:,.0f} MB, and {found.manifest}\n  {found.proof}")


def _print_preflight(found: Preflight) -> None:
    print(f"read as: {found.read_as}")
    print("divided into: " + ", ".join(f"{count:,} {part}" for part, count in found.parts.items()))
    counts = {method: f"{count:,}" for method, count in found.usable.items()}
    if not found.usable["pretrain"]:
        counts["pretrain"] = "the documents"
    print("could train: " + ", ".join(f"{method} on {count}" for method, count in counts.items()))
    for plan in found.plans:
        print(f"{plan.name}: {plan.lengths}; {plan.cost}")
    if found.text_tokens:
        print(f"running text: about {found.text_tokens:,} tokens to train on")
    if found.unchecked:
        print(f"not looked at, lengths and the model's files: {found.unchecked}")
    for kind in dict.fromkeys(problem.kind for problem in found.problems):
        same = [problem for problem in found.problems if problem.kind == kind]
        for problem in same[:SAME_KIND]:
            print(f"{problem.severity}: {problem.where}: {problem.what}; {problem.cure}")
        if len(same) > SAME_KIND:
            print(f"  and {len(same) - SAME_KIND:,} more like these; --json shows all")
    problems = [problem for problem in found.problems if problem.severity != "note"]
    print(f"{len(problems):,} problem{'s' * (len(problems) != 1)}" if problems else "no problems found")


def _say_found(name: str, found: Found) -> None:
    print(
        f"  the best of {found.trials} trials, {found.pruned} of them ended early; to keep it, write into bakeoff.toml:"
    )
    print(f"  [tune.{name}]")
    for option, value in found.options.items():
        if option != "start":  # the table names it, where this is its folder
            print(f"  {option} = {json.dumps(value)}")


def _say_study(name: str, folder: Path, *, replays: bool) -> None:
    if (folder / "study.json").is_file():
        found = json.loads((folder / "study.json").read_text())
        print(f"  {found['verdict']}\n  {found['learning']}\n  {folder / 'training.html'}")
        if found.get("forgot") and not replays:
            from bakeoff.tuning.replay import METHODS

            if found["method"] in METHODS:
                print(f"  to forget less, write into [tune.{name}]: replay = 0.25")
