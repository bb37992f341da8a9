"""DPO: prefer the chosen reply to the rejected one, relative to where the model started (Rafailov et al. 2023).

A LoRA is trained; `start` names the checkpoint of an SFT, so base -> SFT -> preferences is one adapter in the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

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
    loss: Literal["sigmoid", "ipo"] = "sigmoid",
    beta: float = 0.1,
    start: str = "",
    rank: int = 16,
    alpha: int = 32,
    targets: str = "all-linear",
    learning_rate: float = 1e-4,
    epochs: int = 1,
    patience: int = 0,
    batch_size: int = 8,
    max_length: int = 1024,
    progress: training.Progress | None = None,
) -> Checkpoint:
    """Train on examples with `rejected`; the log-probabilities of the reference are computed once, before.

    `beta`: how dear it is to move away from the start. `ipo` wants a margin of 1 / (2 beta) a token instead of ever
    more (Azar et al. 2023). The share of validation pairs whose chosen reply is likelier is recorded before and after.
    Raises `DataError` for an example without a rejected reply.
    """
    student.positive("dpo", beta=beta)

    def pair_loss(model: training.Model, part: Sequence[Pair]) -> Tensor:
        replies, lengths = preferences.both(model, part)
        return losses(replies, replies.new_tensor([pair.reference for pair in part]), lengths, beta, loss).sum()

    return preferences.fit(
        "dpo",
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


def losses(replies: Tensor, reference: Tensor, lengths: Tensor, beta: float, kind: str) -> Tensor:
    """The loss [N] of pairs; all three [N, 2] are of the chosen and the rejected reply: log-probabilities and tokens.

    `sigmoid`: equation 7 of the DPO paper. `ipo`: equation 17 of the IPO paper, by the mean of the tokens as TRL does.
    """
    gains = replies - reference
    if kind == "sigmoid":
        return -logsigmoid(beta * (gains[:, 0] - gains[:, 1]))
    means = gains / lengths
    return (means[:, 0] - means[:, 1] - 1 / (2 * beta)) ** 2
