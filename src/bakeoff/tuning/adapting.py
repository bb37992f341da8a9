"""Low-rank and scaling adapters by PEFT: put into a frozen model, written without what only this machine knows."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file

from bakeoff.errors import ConfigError
from bakeoff.files import write_json
from bakeoff.models.gguf import write_lora
from bakeoff.tuning.student import Student, Whole


def lora(
    student: Student,
    *,
    method: str,
    start: str = "",
    rank: int = 16,
    alpha: int = 32,
    dropout: float = 0.0,
    targets: str = "all-linear",
    rslora: bool = False,
    dora: bool = False,
) -> Any:
    """The student's model with a trainable fp32 LoRA in it, or with the one of the checkpoint `start`."""
    if start:
        if not (Path(start) / "adapter_config.json").is_file():
            raise ConfigError(
                f"{method}: start: {start} holds no LoRA; name a checkpoint of lora, dpo, orpo, kto or grpo"
            )
        return _put_in(student, lambda model: PeftModel.from_pretrained(model, start, is_trainable=True), method)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=targets if targets == "all-linear" else targets.split(","),
        use_rslora=rslora,
        use_dora=dora,
        task_type="CAUSAL_LM",
    )
    return adapted(student, config, method=method)


def adapted(student: Student, config: PeftConfig, *, method: str) -> Any:
    """The student's model with the adapter that `config` describes."""
    return _put_in(student, lambda model: get_peft_model(model, config), method)


def whole(model: Any) -> Whole:
    """An adapted model as the training loop takes it; under autocast fp32 adapters work on bfloat16 states."""
    inner = model.get_base_model()
    return Whole(inner, bf16=inner.dtype == torch.bfloat16)


def save(model: Any, student: Student, out: Path) -> None:
    """PEFT's own format, and GGUF beside it where the base is GGUF and llama.cpp knows the kind."""
    config = model.peft_config["default"]
    tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
    save_file({name: tensor.cpu() for name, tensor in tensors.items()}, out / "adapter_model.safetensors")
    # Without the model card, the paths of this machine and the random order of its sets.
    entries = config.to_dict() | {"base_model_name_or_path": None, "inference_mode": True}
    entries = {key: sorted(value) if isinstance(value, set) else value for key, value in entries.items()}
    write_json(out / "adapter_config.json", entries)
    if student.weights.kind == "gguf" and config.peft_type == "LORA" and not config.use_dora:
        write_lora(out, student.weights.path, out / "adapter.gguf")


def _put_in(student: Student, put: Any, method: str) -> Any:
    model = student.model.to(torch.bfloat16 if student.bf16 else torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 reads an attribute that transformers 6 renames
        try:
            return put(model)
        except ValueError as error:  # no layer of that name, or no adapter there
            raise ConfigError(f"{method}: targets: {error}") from error
