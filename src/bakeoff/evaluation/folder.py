"""The run folder on disk: what was asked, one process at a time, line by line, and safe to kill."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import IO, Any

from bakeoff import __version__
from bakeoff.errors import ConfigError, StoreError
from bakeoff.evaluation import records
from bakeoff.files import write_atomically, write_json
from bakeoff.memory import peak_mb
from bakeoff.types import Example

Settings = Mapping[str, Mapping[str, Any]]
"""System name -> what its answers depend on."""


def of(project: Path, run: str) -> Path:
    """The folder of a run; raises `ConfigError` for a name that leads elsewhere."""
    if run in ("", ".", "..") or Path(run).name != run:
        raise ConfigError(f"{run!r} is not a name for a run: it is one folder below runs/, as in --run first")
    return project / "runs" / run


def write_run(
    out: Path, systems: Sequence[str], examples: Sequence[Example], settings: Settings, seed: int, baseline: str
) -> None:
    """Write `run.toml`, unless the answers that stand in `out` were made in another way."""
    settings = {name: settings.get(name, {}) for name in systems}
    kept = require_same(out, examples, settings)
    asked = {
        "bakeoff": __version__,
        "python": platform.python_version(),
        "seed": seed,
        "baseline": baseline or systems[0],
        "examples": hashlib.sha256(_ordered(examples).encode()).hexdigest(),
        "systems": list(systems),
        # Systems that are not compared now may be again: their answers stay, and so must their settings.
        "settings": {**kept, **settings},
    }
    write_atomically(out / "examples.jsonl", records.lines(examples))
    write_atomically(out / "run.toml", _toml(asked))


def require_same(
    out: Path, examples: Sequence[Example], settings: Settings, unknown: Collection[str] = ()
) -> dict[str, Any]:
    """The settings of the systems that have answers in `out`; none where nothing stands there.

    Raises `ConfigError` if those answers were made by another version, from other `examples` or with other `settings`,
    those named in `unknown` aside.
    """
    path = out / "run.toml"
    if not path.is_file():
        return {}
    before = tomllib.loads(path.read_text(encoding="utf-8"))
    cure = "choose another folder with --run, or discard its answers with --fresh"
    if before["bakeoff"] != __version__:
        raise ConfigError(f"{out} holds answers from before the version of bakeoff changed; {cure}")
    asked_before = {row["id"]: row for row in records.read(out / "examples.jsonl")}
    for row in map(json.loads, _ordered(examples).splitlines()):
        if asked_before.get(row["id"], row) != row:
            raise ConfigError(f"{out} holds answers from before the example {row['id']!r} changed; {cure}")
    kept: dict[str, Any] = before["settings"]
    for name, wanted in recorded({"settings": settings})["settings"].items():
        if name in kept and _without(kept[name], unknown) != _without(wanted, unknown):
            raise ConfigError(f"{out} holds answers of {name!r} with other settings; {cure}")
    return kept


def _ordered(examples: Sequence[Example]) -> str:
    return records.lines(sorted(examples, key=attrgetter("id")))


def _without(settings: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """`settings` and the tables in them without the keys `names`."""
    return {
        key: _without(value, names) if isinstance(value, dict) else value
        for key, value in settings.items()
        if key not in names
    }


def recorded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` as they come back from `run.toml`, to be held against what stands there."""
    return tomllib.loads(_toml(settings))


def _toml(run: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {_toml_value(value)}\n" for key, value in run.items())


def _toml_value(value: Any) -> str:
    """JSON is TOML, except for tables; what neither knows is written as text."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_toml_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return json.dumps(str(value), ensure_ascii=False)


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """One process at a time; the lock goes with the process, however it ends."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = (out / ".lock").open("a")
    except OSError as error:
        raise StoreError(f"cannot write to {out}: {error.strerror}; choose another folder") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(f"another bakeoff works in {out}; wait for it, or choose another --run") from error
        yield


@contextmanager
def appending(path: Path) -> Iterator[IO[bytes]]:
    """Open for appending, after a line that a kill or a full disk cut short has been taken away."""
    with path.open("ab", buffering=0) as file:
        held = path.read_bytes()
        if (whole := held.rfind(b"\n") + 1) < len(held):
            file.truncate(whole)
        yield file


def append(file: IO[bytes], line: str) -> None:
    """Write a line and sync it to disk."""
    rest = line.encode()
    try:
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
    except OSError as error:
        cure = "free some space and run the same command to go on; the answers so far are kept"
        raise StoreError(f"cannot write {file.name}: {error.strerror}; {cure}") from error


def note_machine(out: Path, system: str) -> None:
    """Record the peak memory of the process while `system` answered, the models of all systems included."""
    path = out / "machine.json"
    machine = json.loads(path.read_text()) if path.is_file() else {"peak_mb": {}}
    machine |= {"platform": platform.platform(), "cpus": os.cpu_count()}
    # A run that goes on after a stop adds to what was seen before.
    machine["peak_mb"][system] = max(round(peak_mb(), 1), machine["peak_mb"].get(system, 0.0))
    write_json(path, machine)


def note_builds(out: Path, **facts: Any) -> None:
    """Record what it took to build what the systems use.

    `build_seconds`, `retraining`, `lessons`, `unread`, `split` and `effort`.
    """
    path = out / "machine.json"
    write_json(path, {**json.loads(path.read_text()), **facts})
