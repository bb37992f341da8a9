"""Attention as it is trained on a CPU in bfloat16: plain products for rows of ordinary length.

torch's kernel for CPUs (flash attention) never holds the scores of a whole row, which long rows need; its backward pass
pays for that. With the scores held, both passes together take a third to a half of its time for rows of 120 to 500
tokens (docs/log.md). They are rounded to bfloat16, as transformers' own eager attention rounds them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations import sdpa_attention
from transformers.masking_utils import sdpa_mask

NAME = "short_rows"
KERNEL = "sdpa"
"""transformers' name of attention by torch's kernel, for which this stands in."""
SHORT = 512
"""Tokens: the scores of a row take 2 bytes x heads x the square of that in each layer, 4.7 MB for SmolLM2-135M."""
BEYOND = ("position_bias", "cache", "softcap", "dropout")
"""What a model may ask for that only the kernel's own path knows."""


def put_into(model: Any) -> None:
    """Let `model` attend so, if it attends by torch's kernel now."""
    if model.config._attn_implementation == KERNEL:
        model.config._attn_implementation = NAME


def take_out_of(model: Any) -> None:
    """Undo `put_into`."""
    if model.config._attn_implementation == NAME:
        model.config._attn_implementation = KERNEL


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **more: Any
) -> tuple[Tensor, None]:
    """[B, heads, Q, D] on [B, groups, T, D], where `mask` [B, 1, Q, T] is true: [B, Q, heads, D]."""
    asked, held = query.shape[2], key.shape[2]
    suits = query.dtype == torch.bfloat16 and query.device.type == "cpu" and held <= SHORT
    masked = asked == held if mask is None else mask.dtype == torch.bool
    if not suits or not masked or any(_given(more.get(name)) for name in BEYOND):
        found: tuple[Tensor, None] = sdpa_attention.sdpa_attention_forward(module, query, key, value, mask, **more)
        return found
    causal = more.get("is_causal")
    if mask is None and (getattr(module, "is_causal", True) if causal is None else causal):
        mask = torch.ones(asked, held, dtype=torch.bool).tril()[None, None]
    scaling = more.get("scaling")
    return _products(query * (query.shape[-1] ** -0.5 if scaling is None else scaling), key, value, mask), None


def _given(value: object) -> bool:
    return isinstance(value, Tensor) or bool(value)


def _products(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    rows, heads, asked, size = query.shape
    groups, held = key.shape[1:3]
    # The heads that share keys stand below each other, so that nothing is repeated.
    stacked = query.reshape(rows, groups, heads // groups * asked, size)
    scores = stacked @ key.transpose(-1, -2)
    if mask is not None:
        least = torch.finfo(scores.dtype).min
        bias = torch.zeros(mask.shape, dtype=scores.dtype).masked_fill_(~mask, least)[:, :, None]
        scores = (scores.view(rows, groups, -1, asked, held) + bias).flatten(2, 3)
    made = scores.softmax(-1) @ value
    return made.view(rows, heads, asked, size).transpose(1, 2)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
