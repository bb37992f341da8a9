"""Soft prompt: learnt embeddings before every prompt (prompt tuning, Lester et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
    learning_rate: float = 3e-3,
    epochs: int = 3,
    patience: int = 0,
    batch_size: int = 4,
    max_length: int = 1024,
    progress: training.Progress | None = None,
) -> Checkpoint:
    """Train so many virtual `tokens`, which start as `text`; the model itself stays as it is.

    Raises `DataError` for an example longer than `max_length` tokens: nothing is cut.
    """
    student.positive("soft_prompt", tokens=tokens, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    pupil, embedded = prompts.start("soft_prompt", base, tokens, text)
    model = student.Prompted(pupil.model, embedded, bf16=pupil.bf16)
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
    return pupil.write("soft_prompt", result, out)
