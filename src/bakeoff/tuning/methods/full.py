"""Full: every weight of the model. The checkpoint is a whole model of its own, GGUF for a GGUF base."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bakeoff.tuning import student, training
from bakeoff.types import Checkpoint, Example


def tune(
    base: str,
    train: Sequence[Example],
    valid: Sequence[Example],
    out: Path,
    *,
    seed: int = 0,
    learning_rate: float = 2e-5,
    weight_decay: float = 0.01,
    epochs: int = 2,
    patience: int = 0,
    batch_size: int = 4,
    max_length: int = 1024,
    progress: training.Progress | None = None,
) -> Checkpoint:
    """Train on the assistant's last message of each example and keep the epoch that is best on `valid`.

    Takes memory for five copies of the weights in fp32: they, their gradient, two moments, the best so far.
    Raises `DataError` for an example longer than `max_length` tokens: nothing is cut.
    """
    student.positive("full", epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    pupil = student.load(base)
    train_rows, valid_rows = pupil.rows(train, max_length), pupil.rows(valid, max_length)
    pupil.model.requires_grad_(True)
    result = training.train(
        student.Whole(pupil.model, bf16=pupil.bf16),
        train_rows,
        valid_rows,
        seed=seed,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        multiplied=pupil.multiplied(),
        weight_decay=weight_decay,
        patience=patience,
        cores=pupil.workers,
        out=out,
        progress=progress,
    )
    pupil.write_model(out)
    return pupil.write("full", result, out)
