"""LoRA: a low-rank addition to every linear layer, trained on the weights that are served.

Writes a PEFT adapter, and for a GGUF base the same adapter as GGUF: one base in memory, many adapters beside it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file

from bakeoff.errors import ConfigError
from bakeoff.files import write_json
from bakeoff.models import weights as files
from bakeoff.models.gguf import load_for_training, write_lora
from bakeoff.models.llama import free_cores
from bakeoff.tuning import training
from bakeoff.tuning.rows import encode
from bakeoff.types import Checkpoint, Example


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
    learning_rate: float = 1e-3,
    epochs: int = 2,
    batch_size: int = 4,
    max_length: int = 1024,
    targets: str = "all-linear",
    progress: training.Progress | None = None,
) -> Checkpoint:
    """Train on the assistant's last message of each example and keep the epoch that is best on `valid`.

    `targets`: `all-linear`, or names of layers separated by commas, as in `q_proj,v_proj`.
    `dropout` above 0 trains on one core, for its random numbers are one stream.
    Raises `DataError` for an example longer than `max_length` tokens: nothing is cut.
    """
    for name, value in {
        "rank": rank,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
    }.items():
        if value <= 0:
            raise ConfigError(f"lora: {name} is {value}, but must be above 0")
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
    adapted = _adapted(model, config)
    result = training.train(
        adapted.get_base_model(),
        train_rows,
        valid_rows,
        seed=seed,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        cores=1 if dropout else free_cores(),
        progress=progress,
    )
    _save(adapted, config, out)
    if weights.kind == "gguf":
        write_lora(out, weights.path, out / "adapter.gguf")
    training.write(result, template, out)
    return Checkpoint(out, base, weights.fingerprint, "lora")


def _adapted(model: Any, config: LoraConfig) -> Any:
    """The frozen model with fp32 adapters in it."""
    # bfloat16 weights train 1.5 times as fast as fp32 where the processor multiplies them natively; elsewhere slower.
    fast = torch.cpu.get_capabilities().get("avx512_bf16", False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 reads an attribute that transformers 6 renames
        try:
            return get_peft_model(model.to(torch.bfloat16 if fast else torch.float32), config)
        except ValueError as error:  # no layer of that name
            raise ConfigError(f"lora: targets: {error}") from error


def _save(adapted: Any, config: Any, out: Path) -> None:
    """PEFT's own format, without its model card, the paths of this machine and the random order of its sets."""
    save_file(get_peft_model_state_dict(adapted, save_embedding_layers=False), out / "adapter_model.safetensors")
    entries = config.to_dict() | {"base_model_name_or_path": None, "inference_mode": True}
    entries = {key: sorted(value) if isinstance(value, set) else value for key, value in entries.items()}
    write_json(out / "adapter_config.json", entries)
