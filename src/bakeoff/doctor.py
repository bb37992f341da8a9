"""`bakeoff list` and `bakeoff doctor`: what there is, and whether it is sound."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from bakeoff import config, plugins
from bakeoff.errors import BakeoffError, UnknownNameError
from bakeoff.parts import RETRIEVERS
from bakeoff.project import Project

EXTRAS = {
    "tune": ("torch", "fine-tuning"),
    "qlora": ("bitsandbytes", "a LoRA on a base in 4 bits"),
    "search": ("optuna", "`bakeoff tune --search`"),
    "boost": ("xgboost", "heads of boosted trees"),
    "datasets": ("pyarrow", "examples from Parquet files and data sets"),
    "ann": ("faiss", "approximate search from a hundred thousand passages on"),
    "openai": ("openai", "models behind an OpenAI-compatible endpoint"),
    "formats": ("pptx", "PPTX, ODT, RTF and MSG files"),
    "databases": ("sqlalchemy", "rows of PostgreSQL and MySQL servers as documents"),
    "postgresql": ("psycopg", "an index on a PostgreSQL server"),
    "watch": ("watchfiles", "`bakeoff ingest --watch`"),
}
"""Extra -> (a package that it brings, what it is for)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    ok: bool
    what: str
    cure: str = ""


def catalogue(folder: Path, kind: str = "") -> dict[str, dict[str, str]]:
    """Kind -> name -> a few words; all kinds, or one. Raises `UnknownNameError` for a kind that is not there."""
    from bakeoff.models.weights import PACKAGED, is_cached

    # Describing a plug-in imports it, and some bring torch: only what is asked for.
    groups = [group for group in plugins.KINDS if kind in ("", group)]
    entries = {group: {name: _about(group, name) for name in plugins.names(group)} for group in groups}
    entries["models"] = {name: "ready" if is_cached(name) else "fetched at first use" for name in PACKAGED}
    entries["retrievers"] = dict.fromkeys(RETRIEVERS, "")
    if (folder / config.FILE).is_file():
        settings = config.read(folder)
        entries["systems"] = {name: str(options.get("type", "")) for name, options in settings.systems.items()}
        entries["checkpoints"] = {name: _checkpoint_state(folder, name) for name in settings.tune}
        entries["runs"] = {path.parent.name: "" for path in sorted(folder.glob("runs/*/trials.jsonl"))}
    if kind and kind not in entries:
        raise UnknownNameError("kind", kind, {*entries, *plugins.KINDS})
    return {kind: entries[kind]} if kind else dict(sorted(entries.items()))


def examine(folder: Path) -> list[Finding]:
    """Look at everything that can be wrong before work is lost to it."""
    return [*_installation(), *_models(), *(_project(folder) if (folder / config.FILE).exists() else ())]


def mend(folder: Path) -> list[str]:
    """Make anew what is derived in the index and drop what is damaged; returns what was done, a line each.

    Raises `StoreError` where the file itself is broken.
    """
    project = Project(folder)
    damaged = project.corpus.store.mend()
    done = ["what is derived in the index was built anew"]
    if damaged:
        done.append(f"{len(damaged)} damaged documents were dropped; run `bakeoff ingest` to read them again")
    return done


def _installation() -> Iterator[Finding]:
    from bakeoff.models.weights import has_vnni

    yield Finding(sys.version_info >= (3, 11), f"Python {sys.version.split()[0]}", "install Python 3.11 or newer")
    for extra, (package, gives) in EXTRAS.items():
        state = "installed" if find_spec(package) else f"not installed (optional); for {gives}"
        yield Finding(True, f"extra {extra!r} {state}")
    found = "installed: scans are read" if which("tesseract") else "not installed (optional; it reads scans)"
    yield Finding(True, f"program 'tesseract' {found}")
    quick = "ONNX Runtime" if has_vnni() else "llama.cpp, for Linux tells of no VNNI in this CPU"
    yield Finding(True, f"SmolLM and its kin answer through {quick}")


def _models() -> Iterator[Finding]:
    import hashlib

    from bakeoff.models.weights import PACKAGED, cache_folder, is_cached

    for name in PACKAGED:
        if not is_cached(name):
            yield Finding(True, f"weights {name} not fetched yet (they are at first use)")
            continue
        path = cache_folder() / name / f"model.{PACKAGED[name].kind}"
        with path.open("rb") as file:
            sound = (
                hashlib.file_digest(file, "sha256").hexdigest()
                == json.loads(path.with_suffix(".json").read_text())["sha256"]
            )
        yield Finding(sound, f"weights {name} in {path.parent}", f"delete {path.parent}; they are fetched again")


def _project(folder: Path) -> Iterator[Finding]:
    from bakeoff.tuning.run import load_checkpoint

    try:
        project = Project(folder)
        yield Finding(True, f"{folder / config.FILE}")
        faults = project.corpus.store.check()
        held = sum(project.corpus.store.sources().values())
        yield Finding(not faults, f"index: {held} documents" + "".join(f"; {fault}" for fault in faults),
                      "run `bakeoff doctor --mend`")  # fmt: skip
    except BakeoffError as error:
        yield Finding(False, str(error), "correct it and run `bakeoff doctor` again")
        return
    for manifest in sorted(folder.glob("checkpoints/*/checkpoint.json")):
        name = manifest.parent.name
        try:
            load_checkpoint(manifest.parent)
            yield Finding(True, f"checkpoint {name}")
        except BakeoffError as error:
            yield Finding(False, f"checkpoint {name}: {error}", f"run `bakeoff tune {name}`")


def _about(kind: str, name: str) -> str:
    """First line of a plug-in's docstring, or what it needs."""
    try:
        module = plugins.module(kind, name)
    except BakeoffError as error:
        return str(error).partition(": ")[2]
    return (inspect.getdoc(module) or "").partition("\n")[0]


def _checkpoint_state(folder: Path, name: str) -> str:
    return "trained" if (folder / "checkpoints" / name / "checkpoint.json").is_file() else "not trained yet"
