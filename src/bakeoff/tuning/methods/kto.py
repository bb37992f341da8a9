"""KTO: replies that are good or bad by themselves, not in pairs (Ethayarajh et al. 2024). A LoRA is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from bakeoff.errors import DataError
from bakeoff.tuning import preferences, student, training
from bakeoff.tuning.rows import Row, lesson, rejected, replied, row
from bakeoff.types import Checkpoint, Example


@dataclass(frozen=True, slots=True)
class Judged:
    """A reply with its verdict."""

    row: Row
    good: bool
    other: Row
    """The same prompt with the reply to another one: how far the model has moved in general is measured on it."""
    reference: tuple[float, float] = (0.0, 0.0)
    """Log-probabilities of `row` and `other` before training."""
    moved: float = 0.0
    """How far the model had moved at this step, over the batch."""

    @property
    def size(self) -> int:
        return len(self.row.ids)

    @property
    def weight(self) -> float:
        return 1.0


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
    learning_rate: float = 7e-4,
    epochs: int = 1,
    patience: int = 0,
    batch_size: int = 8,
    max_length: int = 1024,
    progress: training.Progress | None = None,
) -> Checkpoint:
    """Train on replies that are good (`references`, the last of `messages`) and bad (`rejected`); one of both will do.

    The rarer verdict weighs more, so that both count the same. `beta`: how dear it is to move away from the start.
    Raises `DataError` where all replies have the same verdict, or there is only one.
    """
    student.positive("kto", beta=beta)

    def read(pupil: student.Student, model: training.Model) -> preferences.Lessons:
        return _lessons(pupil, model, train, valid, max_length, beta)

    return preferences.fit(
        "kto",
        base,
        out,
        read,
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


def _lessons(
    pupil: student.Student,
    model: training.Model,
    train: Sequence[Example],
    valid: Sequence[Example],
    max_length: int,
    beta: float,
) -> preferences.Lessons:
    train_items, valid_items = _judged(pupil, train, max_length), _judged(pupil, valid, max_length)
    good, cores = sum(item.good for item in train_items), pupil.workers
    if len(train_items) < 2:
        raise DataError("kto: there are fewer than two replies to learn from; add `references` and `rejected` replies")
    if good in (0, len(train_items)):
        raise DataError("kto: all replies have the same verdict; add replies as `rejected`, or use lora")
    shares = {True: len(train_items) / (2 * good), False: len(train_items) / (2 * (len(train_items) - good))}

    def moved(step: int, batch: Sequence[Judged]) -> list[Judged]:
        now = preferences.measured(model, [item.other for item in batch], cores)
        far = sum(value - item.reference[1] for value, item in zip(now, batch, strict=True)) / len(batch)
        return [replace(item, moved=max(0.0, far)) for item in batch]

    def judged_loss(model: training.Model, part: Sequence[Judged]) -> Tensor:
        gain = training.logprobs(model, [item.row for item in part])
        gain = gain - gain.new_tensor([item.reference[0] + item.moved for item in part])
        sign = gain.new_tensor([1.0 if item.good else -1.0 for item in part])
        weights = gain.new_tensor([shares[item.good] for item in part])
        return (weights * (1 - torch.sigmoid(beta * sign * gain))).sum()

    both = [example for example in valid if example.rejected.strip() and replied(example)]
    valid_pairs = preferences.referenced(model, preferences.pairs(pupil, both, max_length), cores)
    return preferences.Lessons(
        _referenced(model, train_items, cores),
        _referenced(model, valid_items, cores),
        judged_loss,
        preferences.preferred(model, valid_pairs, cores),
        moved,
    )


def _judged(pupil: student.Student, examples: Sequence[Example], max_length: int) -> list[Judged]:
    found = []
    for example in examples:
        if replied(example):
            found.append((example, lesson(example), True))
        if example.rejected.strip():
            found.append((example, rejected(example), False))
    # The reply to the next prompt that is another one; where there is none, the next reply.
    prompts, others = [messages[:-1] for _, messages, _ in found], [0] * len(found)
    for place in reversed(range(2 * len(found))):
        here, after = place % len(found), (place + 1) % len(found)
        others[here] = after if prompts[here] != prompts[after] or place == 2 * len(found) - 1 else others[after]

    def encoded(example: Example, messages: tuple) -> Row:  # type: ignore[type-arg]
        return row(example.id, messages, pupil.template, pupil.tokenizer, max_length)

    return [
        Judged(
            encoded(example, messages),
            good,
            encoded(example, (*messages[:-1], found[others[place]][1][-1])),
        )
        for place, (example, messages, good) in enumerate(found)
    ]


def _referenced(model: training.Model, items: Sequence[Judged], cores: int) -> list[Judged]:
    own = preferences.measured(model, [item.row for item in items], cores)
    other = preferences.measured(model, [item.other for item in items], cores)
    return [replace(item, reference=two) for item, two in zip(items, zip(own, other, strict=True), strict=True)]
