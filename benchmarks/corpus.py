"""The corpus on real files: hostile and odd ones, and a handbook at four dates.

    make bench-corpus DATA=path/to/data

Writes docs/results.md.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from results import machine, publish, table

from bakeoff.corpus import Corpus
from bakeoff.corpus.parsing import Parser
from bakeoff.corpus.sources import loaders
from bakeoff.errors import DataError
from bakeoff.models import embedder
from bakeoff.types import Changes


def main() -> None:
    """Run both parts that the data are there for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with ingest_files, hostile_files, 18f_handbook"
    )
    data = parser.parse_args().data
    for section, folders, run in (
        ("files", ("ingest_files", "hostile_files"), files),
        ("handbook", ("18f_handbook",), handbook),
    ):
        missing = [name for name in folders if not (data / name).is_dir()]
        if missing:
            print(f"skipped {section}: {data / missing[0]} is not there")
            continue
        text = run(*[data / name for name in folders])
        publish(section, f"{text}\n\n`make bench-corpus DATA=...` on {machine()}.")
        print(text)


def files(*folders: Path) -> str:
    """Every file gives text or a reason, inside the limits, and the parent's memory stays as it was."""
    rows, reasons, known = [], list[str](), loaders()
    for folder in folders:
        outcome: Counter[str] = Counter()
        before, slowest = resident(), 0.0
        with Parser() as parser:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                loader = known.get(path.suffix.lower())
                if loader is None:
                    outcome["no loader"] += 1
                    continue
                start = time.monotonic()
                try:
                    outcome["text" if parser.load(loader.name, path, loader.seconds).text.strip() else "empty"] += 1
                except DataError as error:
                    outcome["reason"] += 1
                    reasons.append(f"{path.suffix.lower()}: {error}")
                slowest = max(slowest, time.monotonic() - start)
        grown = resident() - before
        counts = [str(outcome[what]) for what in ("text", "empty", "reason", "no loader")]
        rows.append([folder.name, str(sum(outcome.values())), *counts, f"{slowest:.1f}", f"{grown:+.0f}"])
    head = ["files", "n", "text", "empty", "a reason", "no loader", "slowest, s", "parent grew, MiB"]
    common = Counter(reason.partition("(")[0].strip() for reason in reasons).most_common(6)
    return f"{table(head, rows)}\n\nMost frequent reasons: {'; '.join(f'{what} ({n})' for what, n in common)}."


def handbook(folder: Path) -> str:
    """Each sync touches the files that changed and no others; an unchanged folder costs next to nothing."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        root, corpus = Path(scratch) / "handbook", Corpus(Path(scratch) / "index", embedder("minilm-int8"))
        before: dict[str, str] = {}
        for date in sorted(path for path in folder.iterdir() if path.is_dir()):
            shutil.rmtree(root, ignore_errors=True)
            shutil.copytree(date, root)
            now = {
                f"handbook/{path.relative_to(root).as_posix()}": hashlib.sha256(path.read_bytes()).hexdigest()
                for path in sorted(root.rglob("*"))
                if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
            }
            changes, first = timed(lambda: corpus.sync(root))
            held = {*changes.added, *changes.updated, *changes.failed}
            wanted = {id for id, digest in now.items() if before.get(id) != digest}
            exact = held == wanted and set(changes.removed) == set(before) - set(now)
            again, second = timed(lambda: corpus.sync(root))
            still = not (again.added or again.updated or again.removed)
            rows.append(
                [
                    date.name,
                    str(len(now)),
                    *(str(len(getattr(changes, what))) for what in ("added", "updated", "removed", "failed")),
                    "yes" if exact else "NO",
                    f"{'yes' if still else 'NO'}, {second / first:.1%}",
                ]
            )
            before = now
    head = [
        "date",
        "files",
        "added",
        "updated",
        "removed",
        "failed",
        "exactly what changed",
        "again: nothing, its cost",
    ]
    return table(head, rows)


def timed(run: Callable[[], Changes]) -> tuple[Changes, float]:
    """What `run` returns, and the CPU seconds of it and the children that ended."""
    start = processor_seconds()
    return run(), processor_seconds() - start


def processor_seconds() -> float:
    """Of this process and of its children that ended."""
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def resident() -> float:
    """MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main()
