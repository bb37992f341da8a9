"""Where a training stands, written so that it can go on after it was killed, even while it was writing.

A state is a folder: tensors.safetensors, then state.json with its sha256; it appears complete, by a rename. Two are
kept: where the newer one was damaged, the training goes on from the older one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load, save_file
from torch import Tensor

from bakeoff.files import sync_folder, write_json

KEPT = 2


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write the state after `step`."""
    folder.mkdir(parents=True, exist_ok=True)
    scratch, target = folder / ".partial", folder / f"{step:08d}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    file = scratch / "tensors.safetensors"
    save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, file)
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        os.fsync(stream.fileno())
    write_json(scratch / "state.json", {**facts, "step": step, "sha256": digest})
    shutil.rmtree(target, ignore_errors=True)
    scratch.rename(target)
    sync_folder(folder)
    for old in sorted(folder.glob("[0-9]*"))[:-KEPT]:
        shutil.rmtree(old)


def newest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and facts of the newest state that is whole; None where there is none."""
    for state in sorted(folder.glob("[0-9]*"), reverse=True):
        try:
            facts: dict[str, Any] = json.loads((state / "state.json").read_text())
            data = (state / "tensors.safetensors").read_bytes()
            if hashlib.sha256(data).hexdigest() == facts["sha256"]:
                return load(data), facts
        except (OSError, ValueError, KeyError):  # damaged: the one before it is taken
            continue
    return None
