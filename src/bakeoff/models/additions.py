"""What a checkpoint puts on its base when torch serves it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from bakeoff.models import bottleneck, prefix


def add(model: Any, folder: Path) -> tuple[Any, prefix.Prefix | None]:
    """`model` with the additions of the checkpoint in `folder`, and the prefix that goes before every prompt."""
    if (folder / "adapter_config.json").is_file():
        from bakeoff.models.lowrank import PeftModel

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 reads an attribute that transformers 6 renames
            model = PeftModel.from_pretrained(model, folder).merge_and_unload()
    if (folder / bottleneck.FILE).is_file():
        bottleneck.load(model, folder)
    return model, prefix.load(folder) if (folder / prefix.FILE).is_file() else None
