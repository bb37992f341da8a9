"""A base, loaded to be trained, and the ways in which a method may train it."""

from __future__ import annotations

import gc
import math
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.utils import logging

from bakeoff.errors import ConfigError
from bakeoff.models import prefix
from bakeoff.models import weights as files
from bakeoff.models.chat import Template
from bakeoff.models.devices import device, moved, multiplies_bfloat16, workers
from bakeoff.models.gguf import load_for_training, write_model
from bakeoff.tuning import attention, sharding, training
from bakeoff.tuning.processes import team
from bakeoff.tuning.rows import Row, encode
from bakeoff.types import Checkpoint, Example

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class Student:
    """A base with all that is needed to train it."""

    base: str
    weights: files.Weights
    template: Template
    model: Any
    """A causal language model of transformers, in fp32, all of it frozen, on the device that trains it."""
    tokenizer: Tokenizer

    @property
    def bf16(self) -> bool:
        """Whether its products are computed in bfloat16."""
        return multiplies_bfloat16(device())

    @property
    def workers(self) -> int:
        """Pieces of a batch that are computed at once."""
        return 1 if team().shards else workers(device())

    def rows(self, examples: Sequence[Example], max_length: int) -> list[Row]:
        """Raises `DataError` for an example that is too long, or has nothing to learn."""
        return encode(examples, self.template, self.tokenizer, max_length)

    def multiplied(self) -> list[Tensor]:
        """Trained weights that only products in bfloat16 read: those of linear layers without the embeddings' own."""
        looked_up = {id(one.weight) for one in self.model.modules() if isinstance(one, nn.Embedding)}
        linear = [one.weight for one in self.model.modules() if isinstance(one, nn.Linear)]
        return [one for one in linear if self.bf16 and one.requires_grad and id(one) not in looked_up]

    def write(self, method: str, result: training.Training, out: Path, **facts: float | None) -> Checkpoint:
        """The protocol of the training, beside the weights that the method has written; `facts` are its own."""
        training.write(result, self.template, out, **facts)
        return Checkpoint(out, self.base, self.weights.fingerprint, method)

    def write_model(self, out: Path) -> None:
        """The whole model as it is now, in the form of its base: model.gguf, or a folder that any tool can load."""
        if not team().shards:
            moved(self.model, torch.device("cpu"))
        state = sharding.whole(self.model.state_dict())
        if not sharding.writes():
            return
        if self.weights.kind == "gguf":
            write_model(self.weights.path, state, out / "model.gguf", template=self.weights.written)
            return
        quiet: Any = logging
        quiet.disable_progress_bar()
        attention.take_out_of(self.model)
        self.model.save_pretrained(out, state_dict=state)
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            if (self.weights.path / name).is_file():
                shutil.copy2(self.weights.path / name, out / name)
        if self.weights.written:
            (out / "chat_template.jinja").write_text(self.weights.written, encoding="utf-8")


def load(base: str) -> Student:
    """Load `base` with all its weights frozen."""
    gc.collect()  # of a training before this one: what is cut stands in circles
    weights = files.resolve(base)
    model, tokenizer = load_for_training(weights.path)
    model.requires_grad_(False)
    # What is cut goes to the device in parts.
    model = moved(model, torch.device("cpu") if team().shards else device())
    return Student(base, weights, files.template(weights), model, tokenizer)


def positive(method: str, **values: float) -> None:
    """Raises `ConfigError` for a value that is not above 0, or without end."""
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ConfigError(f"{method}: {name} is {value}, but must be above 0")


class Whole(nn.Module):
    """A model as it is, adapters in it included; `bf16`: its products are computed in bfloat16."""

    def __init__(self, model: Any, *, bf16: bool) -> None:
        super().__init__()
        self.model = model
        self.bf16 = bf16
        attention.put_into(model)
        sharding.shard(model)

    def states(self, rows: Sequence[Row]) -> Tensor:
        ids, mask = self.padded(rows)
        return self._last(input_ids=ids, attention_mask=mask)

    def padded(self, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
        """Ids and mask where the model is."""
        ids, mask = training.padded(rows)
        return ids.to(self.model.device), mask.to(self.model.device)

    def logits(self, states: Tensor) -> Tensor:
        found: Tensor = self.model.get_output_embeddings()(states)
        return found

    def autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(
            self.model.device.type if self.bf16 else "cpu", torch.bfloat16, enabled=self.bf16, cache_enabled=False
        )

    def _last(self, **inputs: Any) -> Tensor:
        states: Tensor = self.model.base_model(**inputs, use_cache=False).last_hidden_state
        return states


class Prefixed(Whole):
    """A frozen model behind learnt keys and values of each layer."""

    def __init__(self, model: Any, start: prefix.Prefix, *, bf16: bool) -> None:
        super().__init__(model, bf16=bf16)
        # A model that is cut has come to its device only now.
        self.keys = nn.Parameter(start.keys.to(model.device, torch.float32, copy=True))
        self.values = nn.Parameter(start.values.to(model.device, torch.float32, copy=True))

    def prefix(self) -> prefix.Prefix:
        return prefix.Prefix(self.keys.to(self.model.dtype), self.values.to(self.model.dtype))

    def states(self, rows: Sequence[Row]) -> Tensor:
        ids, mask = self.padded(rows)
        mask = torch.cat([mask.new_ones(len(rows), self.keys.shape[2]), mask], dim=1)
        return self._last(input_ids=ids, attention_mask=mask, past_key_values=self.prefix().cache(len(rows)))


class Prompted(Whole):
    """A frozen model behind learnt embeddings [virtual tokens, H], which `encoder` may work over."""

    def __init__(self, model: Any, start: Tensor, *, bf16: bool, encoder: nn.Module | None = None) -> None:
        super().__init__(model, bf16=bf16)
        self.start = nn.Parameter(start.to(model.device, torch.float32, copy=True))
        self.encoder = encoder and encoder.to(model.device)

    def vectors(self) -> Tensor:
        found = self.start if self.encoder is None else self.start + self.encoder(self.start)
        return found.to(self.model.dtype)

    def states(self, rows: Sequence[Row]) -> Tensor:
        ids, mask = self.padded(rows)
        vectors = self.vectors().expand(len(rows), -1, -1)
        count = vectors.shape[1]
        embedded = torch.cat([vectors, self.model.get_input_embeddings()(ids)], dim=1)
        mask = torch.cat([mask.new_ones(len(rows), count), mask], dim=1)
        return self._last(inputs_embeds=embedded, attention_mask=mask)[:, count:]
