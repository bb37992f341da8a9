"""Where torch computes: a GPU where there is one, else the processor's cores."""

from __future__ import annotations

import os
from typing import Any

import torch

from bakeoff.errors import ConfigError
from bakeoff.models.llama import free_cores


def device() -> torch.device:
    """CUDA, else MPS, else the CPU; `$BAKEOFF_DEVICE` overrides, as in `cpu` or `cuda:1`.

    Of several processes that a launcher started, each takes the GPU of its local rank.
    """
    wanted = os.environ.get("BAKEOFF_DEVICE", "auto")
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        found = torch.device(wanted)
        torch.empty(0, device=found)
    except Exception as error:  # each back end raises what it likes
        raise ConfigError(
            f"BAKEOFF_DEVICE is {wanted!r}, and torch has no such device here; use auto or cpu"
        ) from error
    return found


def moved(model: Any, where: torch.device) -> Any:
    """The model on that device, its output layer still tied to its embeddings where it was."""
    model.to(where)
    model.tie_weights()  # devices of another kind than CUDA get new parameters, and two in place of one
    return model


def enter(where: torch.device) -> None:
    """Begin work in a thread: one core for it, and kernels on that GPU, not on the first one."""
    torch.set_num_threads(1)
    if where.type == "cuda":
        torch.cuda.set_device(where)


def multiplies_bfloat16(where: torch.device) -> bool:
    """Whether it does so natively: on such a processor 1.5 times as fast as fp32, slower on others."""
    if where.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return where.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def workers(where: torch.device) -> int:
    """Pieces of a batch that are computed at once: one for each free core, and one on a GPU, which fills itself.

    Processes that a launcher started on one machine divide its cores.
    """
    return max(1, free_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))) if where.type == "cpu" else 1
