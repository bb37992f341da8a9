"""P-tuning: a soft prompt that a small network works over while it is trained (Liu et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

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
    learning_rate: float = 1e-3,
    epochs: int = 3,
    patience: int = 0,
    batch_size: int = 4,
    max_length: int = 1024,
    progress: training.Progress | None = None,
) -> Checkpoint:
    """Train so many virtual `tokens`, which start as `text`; the model itself stays as it is.

    Raises `DataError` for an example longer than `max_length` tokens: nothing is cut.
    """
    student.positive("p_tuning", tokens=tokens, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    pupil, embedded = prompts.start("p_tuning", base, tokens, text)
    torch.manual_seed(seed)
    width = embedded.shape[1]
    last = nn.Linear(width, width)
    nn.init.zeros_(last.weight)  # it starts as the text, not as noise
    nn.init.zeros_(last.bias)
    encoder = nn.Sequential(nn.Linear(width, width), nn.Tanh(), last).to(embedded.device)
    model = student.Prompted(pupil.model, embedded, bf16=pupil.bf16, encoder=encoder)
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
    return pupil.write("p_tuning", result, out)
