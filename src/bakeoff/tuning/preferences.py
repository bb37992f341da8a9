"""Two replies to one prompt, of which one is better: rows, log-probabilities, and how often a model agrees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bakeoff.errors import DataError
from bakeoff.models.devices import device, enter
from bakeoff.tuning import adapting, student, training
from bakeoff.tuning.rows import Row, lesson, pieces, rejected, row
from bakeoff.tuning.student import Student
from bakeoff.types import Checkpoint, Example


@dataclass(frozen=True, slots=True)
class Pair:
    """One prompt with two replies."""

    chosen: Row
    rejected: Row
    reference: tuple[float, float] = (0.0, 0.0)
    """Log-probabilities of both before training."""

    @property
    def size(self) -> int:
        return 2 * max(len(self.chosen.ids), len(self.rejected.ids))

    @property
    def weight(self) -> float:
        return 1.0


def pairs(student: Student, examples: Sequence[Example], max_length: int) -> list[Pair]:
    """Raises `DataError` for an example without `rejected`, or whose two replies are the same."""
    found = []
    for example in examples:
        messages = lesson(example)
        if not example.rejected.strip():
            raise DataError(f"example {example.id} has no rejected reply; add one as `rejected`, or leave it out")
        if example.rejected == messages[-1].content:
            raise DataError(f"example {example.id}: the rejected reply is the chosen one; correct it, or leave it out")
        chosen, worse = (
            row(example.id, turns, student.template, student.tokenizer, max_length)
            for turns in (messages, rejected(example))
        )
        found.append(Pair(chosen, worse))
    return found


def measured(model: training.Model, rows: Sequence[Row], cores: int) -> list[float]:
    """Log-probability of each row's reply, as the model is now."""
    places = sorted(range(len(rows)), key=lambda place: rows[place].size, reverse=True)
    parts = list(pieces([rows[place] for place in places], training.PIECE_TOKENS))

    def one(part: Sequence[Row]) -> list[float]:
        with torch.no_grad():
            return [float(value) for value in training.logprobs(model, part)]

    model.eval()
    with ThreadPoolExecutor(cores, initializer=enter, initargs=(device(),)) as pool:
        values = [value for part in pool.map(one, parts) for value in part]
    return [value for _, value in sorted(zip(places, values, strict=True))]


def referenced(model: training.Model, found: Sequence[Pair], cores: int) -> list[Pair]:
    """The pairs with the log-probabilities of both replies as the model is now."""
    values = measured(model, [one for pair in found for one in (pair.chosen, pair.rejected)], cores)
    twos = zip(values[::2], values[1::2], strict=True)
    return [replace(pair, reference=two) for pair, two in zip(found, twos, strict=True)]


def both(model: training.Model, part: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """Log-probabilities and tokens, [N, 2] each, of the chosen and the rejected replies; from one batch."""
    found = training.logprobs(model, [pair.chosen for pair in part] + [pair.rejected for pair in part])
    lengths = found.new_tensor([(pair.chosen.trained, pair.rejected.trained) for pair in part])
    return found.view(2, -1).T, lengths


@dataclass(frozen=True, slots=True)
class Lessons:
    """What a LoRA learns preferences from, and how."""

    train: Sequence[Any]
    valid: Sequence[Any]
    loss: Callable[[training.Model, Sequence[Any]], Tensor]
    facts: Callable[[], dict[str, float | None]]
    """What is recorded of the training, asked when it is over."""
    prepare: Callable[[int, Sequence[Any]], Sequence[Any]] = lambda step, batch: batch


def paired(
    train: Sequence[Example],
    valid: Sequence[Example],
    max_length: int,
    loss: Callable[[training.Model, Sequence[Pair]], Tensor],
) -> Callable[[Student, training.Model], Lessons]:
    """Lessons in pairs, each with the log-probabilities from before."""

    def read(pupil: Student, model: training.Model) -> Lessons:
        train_pairs, valid_pairs = (
            referenced(model, pairs(pupil, part, max_length), pupil.workers) for part in (train, valid)
        )
        return Lessons(train_pairs, valid_pairs, loss, preferred(model, valid_pairs, pupil.workers))

    return read


def preferred(model: training.Model, found: Sequence[Pair], cores: int) -> Callable[[], dict[str, float | None]]:
    """Shares of pairs that hold their log-probabilities from before, to be asked for after; None for no pairs.

    `preferred`: the chosen reply is the likelier one, by the mean of its tokens. `rewarded`: it has gained more since,
    which is DPO's implicit reward, so that half of them would be chance.
    """

    def facts() -> dict[str, float | None]:
        now = referenced(model, found, cores)
        gained = [
            after.reference[0] - before.reference[0] > after.reference[1] - before.reference[1]
            for before, after in zip(found, now, strict=True)
        ]
        return {
            "preferred_before": _share(_likelier(found)),
            "preferred_after": _share(_likelier(now)),
            "rewarded_after": _share(gained),
        }

    return facts


def _likelier(found: Sequence[Pair]) -> list[bool]:
    return [pair.reference[0] / pair.chosen.trained > pair.reference[1] / pair.rejected.trained for pair in found]


def _share(verdicts: Sequence[bool]) -> float | None:
    return sum(verdicts) / len(verdicts) if verdicts else None


def fit(
    method: str,
    base: str,
    out: Path,
    read: Callable[[Student, training.Model], Lessons],
    *,
    seed: int,
    start: str,
    rank: int,
    alpha: int,
    targets: str,
    learning_rate: float,
    epochs: int,
    patience: int,
    batch_size: int,
    progress: training.Progress | None,
) -> Checkpoint:
    """Train a LoRA on the lessons that `read` makes for the student and its model, as it is before training."""
    student.positive(method, rank=rank, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    pupil = student.load(base)
    torch.manual_seed(seed)
    adapted = adapting.lora(pupil, method=method, start=start, rank=rank, alpha=alpha, targets=targets)
    model = adapting.whole(adapted)
    lessons = read(pupil, model)
    result = training.train(
        model,
        lessons.train,
        lessons.valid,
        seed=seed,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
        cores=pupil.workers,
        out=out,
        loss=lessons.loss,
        prepare=lessons.prepare,
        progress=progress,
    )
    adapting.save(adapted, pupil, out)
    return pupil.write(method, result, out, **lessons.facts())
