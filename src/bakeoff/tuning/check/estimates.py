"""What a training will take: estimates from the model's size and the rows' lengths, good to a factor of two."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bakeoff.models.vocabulary import Vocabulary
from bakeoff.models.weights import cores
from bakeoff.tuning.check.lengths import Lengths

PROCESS_MB = 400
"""Python, torch and the tokenizer."""
WEIGHT_BYTES = 8
"""A parameter of the base, read as float32 and held once more while it is converted."""
LEARNT_BYTES = 22
"""A parameter where all are learnt: it, its gradient, two moments and the best so far, and a copy in bfloat16."""
LEARNT = ("full", "pretrain")
"""Methods that learn all weights, and for each take 6 floating-point operations a token, the others 4."""
STATE_FLOATS = 40
"""Numbers kept for the backward pass for each token and layer, in widths of the hidden state: with it the demo's two
trainings are said to take 2.5 and 4.2 GB, and took 2.1 and 5.1."""
PIECE_TOKENS = 512
"""Tokens of one forward and backward pass (`tuning.training`)."""
EFFICIENCY = 0.6
"""Share of a plain matrix product's speed that training reaches: 100 of 160 GFLOP/s, `lora` on two cores."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one training takes."""

    memory_mb: int
    seconds: float
    how: str

    def __str__(self) -> str:
        minutes = self.seconds / 60
        took = f"{minutes / 60:.1f} h" if minutes >= 90 else f"{minutes:.0f} min"
        took = took if minutes >= 1.5 else f"{self.seconds:.0f} s"
        return f"about {self.memory_mb / 1000:.1f} GB and {took} ({self.how})"


def estimate(
    vocabulary: Vocabulary,
    lengths: Lengths,
    *,
    batch_size: int,
    epochs: float,
    method: str = "lora",
    tokens_per_second: float = 0.0,
) -> Estimate:
    """`epochs` over these rows, more where they are a sample; methods that learn part of the weights count as a LoRA.

    `tokens_per_second`: as measured in an earlier training of the same base, else from this machine.
    """
    tokens = sum(lengths.rows) * epochs
    batch = sum(sorted(lengths.rows)[-batch_size:])
    at_once = min(batch, cores() * max(PIECE_TOKENS, *lengths.rows))
    states = at_once * vocabulary.layers * vocabulary.hidden * STATE_FLOATS * 4
    table = vocabulary.tables[0].rows if vocabulary.tables else 0
    logits = sum(sorted(lengths.replies)[-batch_size:]) * table * 12  # the logits, their copy and its gradient
    held = vocabulary.parameters * (LEARNT_BYTES if method in LEARNT else WEIGHT_BYTES)
    memory = PROCESS_MB + (held + states + logits) / 2**20
    if tokens_per_second:
        return Estimate(round(memory), tokens / tokens_per_second, "at the speed of the last training")
    work = 6 if method in LEARNT else 4
    seconds = tokens * vocabulary.parameters * work / (_speed() * cores() * EFFICIENCY)
    return Estimate(round(memory), seconds, "from sizes and the speed of this machine, to a factor of two")


def free_memory_mb() -> int:
    """What could be had without swapping; 0 where the system does not say."""
    facts = Path("/proc/meminfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("MemAvailable:")), 0)


def _speed() -> float:
    """Floating-point operations a second of one core."""
    size, best = 1024, 0.0
    matrix = np.ones((size, size), dtype=np.float32)
    for _ in range(5):
        start = time.process_time()  # of all threads together, so that other work does not count
        matrix @ matrix
        best = max(best, 2 * size**3 / (time.process_time() - start))
    return best
