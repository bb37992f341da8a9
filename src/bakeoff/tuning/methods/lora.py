"""LoRA: a low-rank addition to every linear layer, trained on the weights that are served.

Writes a PEFT adapter, and for a GGUF base the same adapter as GGUF: one base in memory, many adapters beside it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from safetensors.torch import save_file

from bakeoff.errors import ConfigError
from bakeoff.files import write_json
from bakeoff.models import weights as files
from bakeoff.models.gguf import load_for_training, write_lora
from bakeoff.tuning import training
from bakeoff.tuning.rows import encode
from bakeoff.types import Checkpoint, Example

NEEDS = "reply"
"""Examples need messages or a reference answer."""


def tune(
    base: str,
    train: Sequence[Example],
    valid: Sequence[Example],
    out: Path,
    *,
    seed: int = 0,
    rank: int = 16,
    alpha: int = 32,
    dropout: float = 0.0,
    learning_rate: float = 3e-4,
    epochs: int = 2,
    batch_size: int = 4,
    max_length: int = 1024,
    targets: str = "all-linear",
    progress: training.Progress | None = None,
) -> Checkpoint:
    """Train on the assistant's last message of each example and keep the epoch that is best on `valid`.

    `targets`: `all-linear`, or names of layers separated by commas, as in `q_proj,v_proj`.
    Raises `DataError` for an example longer than `max_length` tokens: nothing is cut.
    """
    weights = files.resolve(base)
    template = files.template(weights)
    model, tokenizer = load_for_training(weights.path)
    train_rows = encode(train, template, tokenizer, max_length)
    valid_rows = encode(valid, template, tokenizer, max_length)
    torch.manual_seed(seed)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=targets if targets == "all-linear" else targets.split(","),
        task_type="CAUSAL_LM",
    )
    model = _with_adapter(model, config)
    result = training.train(
        model,
        train_rows,
        valid_rows,
        seed=seed,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        progress=progress,
    )
    _save(model, config, out)
    if weights.kind == "gguf":
        write_lora(out, weights.path, out / "adapter.gguf")
    training.write_history(result.steps, out / "history.csv")
