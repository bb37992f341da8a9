"""What commands have in common: options, JSON, and a bar."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bakeoff.project import Project
    from bakeoff.trained import Progress

Folder = Annotated[Path, typer.Option("--project", "-C", help="The project's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Run = Annotated[str, typer.Option(help="Name of the run, a folder under runs/.")]
HERE = Path()
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""All control characters but tab and the end of a line."""


def project(folder: Path) -> Project:
    """The project in `folder`."""
    from bakeoff.project import Project

    return Project(folder)


def print_json(value: Any) -> None:
    """What a command found, for other programs."""

    def plain(item: Any) -> Any:
        if is_dataclass(item) and not isinstance(item, type):
            return asdict(item)
        return list(item) if isinstance(item, Sequence) else str(item)

    print(json.dumps(value, default=plain, indent=2, ensure_ascii=False))


def printable(text: str) -> str:
    """`text` of a document or a model without what a terminal would obey."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


@contextmanager
def progress() -> Iterator[Progress]:
    """A bar on stderr with count, rate and remaining time; nothing where stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total, text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:<32.32}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        previous: list[str] = [""]

        def advance(done: int, total: int, text: str) -> None:
            stage = text.split(":")[0]
            if stage != previous[0]:
                bar.reset(task, total=total)
                previous[0] = stage
            bar.update(task, completed=done, total=total, description=text)

        yield advance
