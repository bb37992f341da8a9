"""Read files in a child process with limits, so that a hostile or broken one costs itself only.

The child speaks JSON lines: a loader's name and a path in, text or a reason out. It lives on from file to file and is
replaced when it dies or hangs.
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import IO, Any

from bakeoff import plugins
from bakeoff.corpus.loaders import Loaded
from bakeoff.errors import BakeoffError, DataError

MEMORY = 1 << 30
"""Bytes of address space."""
SECONDS = 60.0
"""For one file, by the clock: a busy machine is no fault of the file's."""
CPU_SECONDS = 20
"""For one file."""
FILE_BYTES = 200 << 20
TEXT_CHARACTERS = 50_000_000
PASSED = ("PATH", "PYTHONPATH", "LANG", "HOME", "BAKEOFF_OCR", "TESSDATA_PREFIX")
"""Of the environment; keys in it are none of a parser's business."""
ARCHIVE_ENTRIES = 10_000
ARCHIVE_BYTES = 300 << 20
ARCHIVE_RATIO = 200


class Parser:
    """Runs loaders elsewhere; use it in a `with`."""

    def __init__(self, *, seconds: float = SECONDS, cpu_seconds: int = CPU_SECONDS) -> None:
        self._seconds = seconds
        self._cpu_seconds = cpu_seconds
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Parser:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def load(self, loader: str, path: Path, seconds: float = 0.0) -> Loaded:
        """What `loader` reads from `path`; raises `DataError` with the reason in plain words.

        `seconds`: by the clock, where it is not what the parser grants to all.
        """
        seconds = seconds or self._seconds
        child = self._child or self._start()
        assert child.stdin and child.stdout
        try:
            child.stdin.write(json.dumps([loader, str(path)]).encode() + b"\n")
            child.stdin.flush()
            reply = json.loads(_line(child.stdout, seconds))
        except TimeoutError as error:
            self._stop()
            raise DataError(f"reading it took more than {seconds:.0f} s") from error
        except (BrokenPipeError, EOFError, json.JSONDecodeError) as error:
            slow = child.wait() == -signal.SIGXCPU
            self._stop()
            limit = f"{self._cpu_seconds} s of processor time" if slow else f"{MEMORY >> 30} GiB"
            raise DataError(f"reading it {'' if slow else 'crashed the parser or '}took more than {limit}") from error
        if "reason" in reply:
            raise DataError(reply["reason"])
        pairs = {key: tuple((start, name) for start, name in reply[key]) for key in ("sections", "places")}
        return Loaded(**reply | pairs | {key: tuple(reply[key]) for key in ("pages", "unread")})

    def _start(self) -> subprocess.Popen[bytes]:
        # One BLAS thread: the stacks of many would use up the address space.
        environment = {key: os.environ[key] for key in PASSED if key in os.environ}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "bakeoff.corpus.parsing", str(self._cpu_seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environment, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        return self._child

    def _stop(self) -> None:
        if self._child is not None:
            with suppress(ProcessLookupError):  # with what it started: text recognition
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.communicate()
            self._child = None


def _line(stream: IO[bytes], seconds: float) -> bytes:
    """One line, or `TimeoutError`, or `EOFError`."""
    deadline = time.monotonic() + seconds
    parts: list[bytes] = []
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while not (parts and parts[-1].endswith(b"\n")):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            part = os.read(stream.fileno(), 1 << 20)
            if not part:
                raise EOFError
            parts.append(part)
    return b"".join(parts)


# ---------------------------------------------------------------- in the child


def _serve(cpu_seconds: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _leave_network()
    # A library that prints must not break the protocol.
    # A lone surrogate, as in a name that is not UTF-8, can be neither stored nor printed.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    os.dup2(2, 1)
    for line in sys.stdin:
        loader, path = json.loads(line)
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + 1 + cpu_seconds
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        print(json.dumps(_read(loader, Path(path)), ensure_ascii=False), file=out, flush=True)


def _leave_network() -> None:
    """Move into an empty network of its own where the system allows it (Linux, as root or with user namespaces)."""
    new_user, new_network = 0x10000000, 0x40000000
    try:
        unshare = ctypes.CDLL(None).unshare
    except AttributeError:
        return
    if unshare(new_network) != 0:
        unshare(new_network | new_user)


@cache
def _loader(name: str) -> Callable[[Path], Loaded]:
    """Looked up once: installed packages are searched for it, which takes longer than reading a small file."""
    load: Callable[[Path], Loaded] = plugins.module("loaders", name).load
    return load


def _read(loader: str, path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > FILE_BYTES:
            return {"reason": f"larger than {FILE_BYTES >> 20} MB; split it"}
        _check_archive(path)
        loaded = _loader(loader)(path)
    except (BakeoffError, ValueError) as error:
        return {"reason": " ".join(str(error).split())[:300] or type(error).__name__}
    except MemoryError:
        return {"reason": f"reading it takes more than {MEMORY >> 30} GiB"}
    except zipfile.BadZipFile as error:
        return {"reason": f"damaged, or not what its name says ({error}); open and save it again"}
    except RecursionError:
        return {"reason": "nested too deeply"}
    except Exception as error:  # a parser meeting a broken file raises anything
        return {"reason": f"cannot be read ({type(error).__name__}: {' '.join(str(error).split())[:200]})"}
    if len(loaded.text) > TEXT_CHARACTERS:
        return {"reason": f"its text is longer than {TEXT_CHARACTERS:,} characters; split it"}
    return asdict(loaded)


def _check_archive(path: Path) -> None:
    """Look at what a zip file says of itself before anything is unpacked."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries) or 1
    if (
        len(entries) > ARCHIVE_ENTRIES
        or unpacked > ARCHIVE_BYTES
        or (unpacked > 10 << 20 and unpacked / packed > ARCHIVE_RATIO)
    ):
        raise ValueError(f"unpacks to {len(entries):,} files and {unpacked >> 20:,} MB: refused as an archive bomb")


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
