"""Draw replies from a model in torch, many at once behind one prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


def sample(
    model: Any,
    prompt: Sequence[int],
    count: int,
    *,
    temperature: float,
    longest: int,
    stop: int | None,
    dice: Any,
    first: bool = False,
) -> list[list[int]]:
    """`count` continuations of the ids `prompt`, of up to `longest` tokens; `stop` is the last of those that end.

    `first`: the others are wanted only where the first does not end.
    """
    ids = torch.tensor([list(prompt)] * count, device=model.device)
    made: list[list[int]] = [[] for _ in range(count)]
    cache: Any = None
    with torch.no_grad():
        for _ in range(longest):
            output = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = output.past_key_values
            chances = torch.softmax(output.logits[:, -1].float() / temperature, dim=-1)
            # Drawn on the CPU, whose random numbers are the same everywhere.
            drawn = torch.multinomial(chances.cpu(), 1, generator=dice)
            ids = drawn.to(model.device)
            for tokens, token in zip(made, drawn[:, 0].tolist(), strict=True):
                if stop not in tokens:
                    tokens.append(token)
            if all(stop in tokens for tokens in made[: 1 if first else count]):
                break
    return made
