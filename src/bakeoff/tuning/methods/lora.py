"""LoRA: a low-rank addition to every linear layer, trained on the weights that are served.

Writes a PEFT adapter, and for a GGUF base the same adapter as GGUF: one base in memory, many adapters beside it. A GGUF
base is de-quantised for training, so the adapter is fitted to the quantised weights that it will stand on (as QLoRA's).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from bakeoff.tuning import adapting, student, training
from bakeoff.types import Checkpoint, Example


def tune(
    base: str,
    train: Sequence[Example],
    valid: Sequence[Example],
    out: Path,
    *,
    seed: int = 0,
    rank: int = 16,
    alpha: int = 32,
    dropout: float = 0.0,
    rslora: bool = False,
    dora: bool = False,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    epochs: int = 2,
    patience: int = 0,
    batch_size: int = 4,
    max_length: int = 1024,
    targets: str = "all-linear",
    bits: int = 16,
    start: str = "",
    progress: training.Progress | None = None,
) -> Checkpoint:
    """Train on the assistant's last message of each example and keep the epoch that is best on `valid`.

    `targets`: `all-linear`, or names of layers separated by commas, as in `q_proj,v_proj`. `start`: a checkpoint whose
    LoRA is trained further; its rank, alpha and targets hold. `rslora` scales by alpha / sqrt(rank); `dora` trains a
    length and a direction of each weight. `bits`: 4 keeps the base's linear layers in NF4 while they are trained on, as
    QLoRA does (needs the extra `qlora`); 16 as they are. `dropout` above 0 trains on one core, for its random numbers
    are one stream.
    Raises `DataError` for an example longer than `max_length` tokens: nothing is cut.
    """
    student.positive("lora", rank=rank, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    pupil = student.load(base)
    train_rows, valid_rows = pupil.rows(train, max_length), pupil.rows(valid, max_length)
    torch.manual_seed(seed)
    model = adapting.lora(
        pupil,
        method="lora",
        start=start,
        rank=rank,
        alpha=alpha,
        dropout=dropout,
        targets=targets,
        rslora=rslora,
        dora=dora,
        bits=bits,
    )
    result = training.train(
        adapting.whole(model),
        train_rows,
        valid_rows,
        seed=seed,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        patience=patience,
        cores=1 if dropout else pupil.workers,
        out=out,
        progress=progress,
    )
    adapting.save(model, pupil, out)
    return pupil.write("lora", result, out)
