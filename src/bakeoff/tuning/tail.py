"""The last layers of a model, trained on what the frozen ones below made of each row once.

Of the last layer only keys and values are needed at every token. All else is computed where a token is learnt: a prompt
is many times as long as the reply to it, and one of four trained layers is a quarter of the work.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from bakeoff.tuning import attention, training
from bakeoff.tuning.rows import Row
from bakeoff.tuning.student import Whole

ATTENTION = "where_learnt"


class Tail(Whole):
    """A model without its first layers; `frontier`: row -> states [T, H] that its first trained layer is given."""

    def __init__(self, model: Any, frontier: dict[Row, Tensor], *, bf16: bool) -> None:
        super().__init__(model, bf16=bf16)
        self.frontier = frontier
        self._piece = threading.local()  # each core has its own
        head = model.get_output_embeddings()
        # It is frozen, so it need not be cast for each piece; the model keeps its own, which is written in the end.
        self._head = (head.weight.bfloat16() if bf16 else head.weight, head.bias)
        last = model.base_model.layers[-1]
        for module in _by_position(last):
            module.register_forward_pre_hook(self._take)
            module.register_forward_hook(self._put)
        config = model.base_model.config
        if hasattr(last, "self_attn") and config._attn_implementation == attention.NAME:
            last.self_attn.piece = self._piece
            config._attn_implementation = ATTENTION

    def states(self, rows: Sequence[Row]) -> Tensor:
        mask = self.padded(rows)[1]
        embedded = nn.utils.rnn.pad_sequence([self.frontier[row].float() for row in rows], batch_first=True)
        self._piece.rows, self._piece.longest = mask.shape
        self._piece.places = torch.tensor(training.predicting(rows, mask.shape[1]), device=mask.device)
        return self._last(inputs_embeds=embedded.to(mask.device), attention_mask=mask)

    def logits(self, states: Tensor) -> Tensor:
        return nn.functional.linear(states, *self._head)

    def _take(self, module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (inputs[0].flatten(0, 1)[self._piece.places],)

    def _put(self, module: nn.Module, inputs: tuple[Tensor], found: Tensor) -> Tensor:
        return _spread(found, self._piece)


def _by_position(layer: nn.Module) -> list[nn.Module]:
    """What of a decoder's layer works on each position by itself, and is asked for nothing else elsewhere."""
    attention, mlp = getattr(layer, "self_attn", None), getattr(layer, "mlp", None)
    found = [getattr(attention, name, None) for name in ("q_proj", "o_proj")]
    plain = mlp is not None and all(isinstance(one, nn.Linear) or not [*one.parameters()] for one in mlp.children())
    return [one for one in (*found, mlp if plain else None) if isinstance(one, nn.Module)]


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **more: Any
) -> tuple[Tensor, None]:
    """Of the layer that has a `piece`, for the queries at its places alone; of every other for all of them."""
    piece: Any = getattr(module, "piece", None)
    if piece is None or more.get("position_bias") is not None:
        return attention.attend(module, query, key, value, mask, **more)
    row, place = piece.places // piece.longest, piece.places % piece.longest
    counts = torch.bincount(row, minlength=piece.rows)
    # The queries of each row side by side: column 0 to its count, of as many columns as the row with most has.
    column = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]
    places = torch.zeros(piece.rows, int(counts.max()), dtype=torch.long, device=row.device)
    places[row, column] = place
    asked = torch.arange(piece.rows, device=row.device)[:, None]
    if mask is None:
        seen = torch.arange(piece.longest, device=row.device) <= places[..., None]
    else:
        seen = mask.expand(piece.rows, -1, -1, -1)[asked, 0, places]
    few = query.transpose(1, 2)[asked, places].transpose(1, 2)
    made, _ = attention.attend(module, few, key, value, seen[:, None], **more)
    return _spread(made[row, column].flatten(1), piece).view(piece.rows, piece.longest, *made.shape[2:]), None


def _spread(found: Tensor, piece: Any) -> Tensor:
    """[N, C] at the places of the piece's N learnt tokens, and 0 elsewhere: [B, T, C]."""
    empty = found.new_zeros(piece.rows * piece.longest, found.shape[-1])
    return empty.index_copy(0, piece.places, found).view(piece.rows, piece.longest, -1)


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
