"""Prefix tuning: learnt keys and values before every prompt, in each layer (Li and Liang 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bakeoff.models import prefix
from bakeoff.tuning import prompts, student, training
from bakeoff.types import Checkpoint, Example


def tune(
    base: str,
    train: Sequence[Example],
    valid: Sequence[Example],
    out: Path,
    *,
    seed: int = 0,
    tokens: int = 30,
    text: str = prompts.TEXT,
    learning_rate: float = 5e-3,
    epochs: int = 3,
    patience: int = 0,
    batch_size: int = 4,
    max_length: int = 1024,
    progress: training.Progress | None = None,
) -> Checkpoint:
    """Train so many virtual `tokens`, which start as `text`; the model itself stays as it is.

    Raises `DataError` for an example longer than `max_length` tokens: nothing is cut.
    """
    student.positive("prefix", tokens=tokens, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    pupil, embedded = prompts.start("prefix", base, tokens, text)
    model = student.Prefixed(pupil.model, prefix.of(pupil.model, embedded), bf16=pupil.bf16)
    result = prompts.fit(
        model,
        pupil,
        train,
        valid,
        out,
        seed=seed,
        max_length=max_length,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
        progress=progress,
    )
    return pupil.write("prefix", result, out)
