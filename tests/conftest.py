"""Fixtures: a project of the demo company that needs no model."""

from __future__ import annotations

import os
import shutil
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


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The demo company's folder with doubles in place of models."""
    folder = tmp_path / "company"
    shutil.copytree(DEMO / "documents", folder / "documents")
    shutil.copyfile(DEMO / "shop.db", folder / "shop.db")
    shutil.copyfile(DEMO / "questions.jsonl", folder / "questions.jsonl")
    (folder / "bakeoff.toml").write_text(TOML)
    return folder
