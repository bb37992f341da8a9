"""Tune by a method's name; a checkpoint folder appears complete or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from inspect import signature
from pathlib import Path
from typing import Any

from bakeoff import plugins
from bakeoff.config import check_options
from bakeoff.errors import ConfigError, DataError, ModelError
from bakeoff.examples import fields
from bakeoff.files import sync_folder, write_json
from bakeoff.memory import forget_peak, peak_mb
from bakeoff.models import weights
from bakeoff.tuning.processes import team
from bakeoff.types import Checkpoint, Example, Tune

FORMAT = 1
MANIFEST = "checkpoint.json"
UNDER_WAY = "training.identity.json"
CUT = ("adapter", "dpo", "full", "lora", "orpo", "p_tuning", "prefix", "pretrain", "soft_prompt")
"""Methods in which no process computes anything with the model by itself, so that it may be cut among them."""
ASIDE = ".process-"
"""Folder of a process that does not write the checkpoint."""


def tune(
    method: str,
    base: str,
    train: Sequence[Example],
    valid: Sequence[Example] = (),
    *,
    out: str | Path,
    seed: int = 0,
    replace: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
    **options: Any,
) -> Checkpoint:
    """Train `base` by `method` and write the checkpoint folder `out`; `options` are the method's own.

    `replace`: an earlier checkpoint in `out` stays until the new one is complete. A training that was interrupted goes
    on from its newest whole state when it is asked for with the same arguments again.
    Raises `ConfigError` for a wrong option or an `out` in use, `DataError` for examples the method cannot learn from.
    """
    out = Path(out)
    function = plugins.get("methods", method)
    _check(method, function, options)
    if team().shards and method not in CUT:
        raise ConfigError(
            f"FSDP: {method} needs the whole model in every process; start without --use_fsdp, or use lora or full"
        )
    _check_target(out, replace)
    if not train:
        raise DataError("there are no training examples; add some, or give test and valid smaller shares")
    untuned = weights.resolve(base)
    if untuned.checkpoint is not None:
        raise ConfigError(f"{base} is a checkpoint itself; name its base {untuned.checkpoint.base!r}")
    identity = _identity(method, base, untuned.fingerprint, train, options, seed)
    scratch = out.with_name(f".{out.name}.partial")
    own = team()
    if not own.leads:
        own.wait()
        aside = scratch / f"{ASIDE}{own.rank}"  # it trains along; what it writes is nobody's
        aside.mkdir()
        function(base, train, valid, aside, seed=seed, **options, **_progress(function, progress))
        own.wait()
        own.wait()
        return Checkpoint(out, base, untuned.fingerprint, method)
    start = time.perf_counter()
    forget_peak()
    with alone(scratch):
        _prepare(scratch, {**identity, "valid_sha256": sha256_of(valid), "versions": _versions()})
        try:
            own.wait()
            function(base, train, valid, scratch, seed=seed, **options, **_progress(function, progress))
            own.wait()
            _finish(scratch, identity, time.perf_counter() - start)
            move(scratch, out)
            own.wait()
        except BaseException:
            if not (scratch / "state").is_dir():  # nothing to go on from
                shutil.rmtree(scratch, ignore_errors=True)
            raise
    return Checkpoint(out, base, untuned.fingerprint, method)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """A checkpoint folder, checked: format, method and the sha256 of each file; raises `ModelError`."""
    path = Path(path)
    manifest = manifest_of(path)
    if manifest["method"] not in plugins.names("methods"):
        raise ModelError(f"{path} was made by the method {manifest['method']!r}, which is not installed; tune it again")
    for name, sha256 in manifest["files"].items():
        if not (path / name).is_file():
            raise ModelError(f"{path} lacks its file {name}; copy the whole folder again, or tune it again")
        if hash_of(path / name) != sha256:
            raise ModelError(f"{path / name} is not the file that was trained; copy it again, or tune it again")
    return Checkpoint(path, manifest["base"], manifest["base_fingerprint"], manifest["method"])


def is_current(
    out: str | Path, method: str, base: str, train: Sequence[Example], options: Mapping[str, Any], seed: int
) -> bool:
    """Whether `out` holds the checkpoint that `tune` would make of the same arguments."""
    if not (Path(out) / MANIFEST).is_file():
        return False
    function = plugins.get("methods", method)
    _check(method, function, options)
    wanted = _identity(method, base, weights.resolve(base).fingerprint, train, options, seed)
    manifest = manifest_of(Path(out))
    # An option that is younger than the checkpoint had what is its default now.
    manifest["options"] = {**_defaults(function), **manifest.get("options", {})}
    return all(manifest.get(key) == value for key, value in wanted.items())


# ---------------------------------------------------------------- before


def _check(method: str, function: Tune, options: Mapping[str, Any]) -> None:
    """Options against the method's signature; the error lists all with their defaults."""
    try:
        check_options(f"method {method}", options, function, also={})
    except ConfigError as error:
        known = ", ".join(f"{name}={value!r}" for name, value in _defaults(function).items())
        raise ConfigError(f"{error}; {method} takes {known}") from error


