"""Freeze: only the last layers learn. What the frozen ones make of each example is computed once and kept.

From the second epoch on a step costs the trained layers alone. The checkpoint is a whole model of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bakeoff.errors import ConfigError
from bakeoff.tuning import student, training
from bakeoff.tuning.rows import Row, pieces
from bakeoff.tuning.tail import Tail
from bakeoff.types import Checkpoint, Example

TOLERANCE = 0.05
"""In logits, between the model cut in two and the model as it was; bfloat16 rounds within it."""


def tune(
    base: str,
    train: Sequence[Example],
    valid: Sequence[Example],
    out: Path,
    *,
    seed: int = 0,
    layers: int = 4,
    learning_rate: float = 1e-4,
    weight_decay: float = 0.01,
    epochs: int = 3,
    patience: int = 0,
    batch_size: int = 4,
    max_length: int = 1024,
    progress: training.Progress | None = None,
) -> Checkpoint:
    """Train the last `layers` on the assistant's last message of each example; keep the best epoch on `valid`.

    The states of the frozen layers go to a file beside the checkpoint while it trains, 4 bytes x dimension a token.
    Raises `DataError` for an example longer than `max_length` tokens: nothing is cut.
    """
    student.positive("freeze", layers=layers, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    pupil = student.load(base)
    decoder = pupil.model.base_model
    if layers >= len(decoder.layers):
        raise ConfigError(f"freeze: layers is {layers}, and {base} has {len(decoder.layers)}; use full to train all")
    train_rows, valid_rows = pupil.rows(train, max_length), pupil.rows(valid, max_length)
    bf16, cores = pupil.bf16, pupil.workers
    uncut = student.Whole(pupil.model, bf16=bf16)
    file = out / "frontier.bin"
    frontier = _frontier(uncut, decoder.layers[-layers], [*train_rows, *valid_rows], cores, file)
    with torch.no_grad():
        before = training.logprobs(uncut, train_rows[:1])
    attention = decoder.config._attn_implementation
    every, decoder.layers = decoder.layers, nn.ModuleList(list(decoder.layers)[-layers:])
    decoder.config.num_hidden_layers = layers
    tail = Tail(pupil.model, frontier, bf16=bf16)
    with torch.no_grad():
        if (training.logprobs(tail, train_rows[:1]) - before).abs() > TOLERANCE * train_rows[0].trained:
            raise ConfigError(f"freeze: {base} cannot be cut in two after its layers; use lora or full")
    for part in (decoder.layers, decoder.norm):
        part.requires_grad_(True)
    result = training.train(
        tail,
        train_rows,
        valid_rows,
        seed=seed,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        multiplied=pupil.multiplied(),
        weight_decay=weight_decay,
        patience=patience,
        cores=cores,
        out=out,
        progress=progress,
    )
    decoder.layers = every
    decoder.config.num_hidden_layers = len(every)
    decoder.config._attn_implementation = attention
    file.unlink()
    pupil.write_model(out)
    return pupil.write("freeze", result, out)


class _Reached(Exception):
    """The forward pass has come to the first trained layer."""

    def __init__(self, states: Tensor) -> None:
        self.states = states


def _frontier(model: student.Whole, layer: nn.Module, rows: Sequence[Row], cores: int, file: Path) -> dict[Row, Tensor]:
    """What `layer` is given for each row, [T, H] each; kept in `file`, which is mapped into memory."""

    def stop(module: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        raise _Reached(positional[0] if positional else named["hidden_states"])

    def states(piece: Sequence[Row]) -> Tensor:
        torch.set_num_threads(1)
        try:
            with torch.no_grad(), model.autocast():
                model.states(piece)
        except _Reached as reached:
            return reached.states.float()
        raise ConfigError("freeze: the model has a layer that it does not use; use lora")

    unique = list(dict.fromkeys(rows))
    width = model.model.config.hidden_size
    held = np.memmap(file, np.float32, "w+", shape=(sum(len(row.ids) for row in unique), width))
    parts = list(pieces(unique, training.PIECE_TOKENS))
    found: dict[Row, Tensor] = {}
    handle = layer.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        with ThreadPoolExecutor(cores) as pool:
            first = 0
            for piece, made in zip(parts, pool.map(states, parts), strict=True):
                for row, one in zip(piece, made, strict=True):
                    place = slice(first, first + len(row.ids))
                    held[place] = one[: len(row.ids)].cpu().numpy()
                    found[row] = torch.from_numpy(held[place])
                    first += len(row.ids)
    finally:
        handle.remove()
    return found
