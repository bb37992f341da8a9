"""ORPO: learn the chosen reply and make it likelier than the rejected one in one go, without a reference model.

Hong et al. 2024. A LoRA is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from bakeoff.tuning import preferences, student, training
from bakeoff.tuning.preferences import Pair
from bakeoff.types import Checkpoint, Example


def tune(
    base: str,
    train: Sequence[Example],
    valid: Sequence[Example],
    out: Path,
    *,
    seed: int = 0,
    beta: float = 0.1,
    start: str = "",
    rank: int = 16,
    alpha: int = 32,
    targets: str = "all-linear",
    learning_rate: float = 3e-4,
    epochs: int = 2,
    patience: int = 0,
    batch_size: int = 8,
    max_length: int = 1024,
    progress: training.Progress | None = None,
) -> Checkpoint:
    """Train on examples with `rejected`. `beta`: weight of the odds ratio beside the likelihood of the chosen reply.

    The share of validation pairs whose chosen reply is likelier is recorded before and after.
    Raises `DataError` for an example without a rejected reply.
    """
    student.positive("orpo", beta=beta)

    def pair_loss(model: training.Model, part: Sequence[Pair]) -> Tensor:
        replies, lengths = preferences.both(model, part)
        return losses(replies / lengths, beta).sum()

    return preferences.fit(
        "orpo",
        base,
        out,
        preferences.paired(train, valid, max_length, pair_loss),
        seed=seed,
        start=start,
        rank=rank,
        alpha=alpha,
        targets=targets,
        learning_rate=learning_rate,
        epochs=epochs,
        patience=patience,
        batch_size=batch_size,
        progress=progress,
    )


def losses(means: Tensor, beta: float) -> Tensor:
    """The loss [N] of pairs: equation 6 of the paper; `means` [N, 2]: log-probability of a token of each reply."""
    odds = means - torch.log1p(-torch.exp(means.clamp(max=-1e-6)))
    return -means[:, 0] - beta * logsigmoid(odds[:, 0] - odds[:, 1])
