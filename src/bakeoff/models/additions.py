"""What a checkpoint puts on its base when torch serves it."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bakeoff.models import bottleneck, prefix
from bakeoff.models.prefix import Prefix


class Switch:
    """One base in memory; while a checkpoint is asked, its layers stand in the places of the base's, which they wrap.

    One request at a time computes, so that none meets another's layers.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._plain = dict(model.named_modules())
        self._known: dict[Path | None, tuple[Mapping[str, Any], Prefix | None]] = {None: ({}, None)}
        self._now: Mapping[str, Any] = {}
        self._lock = threading.RLock()

    @contextmanager
    def on(self, checkpoint: Path | None) -> Iterator[Any]:
        """The model with what the checkpoint in that folder adds to it; None for the plain base."""
        with self._lock:
            layers, _ = self._additions(checkpoint)
            if layers is not self._now:
                self._place(layers)
            yield self._model

    def before(self, checkpoint: Path | None) -> Prefix | None:
        """What goes before every prompt."""
        with self._lock:
            return self._additions(checkpoint)[1]

    def _additions(self, folder: Path | None) -> tuple[Mapping[str, Any], Prefix | None]:
        if folder is not None and folder not in self._known:
            self._place({})
            try:
                model, found = add(self._model, folder, merge=False)
                model.eval()
                made = dict(self._model.named_modules())
                layers = {name: made[name] for name, plain in self._plain.items() if made[name] is not plain}
            finally:
                self._place(self._plain)
                vars(self._model).pop("peft_config", None)  # PEFT warns of a model that it changed before
            self._known[folder] = layers, found.to(self._model.device) if found else None
        return self._known[folder]

    def _place(self, layers: Mapping[str, Any]) -> None:
        for name in {**self._now, **layers}:
            if name:  # "" is the model itself
                parent, _, own = name.rpartition(".")
                setattr(self._plain[parent], own, layers.get(name, self._plain[name]))
        self._now = layers


def add(model: Any, folder: Path, *, merge: bool = True) -> tuple[Any, Prefix | None]:
    """`model` with the additions of the checkpoint in `folder`, and the prefix that goes before every prompt.

    `merge`: add low-rank matrices to the model's own, for good.
    """
    if (folder / "adapter_config.json").is_file():
        from bakeoff.models.lowrank import PeftModel

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 reads an attribute that transformers 6 renames
            adapted = PeftModel.from_pretrained(model, folder)
        model = adapted.merge_and_unload() if merge else adapted
    if (folder / bottleneck.FILE).is_file():
        bottleneck.load(model, folder)
    return model, prefix.load(folder) if (folder / prefix.FILE).is_file() else None
