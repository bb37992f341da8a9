"""Thin commands: parse, call one function, print."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Generator as Stream
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bakeoff import cli_measures, cli_tuning
from bakeoff.errors import BakeoffError
from bakeoff.terminal import HERE, Folder, Json, Run, printable
from bakeoff.terminal import print_json as _print_json
from bakeoff.terminal import progress as _progress
from bakeoff.terminal import project as _project

if TYPE_CHECKING:
    from bakeoff.evaluation.gates import Gate
    from bakeoff.evaluation.stats import Interval
    from bakeoff.project import Project
    from bakeoff.types import Answer, Changes

app = typer.Typer(
    name="bakeoff",
    help="Decide by measurement whether to prompt, retrieve, fine-tune, or both.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

FailIf = Annotated[
    list[str] | None,
    typer.Option(help='Exit with 3 if so, as in "rag < 0.7" or "surely rag p95 > 2"; writes junit.xml. Repeatable.'),
]
STOPPED = 130
"""Exit code after Ctrl-C, which typer makes of it."""
FAILED = 3
"""Exit code where a condition of --fail-if holds; 1 is an error, 2 a wrong flag."""


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to make the project.")] = HERE,
    demo: Annotated[bool, typer.Option(help="With the documents and questions of a fictional company.")] = False,
    template: Annotated[str, typer.Option(help="With an example of this use; --list shows all.")] = "",
    list_templates: Annotated[bool, typer.Option("--list", help="Only list the templates.")] = False,
    weights: Annotated[bool, typer.Option(help="Fetch the default models now, so that all else works offline.")] = True,
) -> None:
    """Make a project: bakeoff.toml, and with --demo or --template documents and questions to try."""
    from bakeoff.scaffold import TEMPLATES, create

    if list_templates:
        for name, about in TEMPLATES.items():
            print(f"{name:<18} {about}")
        return
    with _progress() as progress:
        created = create(folder, demo=demo, template=template, weights=weights, progress=progress)
    for path in created:
        print(f"made {path}")
    begin = "bakeoff ingest" if (folder / "documents").is_dir() or (folder / "memory").is_dir() else "bakeoff compare"
    print(f"next: cd {folder} && {begin}" if folder != HERE else f"next: {begin}")


@app.command()
def ingest(
    sources: Annotated[
        list[str] | None, typer.Argument(help="Folders, files, databases, pages; name=source gives it a name.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and ingest again whenever a file changes.")] = False,
    project: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Make the index equal to the sources: adds, replaces and removes what changed."""
    this = _project(project)
    if watch:
        for changes in this.watch(*sources or ()):
            _print_changes(changes, as_json)
        return
    with _progress() as progress:
        changes = this.ingest(*sources or (), dry_run=dry_run, progress=progress)
    if dry_run and not as_json:
        for what in ("added", "updated", "removed"):
            for document in getattr(changes, what):
                print(f"would be {what}: {document}")
    _print_changes(changes, as_json)
    if not (dry_run or this.corpus.store.ids()):
        print("the index is empty: put documents where [corpus] sources says, or name others", file=sys.stderr)


