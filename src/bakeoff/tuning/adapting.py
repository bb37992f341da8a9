"""Low-rank and scaling adapters by PEFT: put into a frozen model, written without what only this machine knows."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from bakeoff.errors import ConfigError, MissingPackageError
from bakeoff.files import write_json
from bakeoff.models.gguf import write_lora
from bakeoff.models.lowrank import (
    LoraConfig,
    PeftConfig,
    PeftModel,
    four_bit,
    get_peft_model,
    get_peft_model_state_dict,
)
from bakeoff.tuning import sharding
from bakeoff.tuning.processes import team
from bakeoff.tuning.student import Student, Whole

WHOLE = 16
"""Bits a weight of a base that is not quantised for its training: bfloat16, or fp32 where that is not native."""


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
    bits: int = WHOLE,
) -> Any:
    """The student's model with a trainable fp32 LoRA in it, or with the one of the checkpoint `start`.

    `bits`: of each weight of the base's linear layers while it is trained; 4 is NF4, as in QLoRA.
    """
    if bits not in (WHOLE, 4):
        raise ConfigError(f"{method}: bits is {bits}, but must be {WHOLE}, the weights as they are, or 4")
    if start:
        if not (Path(start) / "adapter_config.json").is_file():
            raise ConfigError(
                f"{method}: start: {start} holds no LoRA; name a checkpoint of lora, dpo, orpo, kto or grpo"
            )
        return _put_in(student, lambda model: PeftModel.from_pretrained(model, start, is_trainable=True), method, bits)
    names = [name.strip() for name in targets.split(",")]
    layers = {path.rpartition(".")[2] for path, layer in student.model.named_modules() if isinstance(layer, nn.Linear)}
    if targets != "all-linear" and (unknown := [name for name in names if name.rpartition(".")[2] not in layers]):
        raise ConfigError(
            f"{method}: targets: no linear layer is named {unknown[0]!r}; known are {', '.join(sorted(layers))}"
        )
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=targets if targets == "all-linear" else names,
        use_rslora=rslora,
        use_dora=dora,
        task_type="CAUSAL_LM",
    )
    return adapted(student, config, method=method, bits=bits)


def adapted(student: Student, config: PeftConfig, *, method: str, bits: int = WHOLE) -> Any:
    """The student's model with the adapter that `config` describes."""
    return _put_in(student, lambda model: get_peft_model(model, config), method, bits)


def whole(model: Any) -> Whole:
    """An adapted model as the training loop takes it; under autocast fp32 adapters work on bfloat16 states."""
    inner = model.get_base_model()
    return Whole(inner, bf16=inner.dtype == torch.bfloat16)


def save(model: Any, student: Student, out: Path) -> None:
    """PEFT's own format, and GGUF beside it where the base is GGUF and llama.cpp knows the kind."""
    config = model.peft_config["default"]
    tensors = sharding.whole(get_peft_model_state_dict(model, save_embedding_layers=False))
    if not sharding.writes():
        return
    save_file({name: tensor.cpu() for name, tensor in tensors.items()}, out / "adapter_model.safetensors")
    # Without the model card, the paths of this machine and the random order of its sets.
    entries = config.to_dict() | {"base_model_name_or_path": None, "inference_mode": True}
    entries = {key: sorted(value) if isinstance(value, set) else value for key, value in entries.items()}
    write_json(out / "adapter_config.json", entries)
    if student.weights.kind == "gguf" and config.peft_type == "LORA" and not config.use_dora:
        write_lora(out, student.weights.path, out / "adapter.gguf")


def _put_in(student: Student, put: Any, method: str, bits: int) -> Any:
    model = student.model.to(torch.bfloat16 if student.bf16 else torch.float32)
    if bits != WHOLE:
        if team().shards:
            raise ConfigError(f"FSDP: {method}: a base in {bits} bits is not cut; leave bits out, or --use_fsdp")
        _quantise(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 reads an attribute that transformers 6 renames
        try:
            return put(model)
        except ValueError as error:  # no layer of that name, or no adapter there
            raise ConfigError(f"{method}: {error}") from error


def _quantise(model: Any) -> None:
    """Keep the linear layers but that of the output in four bits a weight, with double quantisation, in place."""
    try:
        layers_of: Any = four_bit()
    except ModuleNotFoundError as error:
        raise MissingPackageError("a base in 4 bits", "bitsandbytes", "qlora") from error
    layers = [
        (parent, name, layer)
        for parent in model.modules()
        for name, layer in parent.named_children()
        if isinstance(layer, nn.Linear) and layer is not model.get_output_embeddings()
    ]
    for parent, name, layer in layers:
        four = layers_of.Linear4bit(
            layer.in_features,
            layer.out_features,
            bias=layer.bias is not None,
            compute_dtype=layer.weight.dtype,
            quant_type="nf4",
            device="meta",
        )
        four.weight = layers_of.Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
        four.bias = layer.bias
        # On a CPU with AVX-512 it would order the weights anew when first asked without gradients, also beside a thread
        # that trains, and the gradient of weights in that order would be wrong.
        four.support_avx512bf16_for_cpu = False
        setattr(parent, name, four.to(layer.weight.device))
    model.is_loaded_in_4bit = True  # what PEFT looks at
