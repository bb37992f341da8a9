"""The demo with its real models, at length: `make test-slow`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def bakeoff(folder: Path, *arguments: str) -> str:
    """The command without a network, where the system lets us take it away."""
    offline = ["unshare", "--net", "--map-root-user"] if shutil.which("unshare") else []
    if offline and subprocess.run([*offline, "true"], check=False, capture_output=True).returncode != 0:
        offline = []
    code = "from bakeoff.cli import main; main()"
    command = [*offline, "sh", "-c", 'ip link set lo up 2>/dev/null; exec "$0" "$@"', sys.executable, "-c", code]
    result = subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_demo_runs_offline_and_the_same_seed_gives_the_same_table(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from bakeoff.evaluation.compare import load

    tables = []
    for name in ("one", "two"):
        bakeoff(tmp_path, "init", name, "--demo")
        bakeoff(tmp_path / name, "compare", "--limit", "6")
        tables.append(load(tmp_path / name / "runs" / "latest").table_text(timings=False))
    assert tables[0] == tables[1]
    checkpoints = [
        (tmp_path / name / "checkpoints" / "reader" / "adapter_model.safetensors").read_bytes()
        for name in ("one", "two")
    ]
    assert checkpoints[0] == checkpoints[1]
