"""The training loop: plain torch, the same for all methods that train by gradient.

Each core computes the gradient of its own piece of a batch, and the sums meet once a step. Cores that share every
matrix product meet thousands of times, and wait for the slowest each time: beside one other busy process that
was 5 times slower (docs/log.md).
"""

from __future__ import annotations

import csv
import math
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bakeoff.files import write_json
from bakeoff.models.chat import Template
from bakeoff.tuning.rows import Row, batches, pieces

Progress = Callable[[int, int, str], None]

PIECE_TOKENS = 512
"""Tokens of one forward and backward pass, padding included; bounds memory, and does not change the result."""
WARM_UP = 0.1
"""Share of the steps in which the learning rate rises."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of history.csv."""

    step: int
    epoch: int
    loss: float
    valid_loss: float | None
    """After the last step of each epoch."""
    learning_rate: float
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class Training:
    """What happened; the model holds the weights of the best epoch."""

    steps: tuple[Step, ...]
    best_step: int
    valid_loss_before: float | None
    valid_loss_after: float | None
    tokens_per_second: float
    train_seconds: float


def train(
    model: Any,
    train_rows: Sequence[Row],
    valid_rows: Sequence[Row],
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    cores: int,
    progress: Progress | None = None,
) -> Training:
    """Minimise the loss of the trained tokens with AdamW; keep the epoch that is best on `valid_rows`, else the last.

    `model` is a causal language model whose parameters to train require gradients. The number of `cores` changes
    no bit of the result, unless the model draws random numbers.
    """
    shuffle = random.Random(seed)
    plan = [(epoch, batch) for epoch in range(1, epochs + 1) for batch in batches(train_rows, batch_size, shuffle)]
    total = sum(len(row.ids) for _, batch in plan for row in batch)
    learner = _Learner(model, cores)
    before = learner.loss(valid_rows)
    best, best_loss, best_step = learner.copies(), math.inf, 0
    steps: list[Step] = []
    done, seconds = 0, 0.0
    for number, (epoch, batch) in enumerate(plan, start=1):
        start = time.perf_counter()
        rate = learning_rate * _schedule(number, len(plan))
        loss = learner.step(batch, rate)
        seconds += time.perf_counter() - start
        done += sum(len(row.ids) for row in batch)
        last_of_epoch = number == len(plan) or plan[number][0] != epoch
        valid_loss = learner.loss(valid_rows) if last_of_epoch else None
        steps.append(Step(number, epoch, loss, valid_loss, rate, done / seconds))
        if last_of_epoch and (valid_loss is None or valid_loss < best_loss):
            best, best_loss, best_step = learner.copies(), valid_loss or math.inf, number
        if progress:
            progress(done, total, f"training: loss {loss:.2f}")
    learner.restore(best)
    after = None if before is None else best_loss
    return Training(tuple(steps), best_step, before, after, done / seconds, seconds)


class _Learner:
    """A model that takes steps of AdamW, the pieces of a batch spread over the cores."""

    def __init__(self, model: Any, cores: int) -> None:
        self._model = model
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(self._parameters, weight_decay=0.0)
        torch.set_num_threads(1)
        self._cores = ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,))

    def step(self, batch: Sequence[Row], rate: float) -> float:
        """One step at the learning rate `rate`; the pieces add up to exactly the whole batch's gradient."""
        self._model.train()
        losses, gradients = zip(*self._cores.map(self._gradients, pieces(batch, PIECE_TOKENS)), strict=True)
        trained = sum(row.trained for row in batch)
        # Summed in the order of the pieces, whichever core was first: the same seed gives the same weights.
        for parameter, parts in zip(self._parameters, zip(*gradients, strict=True), strict=True):
            parameter.grad = sum(parts[1:], start=parts[0]) / trained
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        return float(sum(losses)) / trained

    def loss(self, rows: Sequence[Row]) -> float | None:
        """Mean loss of a trained token, without dropout; None for no rows."""
        if not rows:
            return None
        self._model.eval()
        return sum(self._cores.map(self._loss, pieces(rows, PIECE_TOKENS))) / sum(row.trained for row in rows)

    def copies(self) -> list[Tensor]:
        return [parameter.detach().clone() for parameter in self._parameters]

    def restore(self, copies: Sequence[Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self._parameters, copies, strict=True):
                parameter.copy_(value)

    def _gradients(self, piece: Sequence[Row]) -> tuple[float, tuple[Tensor, ...]]:
        loss = piece_loss(self._model, piece)
        return float(loss.detach()), torch.autograd.grad(loss, self._parameters)

    def _loss(self, piece: Sequence[Row]) -> float:
        with torch.no_grad():
            return float(piece_loss(self._model, piece))


def piece_loss(model: Any, rows: Sequence[Row]) -> Tensor:
    """Summed loss of the trained tokens of `rows`, right-padded into one batch [B, T].

    Logits are computed for the trained positions only: over a vocabulary of 49,152 all of them would take
    longer than the rest of the model.
    """
    longest = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    places: list[int] = []
    targets: list[int] = []
    for number, row in enumerate(rows):
        ids[number, : len(row.ids)] = torch.tensor(row.ids)
        mask[number, : len(row.ids)] = 1
        # The state at a position predicts the token after it.
        places += [number * longest + place - 1 for place in range(row.prompt, len(row.ids))]
        targets += row.ids[row.prompt :]
    # Under autocast the fp32 parameters of an adapter work on the base's bfloat16 states.
    with torch.autocast("cpu", torch.bfloat16, enabled=model.dtype == torch.bfloat16, cache_enabled=False):
        states = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        logits = model.get_output_embeddings()(states.flatten(0, 1)[places])
    return cross_entropy(logits.float(), torch.tensor(targets), reduction="sum")


def write(result: Training, template: Template, out: Path) -> None:
    """history.csv, a line a step, and training.json, which `tuning.run` takes into the manifest."""
    with (out / "history.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(Step.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(asdict(step) for step in result.steps)
    facts = {key: value for key, value in asdict(result).items() if key != "steps"}
    write_json(out / "training.json", facts | {"template_sha256": template.sha256})


def _schedule(step: int, steps: int) -> float:
    """Share of the learning rate: linear warm-up, then a cosine down to zero."""
    warm = max(1, round(WARM_UP * steps))
    if step <= warm:
        return step / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm + 1)))
