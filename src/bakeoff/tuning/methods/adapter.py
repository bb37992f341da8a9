"""Adapters: small layers behind each attention and MLP (bottleneck, Houlsby et al. 2019), or learnt scales (IA3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from bakeoff.models import bottleneck
from bakeoff.models.lowrank import IA3Config
from bakeoff.tuning import adapting, sharding, student, training
from bakeoff.types import Checkpoint, Example


def tune(
    base: str,
    train: Sequence[Example],
    valid: Sequence[Example],
    out: Path,
    *,
    seed: int = 0,
    kind: Literal["bottleneck", "ia3"] = "bottleneck",
    size: int = 32,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    epochs: int = 2,
    patience: int = 0,
    batch_size: int = 4,
    max_length: int = 1024,
    progress: training.Progress | None = None,
) -> Checkpoint:
    """Train on the assistant's last message of each example and keep the epoch that is best on `valid`.

    `size`: width of the bottleneck; `ia3` has none, and wants a learning rate ten times as high.
    Raises `DataError` for an example longer than `max_length` tokens: nothing is cut.
    """
    student.positive("adapter", size=size, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    pupil = student.load(base)
    train_rows, valid_rows = pupil.rows(train, max_length), pupil.rows(valid, max_length)
    torch.manual_seed(seed)
    peft: Any = None
    inserted: dict[str, bottleneck.Bottleneck] = {}
    if kind == "ia3":
        config = IA3Config(
            task_type="CAUSAL_LM",
            target_modules=["k_proj", "v_proj", "down_proj"],
            feedforward_modules=["down_proj"],
        )
        peft = adapting.adapted(pupil, config, method="adapter")
        model = adapting.whole(peft)
    else:
        fast = pupil.bf16
        pupil.model.to(torch.bfloat16 if fast else torch.float32)
        inserted = bottleneck.insert(pupil.model, size)
        model = student.Whole(pupil.model, bf16=fast)
    result = training.train(
        model,
        train_rows,
        valid_rows,
        seed=seed,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        patience=patience,
        cores=pupil.workers,
        out=out,
        progress=progress,
    )
    if peft:
        adapting.save(peft, pupil, out)
    else:
        bottleneck.save(sharding.whole(bottleneck.state(inserted)), out)
    return pupil.write("adapter", result, out)
