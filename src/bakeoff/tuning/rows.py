"""Examples become rows of token ids, and rows become batches."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from bakeoff.errors import DataError
from bakeoff.models.chat import Template, completion
from bakeoff.types import Example, Message

if TYPE_CHECKING:
    from tokenizers import Tokenizer

POOL = 8
"""Batches are cut from pools of this many, sorted by length: little padding, yet new company in each epoch."""


class Item(Protocol):
    """Something to learn from: a row, or a pair of rows of which one is better."""

    @property
    def size(self) -> int:
        """Tokens it takes up in a batch of its like."""

    @property
    def weight(self) -> float:
        """What the loss of a batch is divided by, summed over the batch."""


Items = TypeVar("Items", bound=Item)


@dataclass(frozen=True, slots=True)
class Row:
    """One conversation or text, ready to train on."""

    ids: tuple[int, ...]
    prompt: int
    """The first so many ids are given; all later ones are learnt: the reply and the end-of-turn token."""

    @property
    def trained(self) -> int:
        return len(self.ids) - self.prompt

    @property
    def size(self) -> int:
        return len(self.ids)

    @property
    def weight(self) -> float:
        return self.trained


def encode(examples: Sequence[Example], template: Template, tokenizer: Tokenizer, max_length: int) -> list[Row]:
    """Rows in the order of `examples`; raises `DataError` for a row longer than `max_length`: nothing is cut."""
    return [row(example.id, lesson(example), template, tokenizer, max_length) for example in examples]


def row(id: str, messages: Sequence[Message], template: Template, tokenizer: Tokenizer, max_length: int) -> Row:
    """The row of a conversation whose last message is to be learnt; `id` names it in errors."""
    # The prompt is tokenised by itself, as it will be when it is served.
    prompt, target = (tokenizer.encode(text, add_special_tokens=False).ids for text in completion(template, messages))
    if len(prompt) + len(target) > max_length:
        raise DataError(
            f"example {id} takes {len(prompt) + len(target)} tokens, more than max_length={max_length}; "
            "raise max_length, or shorten the example"
        )
    return Row((*prompt, *target), len(prompt))


def lesson(example: Example) -> tuple[Message, ...]:
    """The conversation to learn, the assistant's reply last; raises `DataError` where there is no reply."""
    if example.messages:
        if example.messages[-1].role != "assistant":
            raise DataError(f"example {example.id}: its last message is not the assistant's; end with the right answer")
        return example.messages
    if not example.references:
        raise DataError(f"example {example.id} has no reference answer to learn; add one, or leave the example out")
    return Message("user", example.question), Message("assistant", example.references[0])


def rejected(example: Example) -> tuple[Message, ...]:
    """The conversation with the reply that is not wanted last; where there is no other, its messages end before it."""
    asked = example.messages or (Message("user", example.question),)
    return (*(asked[:-1] if asked[-1].role == "assistant" else asked), Message("assistant", example.rejected))


def replied(example: Example) -> bool:
    """Whether a right reply to learn is known."""
    return bool(example.references) or (bool(example.messages) and example.messages[-1].role == "assistant")


def batches(items: Sequence[Items], size: int, shuffle: random.Random) -> list[list[Items]]:
    """Divide all items into batches of `size`, each of similar lengths, in random order."""
    order = shuffle.sample(items, len(items))
    found: list[list[Items]] = []
    for start in range(0, len(order), POOL * size):
        pool = sorted(order[start : start + POOL * size], key=lambda item: item.size)
        found += [pool[first : first + size] for first in range(0, len(pool), size)]
    shuffle.shuffle(found)
    return found


def pieces(batch: Sequence[Items], tokens: int) -> Iterator[list[Items]]:
    """Cut a batch, longest items first, so that no padded piece holds more than `tokens`; always an item at least."""
    piece: list[Items] = []
    for item in sorted(batch, key=lambda item: item.size, reverse=True):
        if piece and (len(piece) + 1) * piece[0].size > tokens:
            yield piece
            piece = []
        piece.append(item)
    if piece:
        yield piece
