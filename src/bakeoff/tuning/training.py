"""The training loop: plain torch, the same for all methods that train by gradient."""

from __future__ import annotations

import csv
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bakeoff.files import write_json
from bakeoff.models.chat import Template
from bakeoff.models.llama import free_cores
from bakeoff.tuning.rows import Row, batches, pieces

Progress = Callable[[int, int, str], None]

PIECE_TOKENS = 2048
"""Tokens of one forward and backward pass; bounds memory (about 3 GB for 135M weights), not the result."""
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
    progress: Progress | None = None,
) -> Training:
    """Minimise the loss of the trained tokens with AdamW; keep the epoch that is best on `valid_rows`, else the last.

    `model` is a causal language model whose parameters to train require gradients.
    """
    torch.set_num_threads(free_cores())
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0)
    shuffle = random.Random(seed)
    plan = [(epoch, batch) for epoch in range(1, epochs + 1) for batch in batches(train_rows, batch_size, shuffle)]
    total = sum(len(row.ids) for _, batch in plan for row in batch)
    before = loss_of(model, valid_rows)
    best, best_loss, best_step = _copies(parameters), math.inf, 0
    steps: list[Step] = []
    done, seconds = 0, 0.0
    for number, (epoch, batch) in enumerate(plan, start=1):
        start = time.perf_counter()
        rate = learning_rate * _schedule(number, len(plan))
        loss = _update(model, batch, optimizer, parameters, rate)
        seconds += time.perf_counter() - start
        done += sum(len(row.ids) for row in batch)
        last_of_epoch = number == len(plan) or plan[number][0] != epoch
        valid_loss = loss_of(model, valid_rows) if last_of_epoch else None
        steps.append(Step(number, epoch, loss, valid_loss, rate, done / seconds))
        if last_of_epoch and (valid_loss is None or valid_loss < best_loss):
            best, best_loss, best_step = _copies(parameters), valid_loss or math.inf, number
        if progress:
            progress(done, total, f"loss {loss:.2f}")
    with torch.no_grad():
        for parameter, value in zip(parameters, best, strict=True):
            parameter.copy_(value)
    after = None if before is None else best_loss
    return Training(tuple(steps), best_step, before, after, done / seconds, seconds)


def loss_of(model: Any, rows: Sequence[Row]) -> float | None:
    """Mean loss of a trained token, without dropout; None for no rows."""
    if not rows:
        return None
    model.eval()
    with torch.no_grad():
        total = sum(float(piece_loss(model, piece)) for piece in pieces(rows, PIECE_TOKENS))
    return total / sum(row.trained for row in rows)


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
    with torch.autocast("cpu", torch.bfloat16, enabled=model.dtype == torch.bfloat16):
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


def _update(model: Any, batch: Sequence[Row], optimizer: Any, parameters: Sequence[Tensor], rate: float) -> float:
    """One step of the optimiser; pieces of the batch add up to exactly the whole batch's gradient."""
    model.train()
    for group in optimizer.param_groups:
        group["lr"] = rate
    trained = sum(row.trained for row in batch)
    loss = 0.0
    for piece in pieces(batch, PIECE_TOKENS):
        part: Any = piece_loss(model, piece) / trained
        part.backward()
        loss += float(part.detach())
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss


def _schedule(step: int, steps: int) -> float:
    """Share of the learning rate: linear warm-up, then a cosine down to zero."""
    warm = max(1, round(WARM_UP * steps))
    if step <= warm:
        return step / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm + 1)))


def _copies(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in parameters]