@app.command()
def forget(
    name: Annotated[str, typer.Argument(help="A source, or the id of a document.")],
    project: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Remove a source or a document from the index, to its last byte, and name the runs that still quote it."""
    this = _project(project)
    removed = this.forget(name)
    quoting = [str(path) for path in this.quoting(name)]
    if as_json:
        _print_json({"removed": removed, "quoting": quoting})
        return
    print(f"forgotten: {removed} document{'s' * (removed != 1)}; the next ingest brings back what is still a source")
    if quoting:
        print(f"still quoted, delete next: {' '.join(quoting)}")


@app.command()
def search(
    query: str,
    k: Annotated[int, typer.Option("-k", min=1, help="How many passages.")] = 5,
    retriever: Annotated[str, typer.Option(help="bm25, dense, hybrid or reranked.")] = "hybrid",
    group: Annotated[list[str] | None, typer.Option(help="Search as a member of this group; can be repeated.")] = None,
    project: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Show the passages that best match a query."""
    this = _project(project)
    hits = this.search(query, k, retriever, groups=group)
    if as_json:
        _print_json(hits)
        return
    for number, hit in enumerate(hits, start=1):
        print(f"{number}. {printable(_where(this, hit.chunk.document_id, hit.chunk.start))}  (score {hit.score:.3f})")
        print(f"   {printable(' '.join(hit.chunk.text.split()))}")


@app.command()
def ask(
    question: str,
    system: Annotated[str, typer.Option(help="Which system answers; by default the first of type rag.")] = "",
    explain: Annotated[bool, typer.Option("--explain", help="Also show every step: hits, prompt, verdict.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown in which nothing is active.")] = False,
    project: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Answer a question, with the sources."""
    from bakeoff.systems import rendering

    this = _project(project)
    with _draft_shown(sys.stdout.isatty() and not (as_json or markdown)) as show:
        answer = show(this.stream(question, system))
    if as_json:
        _print_json(answer)
        return
    print(printable((rendering.markdown if markdown else rendering.plain)(answer, this.corpus.place)))
    if explain:
        print(f"\n{printable(rendering.explained(answer))}")


@app.command()
def calibrate(system: str, project: Folder = HERE, as_json: Json = False) -> None:
    """Learn from the questions that are not for testing when a system should refuse to answer."""
    this = _project(project)
    with _progress() as progress:
        found = this.calibrate(system, progress=progress)
    if as_json:
        _print_json(found)
        return
    decider = found.decider
    print(f"{decider.n} drafts, with and without the documents that hold the answer; cross-validated:")
    print(f"refuses {decider.recall:.0%} of what cannot be answered; {decider.precision:.0%} of its refusals are right")
    print("of the questions, from the surest answer on:")
    for share in (0.25, 0.5, 0.75, 1.0):
        coverage, risk = min(found.curve, key=lambda point: abs(point[0] - share))
        print(f"  {coverage:4.0%} answered: {risk:.0%} wrong")
    print(f'next: mode = "documents" under [systems.{system}], then bakeoff compare')


@app.command()
def attack(
    system: Annotated[str, typer.Argument(help="An entry of \\[systems] of type rag.")],
    run: Run = "latest",
    limit: Annotated[int, typer.Option(min=0, help="Ask only the first N test questions; 0 means all.")] = 0,
    project: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Put injections into what a system reads, and say how often it obeys. A low rate is no promise."""
    this = _project(project)
    with _progress() as progress:
        found = this.attack(system, run=run, limit=limit, progress=progress)
    if as_json:
        _print_json(found)
        return
    print(f"{system} obeyed {_rate(found.rate)} of {found.rate.n} injections")
    for kind, rate in found.by_kind.items():
        print(f"  {kind:<14} {_rate(rate)}  n={rate.n}")
    print(f"recall lost through them: {_rate(found.loss)}")
    print("these attacks are public and do not adapt to the system: a low rate is no promise")


app.registered_commands += cli_tuning.app.registered_commands


@app.command()
def fit(project: Folder = HERE, as_json: Json = False) -> None:
    """Fit the reranker on your questions with evidence; it is used where that gains on questions it has not seen."""
    found = _project(project).fit()
    if as_json:
        _print_json(found)
    else:
        print(found)


@app.command("screen")
def screen_(
    sample: Annotated[int, typer.Option(help="How many questions to ask at most, none of them for testing.")] = 100,
    run: Annotated[str, typer.Option(help="Name of the run, a folder under runs/.")] = "screen",
    fresh: Annotated[bool, typer.Option(help="Discard the answers of an earlier screening of this name.")] = False,
    project: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Before anything is trained: what retrieval, better retrieval and tuning could gain at most. Resumes."""
    with _progress() as progress:
        found = _project(project).screen(sample=sample, run=run, fresh=fresh, progress=progress)
    if as_json:
        _print_json({**asdict(found), "first": found.first})
    else:
        print(found)


@app.command()
def compare(
    systems: Annotated[list[str] | None, typer.Argument(help="Entries of \\[systems]; by default all.")] = None,
    run: Run = "latest",
    limit: Annotated[int, typer.Option(min=0, help="Ask only the first N test questions; 0 means all.")] = 0,
    fresh: Annotated[bool, typer.Option(help="Discard the answers of an earlier run of this name.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Ask the baseline twice, to see what differs by chance alone.")
    ] = False,
    race: Annotated[
        bool, typer.Option("--race", help="Stop asking systems that are surely worse than another by more than delta.")
    ] = False,
    fail_if: FailIf = None,
    project: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Index, tune what is missing, ask all systems the same questions, and recommend one. Resumes where it stopped."""
    this = _project(project)
    gates = this.gates(fail_if or (), systems or ())
    with _progress() as progress:
        comparison = this.compare(
            systems or (), run=run, limit=limit, fresh=fresh, again=again, race=race, progress=progress
        )
    _finish(this, run, comparison, gates, as_json)


@app.command()
def diagnose(
    run: Annotated[str, typer.Argument(help="A run of bakeoff compare, a folder under runs/.")],
    system: Annotated[str, typer.Argument(help="A system of that run, of type rag or prompt.")],
    fresh: Annotated[bool, typer.Option(help="Discard the answers of an earlier diagnosis.")] = False,
    project: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Say why a system's wrong answers are wrong, and what to mend first. Resumes where it stopped."""
    this = _project(project)
    with _progress() as progress:
        found = this.diagnose(run, system, fresh=fresh, progress=progress)
    _, paths = this.report(run, this.rescore(run))
    if as_json:
        _print_json(found.to_json())
        return
    print(found)
    print(f"\nreport: {paths['html']}")


@app.command()
def report(
    run: Run = "latest",
    fail_if: FailIf = None,
    checks: Annotated[int, typer.Option(min=0, help="Write a sheet with N random questions to check by hand.")] = 0,
    checked: Annotated[
        Path | None, typer.Option(help="Take over the hand checks that the page saved as a file.")
    ] = None,
    project: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Write the report of a run again, from its recorded answers and hand checks; no model is loaded."""
    this = _project(project)
    comparison = this.rescore(run)
    if checked:
        from bakeoff.evaluation.checks import take

        count = take(checked, comparison, this.run_folder(run))
        print(f"took over {count:,} hand checks", file=sys.stderr)
        comparison = this.rescore(run)
    if checks:
        from bakeoff.evaluation.checks import write_sheet

        path = write_sheet(comparison, this.run_folder(run), checks)
        print(f"made {path}; write yes or no into its last column, then: bakeoff report --run {run}")
        return
    _finish(this, run, comparison, this.gates(fail_if or (), comparison.systems), as_json)


@app.command()
def history(project: Folder = HERE, as_json: Json = False) -> None:
    """Show all comparisons of the project over time, and write them as a page, runs/history.html."""
    from bakeoff.evaluation.history import changes

    entries, path = _project(project).history()
    if as_json:
        _print_json([asdict(one) for one in entries])
        return
    for one, changed in zip(entries, changes(entries), strict=True):
        best = ", ".join(f"{name} {100 * one.systems[name].estimate:.1f}" for name in one.best)
        print(f"{one.when}  {one.run}  {one.questions} questions  {one.verdict}  best: {best}")
        if changed:
            print(f"    {changed}")
    print(f"\nhistory: {path}")


@app.command("list")
def list_(
    kind: Annotated[
        str, typer.Argument(help="systems, metrics, methods, retrievers, rerankers, stores, loaders, models, runs.")
    ] = "",
    project: Folder = HERE,
    as_json: Json = False,
) -> None:
    """List what there is to choose from."""
    from bakeoff.doctor import catalogue

    entries = catalogue(project, kind)
    if as_json:
        _print_json(entries)
        return
    for group, rows in entries.items():
        print(f"{group}:")
        for name, about in rows.items():
            print(f"  {name:<18} {about}".rstrip())


app.registered_commands += cli_measures.app.registered_commands


@app.command()
def doctor(
    mend: Annotated[bool, typer.Option("--mend", help="First make anew what is damaged in the index.")] = False,
    project: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Check installation, weights, index and checkpoints. Exits with 1 when something is wrong."""
    from bakeoff.doctor import examine
    from bakeoff.doctor import mend as mend_index

    if mend:
        for line in mend_index(project):
            print(line, file=sys.stderr)
    findings = examine(project)
    if as_json:
        _print_json(findings)
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'BAD '} {finding.what}" + ("" if finding.ok else f"; {finding.cure}"))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; what the user can act on is one line and exit code 1."""
    try:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1 and sys.argv[1:2] != ["tune"]:
            from bakeoff.tuning.processes import refuse_several

            refuse_several(f"`bakeoff {' '.join(sys.argv[1:2])}`")
        app()
    except BakeoffError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except SystemExit as end:
        if end.code == STOPPED:
            print("stopped; run the same command again to go on", file=sys.stderr)
            sys.stdout.flush()
            # Everything is unwound; taking down an engine that was stopped in its work can crash or hang Python.
            os._exit(STOPPED)
        raise


def _finish(project: Project, run: str, comparison: Any, gates: Sequence[Gate], as_json: bool) -> None:
    from bakeoff.evaluation.gates import judge

    results = judge(gates, comparison)
    recommendation, paths = project.report(run, comparison, results)
    if as_json:
        print(paths["json"].read_text(), end="")
    else:
        print(comparison)
        print()
        print(recommendation)
        print(f"\nreport: {paths['html']}")
    for result in results:
        print(result, file=sys.stderr)
    if any(result.failed for result in results):
        raise typer.Exit(FAILED)


def _print_changes(changes: Changes, as_json: bool) -> None:
    if as_json:
        _print_json(changes)
        return
    counts = {"added": changes.added, "updated": changes.updated, "removed": changes.removed}
    counts |= {"unchanged": changes.unchanged}
    print(", ".join(f"{len(ids)} {what}" for what, ids in counts.items()) + f", {len(changes.failed)} failed")
    for document, unread in changes.unread.items():
        print(f"not read: {document}: {'; '.join(unread)}", file=sys.stderr)
    for document, reason in changes.failed.items():
        print(f"failed: {document}: {reason}", file=sys.stderr)


def _where(project: Project, document_id: str, offset: int) -> str:
    place = project.corpus.place(document_id, offset)
    return f"{document_id}, {place}" if place else document_id


def _rate(interval: Interval) -> str:
    return f"{interval.estimate:.0%} [{interval.low:.0%}, {interval.high:.0%}]"


@contextmanager
def _draft_shown(live: bool) -> Iterator[Callable[[Stream[str, None, Answer]], Answer]]:
    """Show the draft as it is written, and take it away again: the answer that stands is printed after it."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    def drain(stream: Stream[str, None, Answer]) -> Answer:
        text = ""
        while True:
            try:
                text += next(stream)
            except StopIteration as stop:
                answer: Answer = stop.value
                return answer
            if live:
                screen.update(Text(printable(text), style="dim"))

    with Live(console=Console(), transient=True, auto_refresh=False) if live else nullcontext() as shown:
        screen: Any = shown
        yield drain
