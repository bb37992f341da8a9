"""Examples become rows of token ids, and rows become batches."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bakeoff.errors import DataError
from bakeoff.models.chat import Template, completion
from bakeoff.types import Example, Message

if TYPE_CHECKING:
    from tokenizers import Tokenizer

POOL = 8
"""Batches are cut from pools of this many, sorted by length: little padding, yet new company in each epoch."""


@dataclass(frozen=True, slots=True)
class Row:
    """One conversation, ready to train on."""

    ids: tuple[int, ...]
    prompt: int
    """The first so many ids are given; all later ones are learnt: the reply and the end-of-turn token."""

    @property
    def trained(self) -> int:
        return len(self.ids) - self.prompt


def encode(examples: Sequence[Example], template: Template, tokenizer: Tokenizer, max_length: int) -> list[Row]:
    """Rows in the order of `examples`; raises `DataError` for a row longer than `max_length`: nothing is cut."""
    rows = []
    for example in examples:
        # The prompt is tokenised by itself, as it will be when it is served.
        prompt, target = (
            tokenizer.encode(text, add_special_tokens=False).ids for text in completion(template, lesson(example))
        )
        if len(prompt) + len(target) > max_length:
            raise DataError(
                f"example {example.id} takes {len(prompt) + len(target)} tokens, more than max_length={max_length}; "
                "raise max_length, or shorten the example"
            )
        rows.append(Row((*prompt, *target), len(prompt)))
    return rows


def lesson(example: Example) -> tuple[Message, ...]:
    """The conversation to learn, the assistant's reply last; raises `DataError` where there is no reply."""
    if example.messages:
        if example.messages[-1].role != "assistant":
            raise DataError(f"example {example.id}: its last message is not the assistant's; end with the right answer")
        return example.messages
    if not example.references:
        raise DataError(f"example {example.id} has no reference answer to learn; add one, or leave the example out")
    return Message("user", example.question), Message("assistant", example.references[0])


def batches(rows: Sequence[Row], size: int, shuffle: random.Random) -> list[list[Row]]:
    """Divide all rows into batches of `size`, each of similar lengths, in random order."""
    order = shuffle.sample(rows, len(rows))
    found: list[list[Row]] = []
    for start in range(0, len(order), POOL * size):
        pool = sorted(order[start : start + POOL * size], key=lambda row: len(row.ids))
        found += [pool[first : first + size] for first in range(0, len(pool), size)]
    shuffle.shuffle(found)
    return found


def pieces(batch: Sequence[Row], tokens: int) -> Iterator[list[Row]]:
    """Cut a batch, longest rows first, so that no padded piece holds more than `tokens`; always a row at least."""
    piece: list[Row] = []
    for row in sorted(batch, key=lambda row: len(row.ids), reverse=True):
        if piece and (len(piece) + 1) * len(piece[0].ids) > tokens:
            yield piece
            piece = []
        piece.append(row)
    if piece:
        yield piece