def _defaults(function: Tune) -> dict[str, Any]:
    parameters = signature(function).parameters.values()
    own = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in ("seed", "progress")]
    return {parameter.name: parameter.default for parameter in own}


def _progress(function: Tune, progress: Callable[[int, int, str], None] | None) -> dict[str, Any]:
    return {"progress": progress} if "progress" in signature(function).parameters else {}


@contextmanager
def alone(scratch: Path) -> Iterator[None]:
    """The folder, made if need be, for one process at a time; the lock goes with the process, however it ends."""
    scratch.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(scratch, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ConfigError(
            f"another bakeoff trains in {scratch}; wait for it, or start both at once with torchrun to share the work"
        ) from error
    except OSError:  # a network folder that knows no locks
        pass
    try:
        yield
    finally:
        os.close(descriptor)


def _prepare(scratch: Path, identity: dict[str, Any]) -> None:
    """Keep what an interrupted run of the same identity left; else begin in an empty folder."""
    file = scratch / UNDER_WAY
    try:
        same = json.loads(file.read_text()) == json.loads(json.dumps(identity))
    except (OSError, ValueError):
        same = False
    for aside in scratch.glob(f"{ASIDE}*"):  # of a run in several processes that was stopped
        shutil.rmtree(aside)
    if not same:
        for path in scratch.iterdir():  # the folder itself is locked
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        write_json(file, identity)


def _check_target(out: Path, replace: bool) -> None:
    if out.exists() and not (out / MANIFEST).is_file():
        raise ConfigError(f"{out} is there and is no checkpoint; name another folder, or remove it")
    if out.exists() and not replace:
        raise ConfigError(f"{out} holds a checkpoint; name another folder, or pass replace=True")


# ---------------------------------------------------------------- manifest


def _identity(
    method: str, base: str, base_fingerprint: str, train: Sequence[Example], options: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """What makes two trainings the same."""
    known = {**_defaults(plugins.get("methods", method)), **options}
    if start := known.get("start"):  # the checkpoint it goes on from counts by what it holds
        began = manifest_of(Path(start))
        if began["base_fingerprint"] != base_fingerprint:
            raise ModelError(f"start: {start} was trained on another base than {base}; tune it again on this one")
        known["start"] = began["files"]
    return {
        "method": method,
        "base": base,
        "base_fingerprint": base_fingerprint,
        "data_sha256": sha256_of(train),
        "options": known,
        "seed": seed,
    }


def _finish(scratch: Path, identity: dict[str, Any], seconds: float) -> None:
    """Take out what was only needed on the way, and write the manifest last."""
    shutil.rmtree(scratch / "state", ignore_errors=True)
    for aside in scratch.glob(f"{ASIDE}*"):
        shutil.rmtree(aside)
    (scratch / UNDER_WAY).unlink()
    facts = _facts(scratch / "training.json")
    manifest = {
        "format": FORMAT,
        **identity,
        "seconds": round(seconds + facts.pop("earlier_seconds", 0.0), 1),
        "peak_mb": round(peak_mb()),
        "versions": _versions(),
        **facts,
        "files": {path.name: hash_of(path) for path in sorted(scratch.iterdir())},
    }
    write_json(scratch / MANIFEST, manifest)


def _facts(path: Path) -> dict[str, Any]:
    """What the method reports of itself moves into the manifest."""
    facts: dict[str, Any] = json.loads(path.read_text())
    path.unlink()
    return facts


def manifest_of(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself; raises `ModelError` where there is none."""
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is no checkpoint folder ({MANIFEST}: {error}); name one, or tune it again") from error
    if manifest.get("format") != FORMAT:
        raise ModelError(f"{path} has the format {manifest.get('format')!r}, not {FORMAT}; tune it again")
    return manifest


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("bakeoff", "torch", "transformers", "peft", "scikit-learn"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def sha256_of(examples: Sequence[Example]) -> str:
    """Of all that the examples hold."""
    data = json.dumps([fields(example) for example in examples], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(data.encode()).hexdigest()


def hash_of(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def move(scratch: Path, out: Path) -> None:
    """Put a whole checkpoint in the place of an earlier one, which stays until then."""
    for file in scratch.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
    earlier = out.with_name(f".{out.name}.earlier")
    if out.exists():
        shutil.rmtree(earlier, ignore_errors=True)
        out.rename(earlier)
    scratch.rename(out)
    sync_folder(out.parent)
    shutil.rmtree(earlier, ignore_errors=True)
