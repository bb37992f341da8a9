"""What prefix, soft prompt and p-tuning share: where they start, and how they are trained.

They start as a text that any reader would take for an instruction: from random numbers the same methods end far worse
and forget more (PEFT's method comparison: .057 against .416 of GSM8K).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from bakeoff.errors import ConfigError
from bakeoff.models import prefix
from bakeoff.tuning import training
from bakeoff.tuning.processes import team
from bakeoff.tuning.student import Prefixed, Prompted, Student, load
from bakeoff.types import Example

TEXT = "You are a careful assistant. Answer what is asked correctly, briefly, and in the form that was asked for. "


def start(method: str, base: str, tokens: int, text: str) -> tuple[Student, Tensor]:
    """`base`, ready to train behind, and its embeddings [tokens, H] of `text`, repeated or cut to that many tokens.

    Raises `ConfigError` for a text without tokens.
    """
    student = load(base)
    ids = student.tokenizer.encode(text, add_special_tokens=False).ids
    if not ids:
        raise ConfigError(f"{method}: text is empty; leave it out, or write what the prompt should start as")
    student.model.to(torch.bfloat16 if student.bf16 else torch.float32)
    repeated = (ids * (tokens // len(ids) + 1))[:tokens]
    embedded: Tensor = student.model.get_input_embeddings()(
        torch.tensor(repeated, device=student.model.device)
    ).detach()
    return student, embedded


def fit(
    model: Prefixed | Prompted,
    student: Student,
    train: Sequence[Example],
    valid: Sequence[Example],
    out: Path,
    *,
    seed: int,
    max_length: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    patience: int,
    progress: training.Progress | None,
) -> training.Training:
    """Train, and write the prefix that the learnt numbers come down to."""
    result = training.train(
        model,
        student.rows(train, max_length),
        student.rows(valid, max_length),
        seed=seed,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
        cores=student.workers,
        out=out,
        progress=progress,
    )
    with torch.no_grad():
        if isinstance(model, Prefixed):
            made = prefix.Prefix(model.keys.detach(), model.values.detach())
        else:
            # In fp32, as it is served; a model that is cut keeps buffers of the precision it was trained in.
            served = student.model if team().shards else student.model.float()
            made = prefix.of(served, model.vectors())
    made.save(out)
    return result
