"""Pretrain: go on reading, on raw documents instead of conversations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from bakeoff.errors import ConfigError, DataError
from bakeoff.tuning import adapting, student, training
from bakeoff.tuning.rows import Row
from bakeoff.types import Checkpoint, Example


def tune(
    base: str,
    train: Sequence[Example],
    valid: Sequence[Example],
    out: Path,
    *,
    seed: int = 0,
    weights: Literal["all", "lora"] = "all",
    rank: int = 64,
    alpha: int = 128,
    learning_rate: float = 5e-5,
    weight_decay: float = 0.01,
    epochs: int = 3,
    patience: int = 0,
    batch_size: int = 8,
    window: int = 256,
    progress: training.Progress | None = None,
) -> Checkpoint:
    """Train on every token of each example's text, cut into windows; keep the epoch that is best on `valid`.

    A window never holds two documents. `weights`: all of them, or a LoRA of `rank` and `alpha`, at ten times the
    learning rate. Raises `DataError` for an example without text.
    """
    student.positive("pretrain", rank=rank, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    if window < 2:
        raise ConfigError(
            f"pretrain: window is {window}, but must be 2 or more: each token is learnt from those before"
        )
    pupil = student.load(base)
    train_rows, valid_rows = _windows(pupil, train, window), _windows(pupil, valid, window)
    torch.manual_seed(seed)
    adapted = None
    if weights == "lora":
        adapted = adapting.lora(pupil, method="pretrain", rank=rank, alpha=alpha)
        model = adapting.whole(adapted)
    else:
        pupil.model.requires_grad_(True)
        model = student.Whole(pupil.model, bf16=pupil.bf16)
    result = training.train(
        model,
        train_rows,
        valid_rows,
        seed=seed,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate * (10 if adapted else 1),
        multiplied=() if adapted else pupil.multiplied(),
        weight_decay=weight_decay,
        patience=patience,
        cores=pupil.workers,
        out=out,
        progress=progress,
    )
    if adapted:
        adapting.save(adapted, pupil, out)
    else:
        pupil.write_model(out)
    return pupil.write("pretrain", result, out)


def _windows(pupil: student.Student, examples: Sequence[Example], size: int) -> list[Row]:
    found = []
    for example in examples:
        ids = pupil.tokenizer.encode(example.text, add_special_tokens=False).ids
        # The token before a window is its context, so that the first one of it is learnt too.
        starts = range(0, max(1, len(ids) - 1), size - 1)
        cut = [Row(tuple(ids[start : start + size]), 1) for start in starts]
        found += [row for row in cut if row.trained > 0]
        if not example.text.strip():
            raise DataError(f"example {example.id} has no text to learn; leave it out")
    return found
